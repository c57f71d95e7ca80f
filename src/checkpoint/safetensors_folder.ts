/**
 * A folder of safetensors as Hugging Face lays it out: config.json, and tensors in model.safetensors or in the
 * shards that model.safetensors.index.json lists.
 * @module
 */
import { CheckpointError } from "../errors.ts";
import { shown } from "../json_scanner.ts";
import { join, namesIn } from "../runtime.ts";
import { checkedSum } from "../tensor/checked.ts";
import type { Checkpoint, StoredTensor, Validation } from "./checkpoint.ts";
import { type ModelFile, openModelFile, readModelBytes, readModelJson, statusOf } from "./file.ts";
import { readSafetensors } from "./safetensors.ts";
import { mostIndexBytes, parseIndex } from "./shard_index.ts";
import { checkValues } from "./validate.ts";

/** Where the tensors are, or which file has which. */
export const singleFile = "model.safetensors", indexFile = "model.safetensors.index.json";

/** What every model folder has, and the names of its files. */
export interface ModelFolder {
  readonly folder: string;
  /** Parsed config.json. */
  readonly config: unknown;
  readonly names: readonly string[];
}

/** @throws {CheckpointError} it is none */
export function lookInto(folder: string): ModelFolder {
  const status = statusOf(folder);
  if (status === null) throw new CheckpointError(folder, "there is no such folder");
  if (!status.isDirectory) {
    throw new CheckpointError(folder, "it is a file, the folder of a model is needed");
  }
  const config = readModelJson(folder, "config.json");
  if (config === undefined) throw new CheckpointError(folder, missing(folder, "no config.json"));
  return { folder, config, names: namesIn(folder) };
}

export function holdsSafetensors({ names }: ModelFolder): boolean {
  return names.includes(singleFile) || names.includes(indexFile);
}

/** Reads the headers of all shards; {@linkcode openCheckpoint} says the rest. */
export function openSafetensors(
  { folder, config }: ModelFolder,
  validation: Validation = "basic",
  onProgress: (doneBytes: number, totalBytes: number) => void = () => {},
): Checkpoint {
  // A folder with both is read as transformers reads it: the single file wins.
  const shardOf = statusOf(join(folder, singleFile)) === null ? readIndex(folder) : null;
  const shards = new Set(shardOf === null ? [singleFile] : shardOf.values());
  const files = new Map<string, ModelFile>();
  const close = () => files.forEach((file) => file.close());
  try {
    const tensors = new Map<string, StoredTensor>();
    for (const shard of shards) {
      const file = openShard(folder, shard);
      files.set(file.path, file);
      for (const tensor of readSafetensors(file, validation)) {
        const other = tensors.get(tensor.name);
        // Whichever was taken, the other's bytes may be what somebody checked.
        if (other !== undefined) {
          throw new CheckpointError(file.path, `tensor ${shown(tensor.name)} is also in ${other.file}`);
        }
        tensors.set(tensor.name, tensor);
      }
    }
    if (shardOf !== null && validation !== "none") checkIndex(folder, shardOf, tensors);
    if (validation === "full") checkValues(tensors.values(), files, onProgress);
    return {
      folder,
      tensors,
      config,
      sizeBytes: checkedSum([...tensors.values()].map((tensor) => tensor.sizeBytes), folder),
      read: ({ file, offset, sizeBytes }) => files.get(file)!.read(offset, sizeBytes),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

function readIndex(folder: string): Map<string, string> {
  const bytes = readModelBytes(folder, indexFile, mostIndexBytes);
  if (bytes === null) {
    throw new CheckpointError(folder, missing(folder, `no weights, neither ${singleFile} nor ${indexFile}`));
  }
  return parseIndex(bytes, join(folder, indexFile), ".safetensors");
}

function openShard(folder: string, shard: string): ModelFile {
  const path = join(folder, shard);
  if (statusOf(path) === null) {
    throw new CheckpointError(path, `there is no such file, ${indexFile} names it`);
  }
  return openModelFile(folder, shard);
}

/** An index that promises what its shards do not hold is another model's. */
function checkIndex(
  folder: string,
  shardOf: ReadonlyMap<string, string>,
  tensors: ReadonlyMap<string, StoredTensor>,
): void {
  for (const [name, shard] of shardOf) {
    const file = tensors.get(name)?.file;
    if (file !== join(folder, shard)) {
      throw new CheckpointError(
        join(folder, indexFile),
        `tensor ${shown(name)} should be in ${shard}, it is in ${file ?? "no shard"}`,
      );
    }
  }
}

/** Formats that people have instead, by the end of a file name. */
const otherFormats = /\.(gguf|onnx|h5|msgpack|npz)$/;

function missing(folder: string, what: string): string {
  const other = namesIn(folder).sort().find((name) => otherFormats.test(name));
  if (other === undefined) return `it holds ${what}`;
  const hint = other.endsWith(".gguf")
    ? "which is a model by itself: its own path works"
    : "a format that is not supported yet: safetensors and GGUF are";
  return `it holds ${what}; it has ${other}, ${hint}`;
}
