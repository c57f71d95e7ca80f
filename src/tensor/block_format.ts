/**
 * The blocks of GGUF files that kernels compute with as they lie: their names, and how many values and bytes
 * one has. What they stand for: checkpoint/gguf_blocks.ts and gguf_k_blocks.ts; the same in C:
 * kernels/cpu/gguf.h.
 * @module
 */

/** Formats of GGUF that are read in place: rows of whole blocks, one row after the other. */
export type BlockFormat = "q8_0" | "q4_0" | "q5_0" | "q5_1" | "q4_k" | "q5_k" | "q6_k";

/** Values of a block along a row, and its bytes. */
export const blocksOf: Readonly<
  Record<BlockFormat, { readonly values: number; readonly bytes: number }>
> = {
  q8_0: { values: 32, bytes: 34 },
  q4_0: { values: 32, bytes: 18 },
  q5_0: { values: 32, bytes: 22 },
  q5_1: { values: 32, bytes: 24 },
  q4_k: { values: 256, bytes: 144 },
  q5_k: { values: 256, bytes: 176 },
  q6_k: { values: 256, bytes: 210 },
};

/** All formats of blocks. */
export const blockFormats = Object.keys(blocksOf) as readonly BlockFormat[];

/** @returns whether a format is one of blocks */
export function isBlockFormat(format: string): format is BlockFormat {
  return Object.hasOwn(blocksOf, format);
}

/**
 * @returns (rows, blocks of a row, bytes of a block) of a matrix (rows, width)
 * @throws {RangeError} for rows that are no whole blocks
 */
export function blockShape(format: BlockFormat, rows: number, width: number): [number, number, number] {
  const { values, bytes } = blocksOf[format];
  if (width % values !== 0) {
    throw new RangeError(`rows of ${width} found, ${format} needs a multiple of ${values}`);
  }
  return [rows, width / values, bytes];
}
