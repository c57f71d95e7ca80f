/**
 * One file format into the other: GGUF into a folder of safetensors, a folder into GGUF.
 * @module
 */
import { mkdirSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { checkRoom } from "./checkpoint/disk_room.ts";
import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import type { GgufValue } from "./checkpoint/gguf_metadata.ts";
import { ggufFileOf } from "./checkpoint/gguf_splits.ts";
import { ggufBytes, writeGguf } from "./checkpoint/write_gguf.ts";
import { attempt } from "./checkpoint/write_safetensors.ts";
import { ggufTokenizerKeys } from "./gguf_text.ts";
import { type ModelConfig, parseConfig } from "./model/config.ts";
import { type GgufMatrixType, planGgufTensors } from "./model/gguf_export.ts";
import { ggufKeysOf } from "./model/gguf_export_keys.ts";
import { openModel } from "./model/open_model.ts";
import { plainTensor } from "./model/plain_tensor.ts";
import { refuseRounded } from "./model/weight_plan.ts";
import { publish, tokenizerTextsOf, writeConfigJson, writeShards, writeTexts } from "./new_model.ts";
import { dtypeBits } from "./tensor/dtype.ts";
import { vocabularyOf } from "./text/gguf_vocabulary.ts";

/** Options of {@linkcode convert}. */
export interface ConvertOptions {
  /** Type of the matrices; "auto" keeps F32, BF16 and F16, and makes BF16 of all else. */
  readonly type?: GgufMatrixType;
  /** Gives up; nothing is left behind. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/**
 * Writes `out`: it is there whole or not at all.
 * @param source a model in any format that loads
 * @param out a path that ends in .gguf, else a folder of safetensors is made
 * @throws {CheckpointError | UnsupportedError} for a source that cannot be read, or that the other format
 *   cannot say
 * @throws {Error} for a result that cannot be written, or is there already
 */
export async function convert(source: string, out: string, options: ConvertOptions = {}): Promise<void> {
  options.signal?.throwIfAborted();
  const checkpoint = openModel(source, { widens: true });
  try {
    const config = parseConfig(checkpoint.config, checkpoint.configFile ?? join(source, "config.json"));
    refuseRounded(checkpoint, config, "another file");
    const write = (path: string) =>
      resolve(out).endsWith(".gguf")
        ? writeGgufFile(source, checkpoint, config, path, options)
        : writeFolder(source, checkpoint, path, options);
    await publish(out, write);
  } finally {
    checkpoint.close();
  }
}

/** Bytes done, told after each piece. */
function counter(totalBytes: number, { signal, onProgress }: ConvertOptions): (bytes: number) => void {
  let doneBytes = 0;
  return (bytes) => {
    signal?.throwIfAborted();
    onProgress?.(doneBytes += bytes, totalBytes);
  };
}

async function writeGgufFile(
  source: string,
  checkpoint: Checkpoint,
  config: ModelConfig,
  path: string,
  options: ConvertOptions,
): Promise<void> {
  const keys = ggufKeysOf(config, checkpoint.config, nameOf(resolve(source)));
  for (const [key, value] of tokenizerKeys(source, config)) keys.set(key, value);
  const tensors = planGgufTensors(checkpoint, config, options.type ?? "auto");
  const totalBytes = tensors.reduce((sum, tensor) => sum + ggufBytes(tensor), 0);
  checkRoom(dirname(path), totalBytes);
  await writeGguf(path, keys, tensors, counter(totalBytes, options));
}

/** What a model is called: as its file, its folder, or on the hub whose cache the folder is in. */
function nameOf(path: string): string {
  const [, onHub] = /[\/\\]models--[^\/\\]+?--([^\/\\]+)[\/\\]snapshots[\/\\][^\/\\]+$/.exec(path) ?? [];
  return onHub ?? basename(path).replace(/(?:-\d{5}-of-\d{5})?\.gguf$/, "");
}

/** For a model that knows token ids only, which of them begin and end a text. */
function tokenizerKeys(
  source: string,
  { vocabSize, bosId, eosIds }: ModelConfig,
): ReadonlyMap<string, GgufValue> {
  const files = tokenizerTextsOf(source);
  if (files === null) {
    const keys = new Map<string, GgufValue>([["tokenizer.ggml.model", { type: "string", value: "none" }]]);
    if (bosId !== null) keys.set("tokenizer.ggml.bos_token_id", { type: "u32", value: bosId });
    if (eosIds.length > 0) keys.set("tokenizer.ggml.eos_token_id", { type: "u32", value: eosIds[0] });
    return keys;
  }
  const file = ggufFileOf(source) ?? join(source, "tokenizer.json");
  const { tokenizerJson, configJson, jinja } = files;
  return ggufTokenizerKeys(vocabularyOf(tokenizerJson, configJson, jinja, { file, vocabSize }));
}

async function writeFolder(
  source: string,
  checkpoint: Checkpoint,
  folder: string,
  options: ConvertOptions,
): Promise<void> {
  const names = [...checkpoint.tensors.keys(), ...(checkpoint.coded?.keys() ?? [])];
  const tensors = names.filter((name) => !name.endsWith("_scale_inv"))
    .map((name) => plainTensor(checkpoint, name, options.type ?? "auto"))
    // The widest numbers first: all lie aligned.
    .sort((a, b) => dtypeBits[b.dtype] - dtypeBits[a.dtype]);
  attempt(folder, () => mkdirSync(folder));
  await writeShards(folder, tensors, ({ doneBytes, totalBytes }) => {
    options.signal?.throwIfAborted();
    options.onProgress?.(doneBytes, totalBytes);
  });
  const { quantization_config: _, ...config } = checkpoint.config as Record<string, unknown>;
  writeConfigJson(folder, config);
  writeTexts(source, folder);
}
