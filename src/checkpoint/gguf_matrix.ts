/**
 * A matrix of a GGUF file in blocks: a whole tensor, or one expert's part of a tensor that holds many.
 * @module
 */
import { UnsupportedError } from "../errors.ts";
import { layOutCodes } from "../tensor/t16_codes.ts";
import type { ByteSource } from "./file.ts";
import type { CodedMatrix, ExactRows } from "./coded.ts";
import { codedFormatOf, codesOf, isHeld } from "./gguf_codes.ts";
import { blockFormatOf, decodableTypes, decodeGguf, isDecodable } from "./gguf_decode.ts";
import { blockSizes, type GgmlType } from "./gguf_types.ts";

/** Where the rows of a matrix lie, one after the other. */
export interface MatrixPlace {
  /** As the network calls it. */
  readonly name: string;
  readonly type: GgmlType;
  readonly rows: number;
  readonly width: number;
  /** First byte in the file. */
  readonly offset: number;
}

/** Read at once to find out whether an own format holds a matrix. */
const probeBytes = 1 << 22;

/** @returns bytes of a row of that many values */
function rowBytesOf(type: GgmlType, width: number): number {
  return width / blockSizes[type].values * blockSizes[type].bytes;
}

/** A matrix that lies in a file; its place has been checked. */
export class GgufMatrix implements CodedMatrix {
  readonly name: string;
  readonly file: string;
  readonly coding: GgmlType;
  readonly rows: number;
  readonly width: number;
  readonly sizeBytes: number;
  readonly blocks?: CodedMatrix["blocks"];
  readonly #source: ByteSource;
  readonly #offset: number;
  readonly #rowBytes: number;
  #exact: ExactRows | null | undefined;

  /** @throws {UnsupportedError} for a type that cannot be decoded */
  constructor(source: ByteSource, { name, type, rows, width, offset }: MatrixPlace) {
    if (!isDecodable(type)) {
      throw new UnsupportedError(
        `Cannot read ${source.path}: ${name} is in ${type}, supported are ${decodableTypes.join(", ")}`,
      );
    }
    this.name = name;
    this.file = source.path;
    this.coding = type;
    this.rows = rows;
    this.width = width;
    this.#source = source;
    this.#offset = offset;
    this.#rowBytes = rowBytesOf(type, width);
    this.sizeBytes = rows * this.#rowBytes;
    const format = blockFormatOf(type);
    if (format !== null) this.blocks = { format, offset };
  }

  decode(row: number, count: number): Float32Array<ArrayBuffer> {
    return decodeGguf(this.coding, this.#read(row, count));
  }

  exact(): ExactRows | null {
    if (this.#exact === undefined) this.#exact = this.#findExact();
    return this.#exact;
  }

  #findExact(): ExactRows | null {
    const { coding, width } = this;
    if (coding === "F32" || coding === "F16" || coding === "BF16") {
      const format = coding === "F32" ? "f32" : coding === "F16" ? "f16" : "bf16";
      return { format, rows: (row, count) => this.#read(row, count) };
    }
    const format = codedFormatOf(coding);
    if (format === null) return null;
    const atOnce = Math.max(1, Math.floor(probeBytes / this.#rowBytes));
    for (let row = 0; row < this.rows; row += atOnce) {
      if (!isHeld(coding, this.#read(row, Math.min(atOnce, this.rows - row)))) return null;
    }
    return {
      format,
      rows: (row, count) => layOutCodes(format, codesOf(coding, this.#read(row, count)), count, width),
    };
  }

  #read(row: number, count: number): Uint8Array<ArrayBuffer> {
    return this.#source.read(this.#offset + row * this.#rowBytes, count * this.#rowBytes);
  }
}
