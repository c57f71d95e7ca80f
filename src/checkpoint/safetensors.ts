/**
 * The header of a safetensors file: eight bytes of length, JSON, then nothing but tensors.
 * Format and rules: https://github.com/huggingface/safetensors (README, "Format").
 * @module
 */
import { CheckpointError } from "../errors.ts";
import { checkedProduct } from "../tensor/checked.ts";
import { type Dtype, dtypeBits } from "../tensor/dtype.ts";
import type { StoredTensor, Validation } from "./checkpoint.ts";
import { type ByteSource, readText } from "./file.ts";
import { JsonScanner, JsonSyntaxError, shown } from "../json_scanner.ts";

/** The reference reader takes 100 MB; a header of all of Kimi K2's 140 000 tensors has 20. */
export const maxHeaderBytes = 32_000_000;
/** Tensors in one file, so that the table of a file in bad faith stays small too. */
const mostTensors = 150_000;
/** Entries of the free text about a file. */
const mostNotes = 10_000;

/**
 * Reads the header of a file, and no other byte of it.
 *
 * Always holds: names are unique, a tensor's range is inside the file and as long as its shape and
 * dtype say. Unless validation is "none", the ranges also cover the file from header to end without
 * hole or overlap, so that no byte is hidden from one reader and seen by another.
 * @throws {CheckpointError}
 */
export function readSafetensors(file: ByteSource, validation: Validation): StoredTensor[] {
  const headerBytes = readHeaderLength(file);
  const dataStart = 8 + headerBytes;
  const tensors: StoredTensor[] = [];
  let current = "";
  try {
    const header = readText(file, 8, headerBytes);
    const scanner = new JsonScanner(header);
    scanner.object("the header", (name) => {
      current = name;
      if (tensors.length === mostTensors) {
        throw new JsonSyntaxError(`it has more than ${mostTensors} tensors`);
      }
      if (name === "__metadata__") readMetadata(scanner);
      else tensors.push(readTensor(scanner, name, file, dataStart));
    });
    scanner.finish();
    if (header.subarray(header.lastIndexOf(0x7d) + 1).some((byte) => byte !== 0x20)) {
      throw new JsonSyntaxError("it is padded with other characters than spaces");
    }
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    throw new CheckpointError(file.path, `header, at or after ${shown(current)}: ${error.message}`);
  }
  if (validation !== "none") checkCoverage(file, tensors, dataStart);
  return tensors;
}

function readHeaderLength(file: ByteSource): number {
  if (file.sizeBytes < 9) {
    throw new CheckpointError(
      file.path,
      `it holds ${file.sizeBytes} bytes, no safetensors file is that short`,
    );
  }
  const start = file.read(0, 9);
  const claimed = new DataView(start.buffer).getBigUint64(0, true);
  if (claimed > BigInt(maxHeaderBytes)) {
    throw new CheckpointError(
      file.path,
      `header claims ${claimed} bytes, at most ${maxHeaderBytes} are read`,
    );
  }
  if (claimed + 8n > BigInt(file.sizeBytes)) {
    throw new CheckpointError(file.path, `header claims ${claimed} bytes, the file holds ${file.sizeBytes}`);
  }
  if (claimed < 2n || start[8] !== 0x7b) {
    throw new CheckpointError(file.path, "header does not start with '{', this is no safetensors file");
  }
  return Number(claimed);
}

/** Free text about the file: checked as the format says, and of no use to us. */
function readMetadata(scanner: JsonScanner): void {
  let count = 0;
  scanner.object("__metadata__", () => {
    if (++count > mostNotes) throw new JsonSyntaxError(`__metadata__ has more than ${mostNotes} entries`);
    scanner.string("a value of __metadata__");
  });
}

function readTensor(scanner: JsonScanner, name: string, file: ByteSource, dataStart: number): StoredTensor {
  const found: { dtype?: string; shape?: number[]; range?: number[] } = {};
  const sizes = (field: string) => {
    const values: number[] = [];
    scanner.array(field, () => void values.push(scanner.size(field)));
    return values;
  };
  scanner.object("a tensor", (field) => {
    if (field === "dtype") found.dtype = scanner.string("dtype");
    else if (field === "shape") found.shape = sizes(field);
    else if (field === "data_offsets") found.range = sizes(field);
    else scanner.skip(field);
  });
  const { dtype, shape, range } = found;
  const fail = (problem: string) => new CheckpointError(file.path, `tensor ${shown(name)} ${problem}`);
  if (dtype === undefined || shape === undefined || range === undefined) {
    throw fail("needs dtype, shape and data_offsets");
  }
  if (!isDtype(dtype)) throw fail(`has the unknown dtype ${shown(dtype)}`);
  if (range.length !== 2) throw fail(`has ${range.length} data_offsets, 2 are needed`);
  const [begin, end] = range;
  if (end < begin) throw fail(`ends at byte ${end}, before it begins at ${begin}`);
  if (end > file.sizeBytes - dataStart) {
    throw fail(`ends at byte ${dataStart + end}, the file holds ${file.sizeBytes}`);
  }
  const needed = bytesOf(shape, dtype);
  if (needed !== end - begin) {
    const shownShape = shape.length <= 8 ? `[${shape}]` : `of ${shape.length} dimensions`;
    throw fail(`${shownShape} in ${dtype} needs ${needed ?? "too many"} bytes, its range has ${end - begin}`);
  }
  return { name, dtype, shape, file: file.path, offset: dataStart + begin, sizeBytes: needed };
}

function isDtype(name: string): name is Dtype {
  return Object.hasOwn(dtypeBits, name);
}

/** @returns null when the product leaves the exact numbers, or is no whole number of bytes */
function bytesOf(shape: readonly number[], dtype: Dtype): number | null {
  try {
    const bits = checkedProduct([...shape, dtypeBits[dtype]], "shape");
    return bits % 8 === 0 ? bits / 8 : null;
  } catch {
    return null;
  }
}

/** Tensors follow each other from the header to the end of the file; empty ones may lie anywhere between. */
function checkCoverage(file: ByteSource, tensors: readonly StoredTensor[], dataStart: number): void {
  let end = dataStart;
  const byOffset = tensors.toSorted((a, b) => a.offset - b.offset || a.sizeBytes - b.sizeBytes);
  for (const { name, offset, sizeBytes } of byOffset) {
    if (offset !== end) {
      const what = offset < end ? "overlaps the tensor before it, which ends" : "leaves a hole after";
      throw new CheckpointError(file.path, `tensor ${shown(name)} at byte ${offset} ${what} at byte ${end}`);
    }
    end = offset + sizeBytes;
  }
  if (end !== file.sizeBytes) {
    throw new CheckpointError(file.path, `tensors end at byte ${end}, the file holds ${file.sizeBytes}`);
  }
}
