/**
 * What the headers of a model's files say, read without its weights, from a folder or from a hub. Unlike
 * open.ts this goes on where something is missing: it is for telling what a model is, not for running it.
 * @module
 */
import { readdirSync } from "node:fs";
import { CheckpointError } from "../errors.ts";
import { shown } from "../json_scanner.ts";
import type { StoredTensor } from "./checkpoint.ts";
import { type ByteSource, mostSettingsBytes, openModelFile, parseSettings, readModelBytes } from "./file.ts";
import { indexFile, singleFile } from "./safetensors_folder.ts";
import { maxHeaderBytes, readSafetensors } from "./safetensors.ts";
import { mostIndexBytes, parseIndex } from "./shard_index.ts";

/** Where files are read from. */
export interface TableSource {
  /** What messages call it. */
  readonly name: string;
  /** Names of its files. */
  readonly files: readonly string[];
  /** A whole file that is no weights. */
  read(file: string, limitBytes: number): Promise<Uint8Array>;
  /** A safetensors file of which only the header can be read. */
  header(file: string): Promise<ByteSource>;
}

/** All that is known without weights. */
export interface Tables {
  readonly name: string;
  /** config.json as parsed JSON, undefined when there is none. */
  readonly config: unknown;
  readonly files: readonly string[];
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Files that the index names and that are not there. */
  readonly missingFiles: readonly string[];
}

/** @throws {CheckpointError} a file that is there and cannot be read, or no safetensors at all */
export async function readTables(source: TableSource): Promise<Tables> {
  const { name, files } = source;
  const has = (file: string) => files.includes(file);
  const config = has("config.json")
    ? parseSettings(await source.read("config.json", mostSettingsBytes), `${name}/config.json`)
    : undefined;
  let shards = [singleFile];
  if (!has(singleFile)) {
    if (!has(indexFile)) {
      const other = files.filter((file) => /\.(?:bin|gguf|pt|pth|ckpt|onnx|npz)$/.test(file));
      const found = other.length === 0 ? "no weights" : other.slice(0, 5).map(shown).join(", ");
      throw new CheckpointError(name, `${found} found, ${singleFile} or ${indexFile} needed`);
    }
    const index = await source.read(indexFile, mostIndexBytes);
    shards = [...new Set(parseIndex(index, `${name}/${indexFile}`, ".safetensors").values())];
  }
  const tensors = new Map<string, StoredTensor>();
  for (const shard of await inParallel(shards.filter(has), (shard) => source.header(shard))) {
    for (const tensor of readSafetensors(shard, "basic")) {
      const other = tensors.get(tensor.name);
      if (other !== undefined) {
        throw new CheckpointError(shard.path, `tensor ${shown(tensor.name)} is also in ${other.file}`);
      }
      tensors.set(tensor.name, tensor);
    }
  }
  return { name, config, files, tensors, missingFiles: shards.filter((shard) => !has(shard)) };
}

/** A folder on disk. @throws {CheckpointError} */
export function folderTables(folder: string): TableSource {
  return {
    name: folder,
    files: readdirSync(folder),
    read: (file, limitBytes) => Promise.resolve(readModelBytes(folder, file, limitBytes)!),
    header: (name) => {
      const file = openModelFile(folder, name);
      try {
        return Promise.resolve(headerOnly(file.path, file.sizeBytes, (size) => file.read(0, size)));
      } finally {
        file.close();
      }
    },
  };
}

/** @returns the start of a file with its whole header, from something that reads starts of it */
function headerOnly(path: string, sizeBytes: number, start: (size: number) => Uint8Array): ByteSource {
  const first = start(Math.min(sizeBytes, 8));
  const needed = headerEnd(first);
  return startOf(path, sizeBytes, start(Math.min(sizeBytes, Math.max(9, needed))));
}

/** @returns bytes from the file's start that its header takes, as its first eight claim; 0 for nonsense */
export function headerEnd(first: Uint8Array): number {
  if (first.length < 8) return 0;
  const claimed = new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true);
  return claimed <= BigInt(maxHeaderBytes) ? 8 + Number(claimed) : 0;
}

/** Bytes are needed of which only those before are here. */
export class BeyondStartError extends CheckpointError {
  /** Bytes of the file's start that are needed. */
  readonly needed: number;

  constructor(path: string, needed: number, length: number) {
    super(path, `bytes to ${needed} are needed, ${length} were read`);
    this.needed = needed;
  }
}

/** A file of which only these bytes are here. */
export function startOf(path: string, sizeBytes: number, bytes: Uint8Array): ByteSource {
  return {
    path,
    sizeBytes,
    read: (offset, size) => {
      if (offset + size > bytes.length) throw new BeyondStartError(path, offset + size, bytes.length);
      return new Uint8Array(bytes.subarray(offset, offset + size));
    },
  };
}

/** Runs `act` for all items, eight at a time. */
async function inParallel<T, R>(items: readonly T[], act: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let first = 0; first < items.length; first += 8) {
    results.push(...await Promise.all(items.slice(first, first + 8).map(act)));
  }
  return results;
}
