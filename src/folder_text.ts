/**
 * Characters and tokens of a model folder.
 * @module
 */
import {
  mostSettingsBytes,
  mostTemplateBytes,
  mostTokenizerBytes,
  readModelBytes,
  readModelText,
} from "./checkpoint/file.ts";
import { ggufFileOf } from "./checkpoint/gguf_splits.ts";
import type { ModelText } from "./model_text.ts";
import { join } from "./runtime.ts";
import { ChatTemplate } from "./text/chat_template.ts";
import { readTokenizerConfig } from "./text/tokenizer_config.ts";
import { readTokenizer } from "./tokenizer_cache.ts";

/**
 * @param cache hadal's cache folder, or null for none
 * @returns null for a folder without tokenizer.json: its model knows token ids only
 * @throws {CheckpointError | UnsupportedError} for a tokenizer that cannot be used
 */
export async function readFolderText(folder: string, cache: string | null): Promise<ModelText | null> {
  const gguf = ggufFileOf(folder);
  if (gguf !== null) return await (await import("./gguf_text.ts")).readGgufText(gguf, cache);
  const tokenizerJson = readModelBytes(folder, "tokenizer.json", mostTokenizerBytes);
  if (tokenizerJson === null) return null;
  const configJson = readModelText(folder, "tokenizer_config.json", mostSettingsBytes);
  // Newer folders keep the template in a file of its own, which then counts.
  const jinja = readModelText(folder, "chat_template.jinja", mostTemplateBytes);
  const tokenizer = await readTokenizer(tokenizerJson, configJson, join(folder, "tokenizer.json"), cache);
  const { addsBos } = readTokenizerConfig(configJson);
  return { tokenizer, addsBos, template: ChatTemplate.parse(configJson, tokenizer, jinja) };
}
