/**
 * Characters and tokens of a GGUF model: the keys of its tokenizer in its metadata, as the files that
 * Hugging Face has for it.
 * @module
 */
import { type GgufModel, openGguf } from "./checkpoint/gguf.ts";
import type { GgufValue } from "./checkpoint/gguf_metadata.ts";
import type { ModelText } from "./model_text.ts";
import { GgufKeys } from "./model/gguf_keys.ts";
import { ChatTemplate } from "./text/chat_template.ts";
import { type GgufVocabulary, type TokenizerFiles, tokenizerFiles } from "./text/gguf_tokenizer.ts";
import { readTokenizerConfig } from "./text/tokenizer_config.ts";
import { readTokenizer } from "./tokenizer_cache.ts";

/**
 * @param cache hadal's cache folder, or null for none
 * @returns null for a model that knows token ids only
 * @throws {CheckpointError | UnsupportedError} for a tokenizer that cannot be used
 */
export async function readGgufText(path: string, cache: string | null): Promise<ModelText | null> {
  const model = openGguf(path, "none"); // the Worker checks its tensors
  model.close();
  const files = ggufTokenizerFiles(model);
  if (files === null) return null;
  const tokenizerJson = new TextEncoder().encode(files.tokenizerJson);
  const tokenizer = await readTokenizer(tokenizerJson, files.configJson, path, cache);
  const { addsBos } = readTokenizerConfig(files.configJson);
  return { tokenizer, addsBos, template: ChatTemplate.parse(files.configJson, tokenizer) };
}

/**
 * @returns null for a model that knows token ids only
 * @throws {CheckpointError} for keys of the wrong type, {UnsupportedError} for another kind of tokenizer
 */
export function ggufTokenizerFiles(
  { path, metadata }: Pick<GgufModel, "path" | "metadata">,
): TokenizerFiles | null {
  const keys = new GgufKeys(metadata, path);
  const name = (key: string) => `tokenizer.ggml.${key}`;
  const model = keys.text(name("model"));
  if (model === null || model === "none" || model === "no_vocab") return null;
  return tokenizerFiles({
    file: path,
    model,
    pre: keys.text(name("pre")),
    tokens: keys.needed(keys.texts(name("tokens")), name("tokens")),
    types: keys.sizes(name("token_type")),
    merges: keys.texts(name("merges")) ?? [],
    bosId: keys.size(name("bos_token_id")),
    eosId: keys.size(name("eos_token_id")),
    // DeepSeek's own tokenizers add one, and files that say nothing mean them.
    addsBos: keys.flag(name("add_bos_token")) ?? true,
    chatTemplate: keys.text("tokenizer.chat_template"),
  });
}

/** {@link ggufTokenizerFiles}, the way back. */
export function ggufTokenizerKeys(vocabulary: GgufVocabulary): Map<string, GgufValue> {
  const { model, pre, tokens, types, merges, bosId, eosId, addsBos, chatTemplate } = vocabulary;
  const name = (key: string) => `tokenizer.ggml.${key}`;
  const keys = new Map<string, GgufValue>([
    [name("model"), { type: "string", value: model }],
    [name("tokens"), { type: "array", of: "string", value: tokens }],
    [name("merges"), { type: "array", of: "string", value: merges }],
    [name("add_bos_token"), { type: "bool", value: addsBos }],
    [name("add_eos_token"), { type: "bool", value: false }],
  ]);
  if (pre !== null) keys.set(name("pre"), { type: "string", value: pre });
  if (types !== null) keys.set(name("token_type"), { type: "array", of: "i32", value: types });
  if (bosId !== null) keys.set(name("bos_token_id"), { type: "u32", value: bosId });
  if (eosId !== null) keys.set(name("eos_token_id"), { type: "u32", value: eosId });
  if (chatTemplate !== null) keys.set("tokenizer.chat_template", { type: "string", value: chatTemplate });
  return keys;
}
