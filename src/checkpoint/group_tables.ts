/**
 * What GPTQ and AWQ have beside the codes of a matrix: tables (groups, outputs) of scales and of zeros.
 * @module
 */
import type { StoredTensor } from "./checkpoint.ts";
import { decode, type FloatDtype } from "./decode.ts";
import type { GroupedSource } from "./grouped_matrix.ts";
import { type MatrixParts, rangeOf } from "./packed_words.ts";

/**
 * @param scales (groups, outputs), checked
 * @param mostCode the largest code
 * @param zeroOf the code that stands for 0, which the scales' shape bounds
 */
export function groupTables(
  parts: MatrixParts,
  scales: StoredTensor,
  mostCode: number,
  zeroOf: (group: number, output: number) => number,
): Pick<GroupedSource, "bounds" | "scales"> {
  const [nGroups, rows] = scales.shape;
  return {
    bounds() {
      const [least, most] = rangeOf(nGroups * rows, (k) => zeroOf(Math.floor(k / rows), k % rows));
      return [-most, mostCode - least];
    },
    scales(row, count) {
      const all = decode(scales.dtype as FloatDtype, parts.bytes(scales));
      return Float32Array.from(
        { length: count * nGroups },
        (_, k) => all[k % nGroups * rows + row + Math.floor(k / nGroups)],
      );
    },
  };
}
