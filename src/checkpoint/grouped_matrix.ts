/**
 * Matrices of whole numbers with a scale for each group of inputs, as GPTQ, AWQ and compressed-tensors
 * have them: (code - zero) * scale.
 * @module
 */
import { packedGroup } from "../tensor/packed_format.ts";
import { type CodedFormat, layOutCodes } from "../tensor/t16_codes.ts";
import type { CodedMatrix, CodedShape, ExactRows } from "./coded.ts";

/** A matrix of whole numbers, and how to read it. */
export interface GroupedSource extends CodedShape {
  readonly nGroups: number;
  /** (width), the group of each input */
  readonly groupOf: Int32Array;
  /** @returns the least and the most that code - zero can be; it need not occur */
  bounds(): readonly [least: number, most: number];
  /** @returns (count, groups) */
  scales(row: number, count: number): Float32Array;
  /** @returns (count, width), code - zero */
  steps(row: number, count: number): Int16Array;
  /** Told when the last row has been read. */
  drop(): void;
}

/** Rows read at once to find out what occurs. */
const probeRows = 256;

/** Such a matrix for loading. */
export class GroupedMatrix implements CodedMatrix {
  readonly name: string;
  readonly file: string;
  readonly coding: string;
  readonly rows: number;
  readonly width: number;
  readonly sizeBytes: number;
  readonly #source: GroupedSource;
  #exact: ExactRows | null | undefined;

  constructor(source: GroupedSource) {
    this.name = source.name;
    this.file = source.file;
    this.coding = source.coding;
    this.rows = source.rows;
    this.width = source.width;
    this.sizeBytes = source.sizeBytes;
    this.#source = source;
  }

  decode(row: number, count: number): Float32Array<ArrayBuffer> {
    const { width } = this;
    const { groupOf, nGroups } = this.#source;
    const [steps, scales] = this.#read(row, count);
    const out = new Float32Array(count * width);
    for (let r = 0; r < count; r++) {
      for (let i = 0; i < width; i++) {
        out[r * width + i] = steps[r * width + i] * scales[r * nGroups + groupOf[i]];
      }
    }
    return out;
  }

  exact(): ExactRows | null {
    if (this.#exact === undefined) this.#exact = this.#findExact();
    return this.#exact;
  }

  /** hadal's groups are 32 inputs side by side: theirs must be made of those, and their scales be f16. */
  #findExact(): ExactRows | null {
    const { rows, width } = this;
    const { groupOf } = this.#source;
    if (width % packedGroup !== 0) return null;
    for (let i = 0; i < width; i++) if (groupOf[i] !== groupOf[i - i % packedGroup]) return null;
    const isHeld = this.#source.scales(0, rows).every((scale) => Math.f16round(scale) === scale);
    let [least, most] = this.#source.bounds();
    if (isHeld && (least < -127 || most > 127)) [least, most] = this.#stepRange();
    this.#source.drop();
    if (!isHeld || least < -127 || most > 127) return null;
    const format = least >= -8 && most <= 7 ? "int4" : "int8";
    return { format, rows: (row, count) => this.#lay(format, row, count) };
  }

  /** What occurs, where more is possible than int8 holds: symmetric 8 bits could have -128, and hardly do. */
  #stepRange(): [least: number, most: number] {
    let least = 0, most = 0;
    for (let row = 0; row < this.rows; row += probeRows) {
      for (const step of this.#source.steps(row, Math.min(probeRows, this.rows - row))) {
        if (step < least) least = step;
        else if (step > most) most = step;
      }
    }
    return [least, most];
  }

  #lay(format: CodedFormat, row: number, count: number): Uint8Array {
    const { width } = this;
    const { groupOf, nGroups } = this.#source;
    const [steps, scales] = this.#read(row, count);
    const offset = format === "int4" ? 8 : 0;
    const codes = Uint8Array.from(steps, (step) => step + offset);
    const groups = width / packedGroup;
    const bits = new DataView(new ArrayBuffer(2));
    const scaleBits = Uint16Array.from({ length: count * groups }, (_, i) => {
      const group = groupOf[(i % groups) * packedGroup];
      bits.setFloat16(0, scales[Math.floor(i / groups) * nGroups + group], true);
      return bits.getUint16(0, true);
    });
    return layOutCodes(format, { codes, scales: scaleBits, mins: null }, count, width);
  }

  #read(row: number, count: number): [steps: Int16Array, scales: Float32Array] {
    const steps = this.#source.steps(row, count), scales = this.#source.scales(row, count);
    if (row + count === this.rows) this.#source.drop();
    return [steps, scales];
  }
}
