/**
 * Tensors of GGUF's types to f32, exactly.
 * @module
 */
import type { BlockFormat } from "../tensor/block_format.ts";
import { decode } from "./decode.ts";
import {
  type BlockDecoder,
  decodeIq4Nl,
  decodeMxfp4,
  decodeNvfp4,
  decodeQ4_0,
  decodeQ4_1,
  decodeQ5_0,
  decodeQ5_1,
  decodeQ8_0,
  decodeTq1_0,
  decodeTq2_0,
} from "./gguf_blocks.ts";
import {
  decodeIq1M,
  decodeIq1S,
  decodeIq2S,
  decodeIq2Xs,
  decodeIq2Xxs,
  decodeIq3S,
  decodeIq3Xxs,
} from "./gguf_i_blocks.ts";
import { decodeIq4Xs, decodeQ2K, decodeQ3K, decodeQ4K, decodeQ5K, decodeQ6K } from "./gguf_k_blocks.ts";
import { blockSizes, type GgmlType } from "./gguf_types.ts";

const decoders: Partial<Record<GgmlType, BlockDecoder>> = {
  Q4_0: decodeQ4_0,
  Q4_1: decodeQ4_1,
  Q5_0: decodeQ5_0,
  Q5_1: decodeQ5_1,
  Q8_0: decodeQ8_0,
  Q2_K: decodeQ2K,
  Q3_K: decodeQ3K,
  Q4_K: decodeQ4K,
  Q5_K: decodeQ5K,
  Q6_K: decodeQ6K,
  IQ1_S: decodeIq1S,
  IQ1_M: decodeIq1M,
  IQ2_XXS: decodeIq2Xxs,
  IQ2_XS: decodeIq2Xs,
  IQ2_S: decodeIq2S,
  IQ3_XXS: decodeIq3Xxs,
  IQ3_S: decodeIq3S,
  IQ4_NL: decodeIq4Nl,
  IQ4_XS: decodeIq4Xs,
  TQ1_0: decodeTq1_0,
  TQ2_0: decodeTq2_0,
  MXFP4: decodeMxfp4,
  NVFP4: decodeNvfp4,
};

/** @returns whether `decodeGguf` reads a type */
export function isDecodable(type: GgmlType): boolean {
  return type === "F32" || type === "F16" || type === "BF16" || type in decoders;
}

/** Types that `decodeGguf` reads, for messages. */
export const decodableTypes: readonly GgmlType[] = (Object.keys(blockSizes) as GgmlType[]).filter(
  isDecodable,
);

/**
 * @param bytes whole blocks
 * @returns the values of all blocks, in order
 * @throws {RangeError} for a type that is not read, or bytes that are no whole number of blocks
 */
export function decodeGguf(type: GgmlType, bytes: Uint8Array): Float32Array<ArrayBuffer> {
  if (type === "F32" || type === "F16" || type === "BF16") return decode(type, bytes);
  const decoder = decoders[type];
  const { values, bytes: blockBytes } = blockSizes[type];
  if (decoder === undefined || bytes.length % blockBytes !== 0) {
    throw new RangeError(`${bytes.length} bytes of ${type}: whole blocks of a type that is read are needed`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = new Float32Array(bytes.length / blockBytes * values);
  for (let from = 0, at = 0; from < bytes.length; from += blockBytes, at += values) {
    decoder(out, at, view, from);
  }
  return out;
}

const blockTypes: Readonly<Record<BlockFormat, GgmlType>> = {
  q8_0: "Q8_0",
  q4_0: "Q4_0",
  q5_0: "Q5_0",
  q5_1: "Q5_1",
  q4_k: "Q4_K",
  q5_k: "Q5_K",
  q6_k: "Q6_K",
};

/** {@link decodeGguf}, for a format that kernels read in place. */
export function decodeBlocks(format: BlockFormat, bytes: Uint8Array): Float32Array<ArrayBuffer> {
  return decodeGguf(blockTypes[format], bytes);
}

/** @returns the format that kernels read a type's blocks in, or null for a type that they do not */
export function blockFormatOf(type: GgmlType): BlockFormat | null {
  const [format] = Object.entries(blockTypes).find(([, blocks]) => blocks === type) ?? [null];
  return format as BlockFormat | null;
}
