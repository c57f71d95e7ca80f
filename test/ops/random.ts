/**
 * Arguments of ops from a seed: the same numbers on every backend, weights in files as a checkpoint has them.
 * @module
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Backend, Experts, StoredMatrix, Tensor, Vector, Weight } from "../../src/backend/backend.ts";
import { type BlockFormat, blockShape, blocksOf, isBlockFormat } from "../../src/tensor/block_format.ts";
import type { Dtype, OwnFormat, WeightFormat } from "../../src/tensor/dtype.ts";

/** A source of arguments. As a function: `random(3, 64)` is a tensor, `random(64)` a vector. */
export interface Random {
  (length: number): Vector;
  (rows: number, width: number): Tensor;
  /** Roughly normal numbers around 0 with deviation 1. */
  values(count: number): Float32Array;
  /** A whole number from `least` to `most`. */
  int(least: number, most: number): number;
  /** One of several. */
  pick<T>(choices: readonly T[]): T;
  /** (tokens, ropeDim): cosines and sines of angles up to 10. */
  angles(tokens: number, ropeDim: number): Tensor;
  /** A matrix of a checkpoint, with rows of length about 1. */
  stored(rows: number, width: number, dtype: WeightDtype): StoredMatrix;
  /** A matrix of fp8 with these codes, and a scale for each 128 x 128 of them. */
  storedFp8(rows: number, width: number, codes: Uint8Array, scales: Float32Array): StoredMatrix;
  /** A matrix of a GGUF file; the width is whole blocks. */
  storedBlocks(rows: number, width: number, format: BlockFormat): StoredMatrix;
  weight(rows: number, width: number, format?: WeightFormat): Weight;
  /** Feed-forward networks of one shape. */
  experts(nExperts: number, hidden: number, intermediate: number, format?: WeightFormat): Experts;
}

/** Number types that weights are stored in. */
export type WeightDtype = "F32" | "BF16" | "F16" | "F8_E4M3";

/** What a weight format is loaded from; packed ones are made from f32. */
const storedAs: Record<OwnFormat, WeightDtype> = {
  f32: "F32",
  bf16: "BF16",
  f16: "F16",
  fp8: "F8_E4M3",
  int8: "F32",
  int4: "F32",
  int4a: "F32",
  int3: "F32",
  nf4: "F32",
};

/** All formats that rows of any width can be had in. */
export const weightFormats = Object.keys(storedAs) as readonly OwnFormat[];

/**
 * @param seed decides every number
 * @param folder where weights are written
 */
export function randomFrom(backend: Backend, seed: string, folder: string): Random {
  const next = generator(seed);
  let nFiles = 0;
  const values = (count: number): Float32Array => {
    const out = new Float32Array(count);
    // Irwin-Hall of four uniforms: bounded, so that no draw is an outlier that hides the others.
    for (let i = 0; i < count; i++) out[i] = (next() + next() + next() + next() - 2) * Math.sqrt(3);
    return out;
  };
  const stored = (rows: number, width: number, dtype: WeightDtype): StoredMatrix => {
    const file = join(folder, String(nFiles++));
    return storeMatrix(file, values(rows * width), rows, width, dtype, next);
  };
  const storedFp8 = (rows: number, width: number, codes: Uint8Array, scales: Float32Array): StoredMatrix =>
    storeFp8(join(folder, String(nFiles++)), rows, width, codes, scales);
  const storedBlocks = (rows: number, width: number, format: BlockFormat): StoredMatrix =>
    storeBlocks(join(folder, String(nFiles++)), rows, width, format, next);
  const weight = (rows: number, width: number, format: WeightFormat = "f32"): Weight =>
    isBlockFormat(format)
      ? backend.loadWeight(storedBlocks(rows, width, format), "auto")
      : backend.loadWeight(stored(rows, width, storedAs[format]), format);
  const make = (rows: number, width?: number): Tensor | Vector =>
    width === undefined ? backend.loadVector(values(rows)) : backend.upload(values(rows * width), width);
  const rest = {
    values,
    int: (least: number, most: number) => least + Math.floor(next() * (most - least + 1)),
    pick: <T>(choices: readonly T[]): T => choices[Math.floor(next() * choices.length)],
    angles: (tokens: number, ropeDim: number): Tensor => {
      const out = new Float32Array(tokens * ropeDim);
      for (let token = 0; token < tokens; token++) {
        for (let pair = 0; pair < ropeDim / 2; pair++) {
          const angle = 10 * next();
          out[token * ropeDim + pair] = Math.cos(angle);
          out[token * ropeDim + ropeDim / 2 + pair] = Math.sin(angle);
        }
      }
      return backend.upload(out, ropeDim);
    },
    stored,
    storedFp8,
    storedBlocks,
    weight,
    experts: (
      nExperts: number,
      hidden: number,
      intermediate: number,
      format: WeightFormat = "f32",
    ): Experts =>
      backend.bindExperts(Array.from({ length: nExperts }, () => ({
        gate: weight(intermediate, hidden, format),
        up: weight(intermediate, hidden, format),
        down: weight(hidden, intermediate, format),
      }))),
  };
  return Object.assign(make, rest) as Random;
}

