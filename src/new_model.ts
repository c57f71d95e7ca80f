/**
 * A model that is being written: it appears whole or not at all, in shards of a layer each, with the texts
 * of the one that it is made of.
 * @module
 */
import { lstatSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import {
  mostSettingsBytes,
  mostTemplateBytes,
  mostTokenizerBytes,
  readModelBytes,
  readModelText,
} from "./checkpoint/file.ts";
import { checkRoom } from "./checkpoint/disk_room.ts";
import { openGguf } from "./checkpoint/gguf.ts";
import { ggufFileOf } from "./checkpoint/gguf_splits.ts";
import { attempt, type NewTensor, writeSafetensors } from "./checkpoint/write_safetensors.ts";
import { ggufTokenizerFiles } from "./gguf_text.ts";
import { layerOf } from "./model/weights.ts";
import { namesIn } from "./runtime.ts";
import { checkedSum } from "./tensor/checked.ts";
import { removeAbandoned, unfinishedPath } from "./unfinished.ts";

/**
 * Writes `out`.
 * @param write makes the file or folder at the path that it is given, a neighbour of `out`
 * @throws {Error} there is something of that name already, or what `write` throws; then nothing is left
 */
export async function publish<T>(out: string, write: (path: string) => Promise<T>): Promise<T> {
  const target = resolve(out);
  if (!statSync(dirname(target), { throwIfNoEntry: false })?.isDirectory()) {
    throw new Error(`Cannot write ${out}: there is no folder ${dirname(target)}`);
  }
  removeAbandoned(dirname(target), (name) => name === basename(target));
  refuseExisting(target);
  const partial = unfinishedPath(target);
  try {
    const result = await write(partial);
    refuseExisting(target); // rename would take the place of a file, or of an empty folder
    attempt(out, () => renameSync(partial, target));
    return result;
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    throw error;
  }
}

function refuseExisting(target: string): void {
  if (lstatSync(target, { throwIfNoEntry: false }) !== undefined) {
    throw new Error(`Cannot write ${target}: it is there already, a new name is needed`);
  }
}

/** How far writing shards is, in layers and bytes. */
export interface ShardProgress {
  readonly layersDone: number;
  readonly layers: number;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/**
 * Writes tensors and their index.
 * @param folder which is there
 * @param onProgress told after each piece; may throw to give up
 * @returns bytes of all tensors
 * @throws {Error} before anything is written, when they find no room
 */
export async function writeShards(
  folder: string,
  tensors: readonly NewTensor[],
  onProgress: (progress: ShardProgress) => void,
): Promise<number> {
  const shards = [...Map.groupBy(tensors, ({ name }) => layerOf(name) ?? -1)].sort(([a], [b]) => a - b);
  const totalBytes = checkedSum(tensors.map(({ sizeBytes }) => sizeBytes), folder);
  checkRoom(folder, totalBytes);
  const layers = shards.filter(([layer]) => layer >= 0).length;
  let layersDone = 0, doneBytes = 0;
  const shardOf: [tensor: string, shard: string][] = [];
  for (const [i, [layer, content]] of shards.entries()) {
    const [number, last] = [i + 1, shards.length].map((n) => String(n).padStart(5, "0"));
    const shard = `model-${number}-of-${last}.safetensors`;
    await writeSafetensors(join(folder, shard), content, (bytes) => {
      onProgress({ layersDone, layers, doneBytes: doneBytes += bytes, totalBytes });
    });
    for (const { name } of content) shardOf.push([name, shard]);
    if (layer >= 0) layersDone++;
    onProgress({ layersDone, layers, doneBytes, totalBytes });
  }
  writeJson(folder, "model.safetensors.index.json", {
    metadata: { total_size: totalBytes },
    weight_map: Object.fromEntries(shardOf),
  });
  return totalBytes;
}

/** Writes a JSON file of the folder. */
function writeJson(folder: string, name: string, value: unknown): void {
  writeFile(folder, name, JSON.stringify(value, null, 2) + "\n");
}

/** Keys whose numbers transformers takes for floats alone: 1 is none. */
const floatKeys =
  /^( *"(?:routed_scaling_factor|rms_norm_eps|initializer_range|attention_dropout|aux_loss_alpha|mscale|mscale_all_dim)": -?\d+)(,?)$/gm;

/** Writes config.json. JSON.stringify makes 1 of 1.0, which is another type elsewhere. */
export function writeConfigJson(folder: string, config: Readonly<Record<string, unknown>>): void {
  const text = JSON.stringify(config, null, 2).replace(floatKeys, "$1.0$2");
  writeFile(folder, "config.json", text + "\n");
}

function writeFile(folder: string, name: string, content: string | Uint8Array): void {
  const path = join(folder, name);
  attempt(path, () => writeFileSync(path, content));
}

/** What a model's folder holds besides weights and config.json, as far as it is read here or elsewhere. */
const textFiles = [
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "chat_template.jinja",
  "special_tokens_map.json",
  "added_tokens.json",
  "tokenizer.model",
  "tiktoken.model",
];

/** Writes the texts of a model: copies those of a folder, and makes those of a GGUF file. */
export function writeTexts(source: string, folder: string): void {
  if (ggufFileOf(source) === null) {
    for (const name of [...textFiles, ...modulesIn(source)]) {
      const bytes = readModelBytes(source, name, mostTokenizerBytes);
      if (bytes) writeFile(folder, name, bytes);
    }
    return;
  }
  const texts = tokenizerTextsOf(source);
  if (texts === null) return;
  writeFile(folder, "tokenizer.json", texts.tokenizerJson);
  if (texts.configJson !== null) writeFile(folder, "tokenizer_config.json", texts.configJson);
}

/** Python that config.json may name for other programs, which do not begin without it; here it is never run. */
function modulesIn(source: string): string[] {
  return namesIn(source).filter((name) => /^\w+\.py$/.test(name)).sort();
}

/** Texts of a model's tokenizer. */
export interface TokenizerTexts {
  readonly tokenizerJson: string;
  readonly configJson: string | null;
  readonly jinja: string | null;
}

/** @returns null for a model that knows token ids only */
export function tokenizerTextsOf(source: string): TokenizerTexts | null {
  const gguf = ggufFileOf(source);
  if (gguf !== null) {
    const model = openGguf(gguf, "none");
    model.close();
    const files = ggufTokenizerFiles(model);
    return files && { ...files, jinja: null };
  }
  const tokenizerJson = readModelText(source, "tokenizer.json", mostTokenizerBytes);
  if (tokenizerJson === null) return null;
  return {
    tokenizerJson,
    configJson: readModelText(source, "tokenizer_config.json", mostSettingsBytes),
    jinja: readModelText(source, "chat_template.jinja", mostTemplateBytes),
  };
}
