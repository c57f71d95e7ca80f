/**
 * Matrices as AWQ tools store them in their "gemm" layout (arXiv:2306.00978): qweight (inputs, outputs / 8),
 * qzeros (groups, outputs / 8), scales (groups, outputs). W = scale * (code - zero).
 * @module
 */
import { CheckpointError } from "../errors.ts";
import type { Checkpoint, StoredTensor } from "./checkpoint.ts";
import { groupTables } from "./group_tables.ts";
import { GroupedMatrix } from "./grouped_matrix.ts";
import { MatrixParts } from "./packed_words.ts";

/** Nibble j of a word holds output [0, 2, 4, 6, 1, 3, 5, 7][j] of its eight; here the other way round. */
const nibbleOf = [0, 4, 1, 5, 2, 6, 3, 7];

/**
 * @param qweight the tensor NAME.qweight
 * @param name what the network calls the matrix
 * @param groupSize inputs of a group, or -1 for all
 * @throws {CheckpointError} for parts that are missing or do not fit
 */
export function awqMatrix(
  checkpoint: Checkpoint,
  qweight: StoredTensor,
  name: string,
  groupSize: number,
): GroupedMatrix {
  const parts = new MatrixParts(checkpoint);
  const base = qweight.name.replace(/\.qweight$/, "");
  const [width, nWords] = qweight.shape;
  const rows = nWords * 8;
  parts.check(qweight, ["I32", "U32"], [width, nWords]);
  if (!(width >= 1 && rows >= 1)) {
    throw new CheckpointError(qweight.file, `tensor ${qweight.name} is empty`);
  }
  const size = groupSize === -1 ? width : groupSize;
  const nGroups = Math.ceil(width / size);
  const scales = parts.check(parts.needed(`${base}.scales`, qweight), ["F16", "BF16", "F32"], [
    nGroups,
    rows,
  ]);
  const zeros = parts.check(parts.needed(`${base}.qzeros`, qweight), ["I32", "U32"], [nGroups, nWords]);
  const zeroOf = (group: number, output: number): number =>
    (parts.words(zeros)[group * nWords + (output >> 3)] >>> (4 * nibbleOf[output & 7])) & 15;
  return new GroupedMatrix({
    name,
    file: qweight.file,
    coding: "AWQ 4 bits",
    rows,
    width,
    sizeBytes: qweight.sizeBytes + zeros.sizeBytes + scales.sizeBytes,
    nGroups,
    groupOf: Int32Array.from({ length: width }, (_, i) => Math.floor(i / size)),
    ...groupTables(parts, scales, 15, zeroOf),
    steps(row, count) {
      const words = parts.words(qweight);
      const steps = new Int16Array(count * width);
      for (let r = 0; r < count; r++) {
        const word = (row + r) >> 3, shift = 4 * nibbleOf[(row + r) & 7];
        for (let group = 0; group < nGroups; group++) {
          const zero = zeroOf(group, row + r);
          for (let i = group * size; i < Math.min(width, (group + 1) * size); i++) {
            steps[r * width + i] = ((words[i * nWords + word] >>> shift) & 15) - zero;
          }
        }
      }
      return steps;
    },
    drop: () => parts.drop(),
  });
}
