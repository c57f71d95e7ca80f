/**
 * Matrices in formats of other programs: most are decoded at load.
 * @module
 */
import type { BlockFormat } from "../tensor/block_format.ts";
import type { PackedFormat } from "../tensor/packed_format.ts";

/** Formats that rows can be handed over in. */
export type RowFormat = "f32" | "bf16" | "f16" | PackedFormat;

/** Another way to say the same rows. */
export interface ExactRows {
  /** What holds every value of the matrix as it is. */
  readonly format: RowFormat;
  /**
   * @param row first one, for packed formats a multiple of 16
   * @param count to the end of the matrix, or for packed formats a multiple of 16
   * @returns their bytes in that format
   */
  rows(row: number, count: number): Uint8Array;
}

/** What is known of a matrix (rows, width) = (outputs, inputs) before it is read. */
export interface CodedShape {
  /** As the network calls it. */
  readonly name: string;
  /** The file that it lies in, or the first of them. */
  readonly file: string;
  /** The format, in words for a person: "Q4_K". */
  readonly coding: string;
  readonly rows: number;
  readonly width: number;
  /** Bytes in the files. */
  readonly sizeBytes: number;
}

/** A matrix that must be decoded. */
export interface CodedMatrix extends CodedShape {
  /** The blocks that the file has from `offset` on, where a device reads them as they lie. */
  readonly blocks?: { readonly format: BlockFormat; readonly offset: number };
  /** @returns (count, width), every value exact */
  decode(row: number, count: number): Float32Array<ArrayBuffer>;
  /** @returns null when only f32 holds every value; may read the whole matrix to find out */
  exact(): ExactRows | null;
}
