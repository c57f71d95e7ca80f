/**
 * What becomes of a matrix in a format of other programs when it is loaded: blocks that a device reads stay
 * as they lie; others become hadal's layout where one holds every value, else f32 or int8.
 * @module
 */
import type { StoredMatrix } from "../backend/backend.ts";
import type { CodedMatrix, RowFormat } from "../checkpoint/coded.ts";
import type { Dtype, WeightFormat } from "../tensor/dtype.ts";
import { isPackedFormat, weightBytes } from "../tensor/packed_format.ts";

/** Values decoded at once, about. */
const pieceValues = 1 << 20;

/** How a coded matrix is handed to a device. */
export interface DecodedMatrix {
  readonly stored: StoredMatrix;
  /** What the device makes of it. */
  readonly format: "auto" | WeightFormat;
}

/**
 * @param format the one asked for
 * @param widens "auto" makes f32, not int8, of what no shorter format holds
 */
export function decoded(coded: CodedMatrix, format: "auto" | WeightFormat, widens: boolean): DecodedMatrix {
  if (format === "auto" && coded.blocks !== undefined) return { stored: asItLies(coded), format };
  const exact = coded.exact();
  if (exact !== null && (format === "auto" || format === exact.format)) {
    return { stored: storedAs(coded, exact.format, exact.rows), format: "auto" };
  }
  if (coded.blocks !== undefined && format !== "auto" && format !== "f32" && format !== "f16") {
    return { stored: asItLies(coded), format };
  }
  const stored = storedAs(coded, "f32", (row, count) => bytesOf(coded.decode(row, count)));
  return { stored, format: format === "auto" ? (widens ? "auto" : "int8") : format };
}

/** For a device that reads the blocks itself. */
function asItLies({ name, file, rows, width, sizeBytes, coding, blocks }: CodedMatrix): StoredMatrix {
  const { format, offset } = blocks!;
  return { name, file, rows, width, sizeBytes, offset, dtype: "U8", blocks: format, madeFrom: coding };
}

const dtypeOf: Partial<Record<RowFormat, Dtype>> = { f32: "F32", bf16: "BF16", f16: "F16" };

function storedAs(
  { name, file, rows, width, coding }: CodedMatrix,
  format: RowFormat,
  bytesOfRows: (row: number, count: number) => Uint8Array,
): StoredMatrix {
  const atOnce = Math.max(16, Math.floor(pieceValues / width / 16) * 16);
  return {
    name,
    file,
    offset: 0,
    sizeBytes: weightBytes(format, rows, width),
    dtype: dtypeOf[format] ?? "U8",
    rows,
    width,
    madeFrom: coding,
    ...(isPackedFormat(format) ? { packed: format } : {}),
    *pieces(row: number, count: number) {
      const end = row + count;
      for (let first = row; first < end; first += atOnce) {
        yield bytesOfRows(first, Math.min(atOnce, end - first));
      }
    },
  };
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