// As safetensors may have it.
const oddOffset = 7;

/** Writes a matrix at an odd place of a file. */
function storeMatrix(
  file: string,
  values: Float32Array,
  rows: number,
  width: number,
  dtype: WeightDtype,
  next: () => number,
): StoredMatrix {
  for (let i = 0; i < values.length; i++) values[i] /= Math.sqrt(width);
  const bytes = encode(values, dtype);
  if (dtype !== "F8_E4M3") {
    writeFileSync(file, concat([new Uint8Array(oddOffset), bytes]));
    return { name: "weight", file, offset: oddOffset, sizeBytes: bytes.length, dtype, rows, width };
  }
  const nScales = Math.ceil(rows / 128) * Math.ceil(width / 128);
  const scales = new Float32Array(nScales).map(() => (0.5 + next()) / (16 * Math.sqrt(width)));
  return storeFp8(file, rows, width, bytes, scales);
}

/** Writes codes and their scales behind them. */
function storeFp8(
  file: string,
  rows: number,
  width: number,
  codes: Uint8Array,
  scales: Float32Array,
): StoredMatrix {
  const scaleBytes = new Uint8Array(scales.buffer);
  writeFileSync(file, concat([new Uint8Array(oddOffset), codes, scaleBytes]));
  const codesAt = { offset: oddOffset, sizeBytes: codes.length, dtype: "F8_E4M3" as Dtype, rows, width };
  const scale = {
    name: "weight_scale_inv",
    file,
    offset: oddOffset + codes.length,
    sizeBytes: scaleBytes.length,
    dtype: "F32" as Dtype,
    rows: Math.ceil(rows / 128),
    width: Math.ceil(width / 128),
  };
  return { name: "weight", file, ...codesAt, scale };
}

/** Writes blocks of all codes there are, in rows of length about 1, at an odd place of a file. */
function storeBlocks(
  file: string,
  rows: number,
  width: number,
  format: BlockFormat,
  next: () => number,
): StoredMatrix {
  const { bytes: blockBytes } = blocksOf[format];
  const sizeBytes = blockShape(format, rows, width).reduce((a, b) => a * b);
  const offset = oddOffset;
  const bytes = Uint8Array.from({ length: offset + sizeBytes }, () => 256 * next());
  const view = new DataView(bytes.buffer);
  const put = (at: number, largest: number) => {
    const scale = (0.5 + next()) / (largest * Math.sqrt(width / 4));
    view.setUint16(at, toF16Bits(next() < 0.5 ? scale : -scale), true);
  };
  for (let block = offset; block < bytes.length; block += blockBytes) {
    if (format === "q4_k") put(block, 15 * 40), put(block + 2, 100);
    else if (format === "q5_k") put(block, 31 * 40), put(block + 2, 100);
    else if (format === "q5_1") put(block, 31), put(block + 2, 2);
    else put(block + (format === "q6_k" ? 208 : 0), { q8_0: 128, q4_0: 8, q5_0: 16, q6_k: 32 * 90 }[format]);
  }
  writeFileSync(file, bytes);
  return { name: "weight", file, offset, sizeBytes, dtype: "U8", rows, width, blocks: format };
}

function encode(values: Float32Array, dtype: WeightDtype): Uint8Array {
  if (dtype === "F32") return new Uint8Array(values.buffer);
  if (dtype === "BF16") {
    // Cut, not rounded: any bf16 will do.
    return new Uint8Array(new Uint16Array(new Uint32Array(values.buffer).map((bits) => bits >>> 16)).buffer);
  }
  if (dtype === "F16") return new Uint8Array(Uint16Array.from(values, toF16Bits).buffer);
  // Every e4m3 byte but the two NaNs comes up, subnormals included.
  const bytes = new Uint8Array(values.length);
  for (let i = 0; i < bytes.length; i++) {
    const byte = Math.abs(Math.floor(values[i] * 1e6)) % 256;
    bytes[i] = (byte & 0x7f) === 0x7f ? byte - 1 : byte;
  }
  return bytes;
}

/** The bits of Math.f16round(x), for magnitudes below 65504. */
function toF16Bits(x: number): number {
  const rounded = Math.abs(Math.f16round(x));
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  if (rounded < 2 ** -14) return sign | rounded * 2 ** 24; // subnormal
  const exponent = Math.floor(Math.log2(rounded));
  return sign | (exponent + 15) << 10 | (rounded / 2 ** exponent - 1) * 1024;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** FNV-1a. */
function hash(words: string): number {
  let state = 0x811c9dc5;
  for (let i = 0; i < words.length; i++) state = Math.imul(state ^ words.charCodeAt(i), 0x01000193);
  return state >>> 0;
}

/** Numbers in [0, 1) with 32 random bits (splitmix32). */
function generator(seed: string): () => number {
  let state = hash(seed);
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = state ^ state >>> 16;
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return ((mixed ^ mixed >>> 15) >>> 0) / 2 ** 32;
  };
}
