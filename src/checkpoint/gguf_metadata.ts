/**
 * Header and metadata of a GGUF file, versions 2 and 3:
 * https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 * @module
 */
import { CheckpointError, UnsupportedError } from "../errors.ts";
import { shown } from "../json_scanner.ts";
import { GgufCursor } from "./gguf_cursor.ts";

/** The types of metadata values, in the order of their numbers. */
export const valueTypes = [
  "u8",
  "i8",
  "u16",
  "i16",
  "u32",
  "i32",
  "f32",
  "bool",
  "string",
  "array",
  "u64",
  "i64",
  "f64",
] as const;

/** The type of a metadata value. */
export type GgufValueType = typeof valueTypes[number];

/** A metadata value. Numbers of 64 bits are numbers where those are exact, else bigints. */
export type GgufValue =
  | { readonly type: Exclude<GgufValueType, "array">; readonly value: number | bigint | boolean | string }
  | {
    readonly type: "array";
    readonly of: Exclude<GgufValueType, "array">;
    readonly value: readonly (number | bigint | boolean | string)[];
  };

/** What stands before the tensor table. */
export interface GgufHeader {
  readonly version: number;
  readonly nTensors: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
}

/** Values more than this are no file that we know how to hold; the published ones stay far below. */
const limits = {
  keys: 10_000,
  tensors: 100_000,
  keyBytes: 65_535,
  stringBytes: 10_000_000,
  /**
   * Of all arrays together, of which a tokenizer needs four a token: each entry becomes a value here, and
   * those of zeros cost a file nothing.
   */
  entries: 700_000,
  /** Of all keys and values together. */
  bytes: 32_000_000,
};

/** The least that a key and its value take: length, one letter, type, one byte. */
const leastKeyBytes = 14;
/** The least that an entry of the tensor table takes: length, one letter, dimensions, type, offset. */
const leastTensorBytes = 33;

/**
 * Reads the header; the cursor then stands at the tensor table.
 * @throws {CheckpointError} naming the place
 * @throws {UnsupportedError} for versions and byte orders that are not read
 */
export function readGgufHeader(cursor: GgufCursor): GgufHeader {
  const { path, sizeBytes } = cursor.file;
  if (sizeBytes < 24) {
    throw new CheckpointError(path, `it holds ${sizeBytes} bytes, no GGUF file is that short`);
  }
  if (cursor.u32("the magic number") !== 0x46554747) {
    throw new CheckpointError(path, 'it does not begin with "GGUF", this is no GGUF file');
  }
  const version = cursor.u32("the version");
  if (version === 2 << 24 || version === 3 << 24) {
    throw new UnsupportedError(
      `Cannot read ${path}: it is in big-endian byte order, little-endian is needed`,
    );
  }
  if (version === 1) {
    throw new UnsupportedError(
      `Cannot read ${path}: it is GGUF version 1, 2 and 3 are read; convert the original model again`,
    );
  }
  if (version !== 2 && version !== 3) {
    throw new UnsupportedError(`Cannot read ${path}: it is GGUF version ${version}, 2 and 3 are read`);
  }
  const nTensors = cursor.count("the number of tensors", limits.tensors);
  const nKeys = cursor.count("the number of keys", limits.keys);
  if (nTensors * leastTensorBytes + nKeys * leastKeyBytes > cursor.bytesLeft) {
    throw cursor.fail(`${nTensors} tensors and ${nKeys} keys need more than the file's ${sizeBytes} bytes`);
  }
  const metadata = new Map<string, GgufValue>();
  let nEntries = 0;
  for (let i = 0; i < nKeys; i++) {
    const key = cursor.string("a key", limits.keyBytes);
    if (key === "") throw cursor.fail("a key is empty");
    if (metadata.has(key)) throw cursor.fail(`key ${shown(key)} is there twice`);
    const value = readValue(cursor, key, limits.entries - nEntries);
    if (value.type === "array") nEntries += value.value.length;
    metadata.set(key, value);
  }
  return { version, nTensors, metadata };
}

/** @param mostEntries that an array may have */
function readValue(cursor: GgufCursor, key: string, mostEntries: number): GgufValue {
  const type = readType(cursor, key);
  if (type !== "array") return { type, value: readers[type](cursor, `key ${shown(key)}`) };
  const of = readType(cursor, key);
  if (of === "array") throw cursor.fail(`key ${shown(key)} is an array of arrays, which no model needs`);
  const what = `an entry of ${shown(key)}`;
  const length = cursor.count(`the length of ${shown(key)}`, mostEntries);
  if (length * leastBytes[of] > cursor.bytesLeft) {
    throw cursor.fail(`${shown(key)} has ${length} entries, the file has ${cursor.bytesLeft} bytes more`);
  }
  return { type, of, value: Array.from({ length }, () => readers[of](cursor, what)) };
}

function readType(cursor: GgufCursor, key: string): GgufValueType {
  const type = cursor.u32(`the type of ${shown(key)}`);
  if (type < valueTypes.length) return valueTypes[type];
  throw cursor.fail(`key ${shown(key)} has type ${type}, 0 to ${valueTypes.length - 1} are known`);
}

type ScalarType = Exclude<GgufValueType, "array">;

const leastBytes: Readonly<Record<ScalarType, number>> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  string: 8,
  u64: 8,
  i64: 8,
  f64: 8,
};

const readers: Readonly<
  Record<ScalarType, (cursor: GgufCursor, what: string) => number | bigint | boolean | string>
> = {
  u8: (cursor, what) => cursor.u8(what),
  i8: (cursor, what) => cursor.i8(what),
  u16: (cursor, what) => cursor.u16(what),
  i16: (cursor, what) => cursor.i16(what),
  u32: (cursor, what) => cursor.u32(what),
  i32: (cursor, what) => cursor.i32(what),
  f32: (cursor, what) => cursor.f32(what),
  bool: (cursor, what) => cursor.bool(what),
  string: (cursor, what) => {
    if (cursor.offset > limits.bytes) throw cursor.fail(`its keys take more than ${limits.bytes} bytes`);
    return cursor.string(what, limits.stringBytes);
  },
  u64: (cursor, what) => exact(cursor.u64(what)),
  i64: (cursor, what) => exact(cursor.i64(what)),
  f64: (cursor, what) => cursor.f64(what),
};

function exact(value: bigint): number | bigint {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}
