/**
 * A model in GGUF, whole or in parts: its metadata and its tensors, under the names that the file gives
 * them. What they mean to a network is known in `model/gguf_*.ts`.
 * @module
 */
import { basename, dirname } from "node:path";
import { CheckpointError } from "../errors.ts";
import { shown } from "../json_scanner.ts";
import type { Validation } from "./checkpoint.ts";
import { type ByteSource, ModelFile, openModelFile } from "./file.ts";
import { GgufCursor } from "./gguf_cursor.ts";
import { type GgufHeader, type GgufValue, readGgufHeader } from "./gguf_metadata.ts";
import { mostParts, parsePartName, partName } from "./gguf_splits.ts";
import { type GgufTensor, readGgufTensors } from "./gguf_tensors.ts";

/** An open model. Nothing but headers has been read. */
export interface GgufModel {
  /** Path of the file, or of its first part. */
  readonly path: string;
  /** Keys and values of the first part. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** Tensors of all parts. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** The open files by path. */
  readonly files: ReadonlyMap<string, ByteSource>;
  close(): void;
}

/** Header and tensor table of one file. */
export interface GgufPart extends GgufHeader {
  readonly tensors: readonly GgufTensor[];
}

/**
 * Reads the header and the tensor table of a file, and no other byte of it.
 * @throws {CheckpointError | UnsupportedError}
 */
export function readGguf(file: ByteSource, validation: Validation): GgufPart {
  const cursor = new GgufCursor(file);
  const header = readGgufHeader(cursor);
  return { ...header, tensors: readGgufTensors(cursor, header, validation) };
}

/** A part that can be closed. */
type OpenPart = ByteSource & { close?(): void };

/**
 * Opens a model.
 * @param path the file, or the first part
 * @throws {CheckpointError | UnsupportedError} naming the file at fault
 */
export function openGguf(path: string, validation: Validation = "basic"): GgufModel {
  // A link that a user names may lead anywhere, one that a folder has may not.
  return openGgufParts(
    path,
    validation,
    (name, isFirst) => isFirst ? new ModelFile(path) : openModelFile(dirname(path), name),
  );
}

/**
 * {@link openGguf}, wherever the parts are.
 * @param open gives a part by its file name; its bytes beyond the tensor table are read by `files` alone
 */
export function openGgufParts(
  path: string,
  validation: Validation,
  open: (name: string, isFirst: boolean) => OpenPart,
): GgufModel {
  const first = open(basename(path), true);
  const files = new Map([[first.path, first]]);
  const close = () => files.forEach((file) => file.close?.());
  try {
    const part = readGguf(first, validation);
    const tensors = new Map(part.tensors.map((tensor) => [tensor.name, tensor]));
    const count = sizeIn(part, "split.count", path) ?? 1;
    if (count > 1) openOthers(path, part, count, validation, (name) => open(name, false), files, tensors);
    return { path, metadata: part.metadata, tensors, files, close };
  } catch (error) {
    close();
    throw error;
  }
}

function openOthers(
  path: string,
  first: GgufPart,
  count: number,
  validation: Validation,
  open: (name: string) => OpenPart,
  files: Map<string, OpenPart>,
  tensors: Map<string, GgufTensor>,
): void {
  const name = parsePartName(basename(path));
  const fail = (problem: string) => new CheckpointError(path, problem);
  const number = sizeIn(first, "split.no", path) ?? 0;
  if (count > mostParts) throw fail(`split.count is ${count}, at most ${mostParts} are read`);
  if (number >= count) throw fail(`split.no is ${number}, less than split.count ${count} is needed`);
  if (number !== 0) throw fail(`it is part ${number + 1} of ${count}, the first part is needed`);
  if (name === null || name.number !== 1 || name.count !== count) {
    throw fail(
      `split.count is ${count}, a name that ends in ${partName({ stem: "", number: 1, count })} is needed`,
    );
  }
  for (let next = 1; next < count; next++) {
    const file = open(partName({ ...name, number: next + 1 }));
    files.set(file.path, file);
    const part = readGguf(file, validation);
    const found = sizeIn(part, "split.no", file.path);
    if (found !== next || sizeIn(part, "split.count", file.path) !== count) {
      throw new CheckpointError(
        file.path,
        `its split.no is ${found}, ${next} of ${count} is needed: it is another model's, or renamed`,
      );
    }
    for (const tensor of part.tensors) {
      const other = tensors.get(tensor.name);
      if (other !== undefined) {
        throw new CheckpointError(file.path, `tensor ${shown(tensor.name)} is also in ${other.file}`);
      }
      tensors.set(tensor.name, tensor);
    }
  }
  const promised = sizeIn(first, "split.tensors.count", path);
  if (promised !== null && promised !== tensors.size) {
    throw fail(`split.tensors.count is ${promised}, the ${count} parts hold ${tensors.size}`);
  }
}

function sizeIn({ metadata }: GgufHeader, key: string, path: string): number | null {
  const found = metadata.get(key);
  if (found === undefined) return null;
  if (typeof found.value === "number" && Number.isInteger(found.value) && found.value >= 0) {
    return found.value;
  }
  throw new CheckpointError(path, `${key} is ${shown(String(found.value))}, a whole number is needed`);
}
