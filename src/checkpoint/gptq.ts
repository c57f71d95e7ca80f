/**
 * Matrices as GPTQ tools store them (arXiv:2210.17323): qweight (inputs packed in words, outputs), qzeros
 * (groups, outputs packed), scales (groups, outputs), g_idx (inputs). W = scale * (code - zero).
 * @module
 */
import { CheckpointError } from "../errors.ts";
import type { Checkpoint, StoredTensor } from "./checkpoint.ts";
import { groupTables } from "./group_tables.ts";
import { GroupedMatrix } from "./grouped_matrix.ts";
import { MatrixParts, numberAt, wordsFor } from "./packed_words.ts";

/** How the codes are packed. */
export interface GptqOptions {
  readonly bits: number;
  /** Inputs of a group, or -1 for all. */
  readonly groupSize: number;
  /** The older layout, "gptq" and not "gptq_v2", stores zero - 1. */
  readonly storesZeroLessOne: boolean;
}

/**
 * @param qweight the tensor NAME.qweight
 * @param name what the network calls the matrix
 * @throws {CheckpointError} for parts that are missing or do not fit
 */
export function gptqMatrix(
  checkpoint: Checkpoint,
  qweight: StoredTensor,
  name: string,
  { bits, groupSize, storesZeroLessOne }: GptqOptions,
): GroupedMatrix {
  const parts = new MatrixParts(checkpoint);
  const base = qweight.name.replace(/\.qweight$/, "");
  const [nWords, rows] = qweight.shape;
  const width = nWords * 32 / bits;
  parts.check(qweight, ["I32", "U32"], [wordsFor(width, bits), rows]);
  if (!Number.isInteger(width) || rows < 1 || width < 1) {
    throw new CheckpointError(qweight.file, `tensor ${qweight.name} has no whole number of inputs`);
  }
  const size = groupSize === -1 ? width : groupSize;
  const nGroups = Math.ceil(width / size);
  const scales = parts.check(parts.needed(`${base}.scales`, qweight), ["F16", "BF16", "F32"], [
    nGroups,
    rows,
  ]);
  const zeros = parts.check(
    parts.needed(`${base}.qzeros`, qweight),
    ["I32", "U32"],
    [nGroups, wordsFor(rows, bits)],
  );
  const order = checkpoint.tensors.get(`${base}.g_idx`);
  const groupOf = order === undefined
    ? Int32Array.from({ length: width }, (_, i) => Math.floor(i / size))
    : readOrder(parts, parts.check(order, ["I32"], [width]), nGroups);
  const mostCode = 2 ** bits - 1,
    zeroOffset = storesZeroLessOne ? 1 : 0,
    zeroWordsOfGroup = wordsFor(rows, bits);
  const zeroOf = (group: number, output: number): number =>
    // A zero of 0 is stored as the largest number: 0 - 1 in that many bits.
    (zeroOffset + numberAt(parts.words(zeros), bits, output, group * zeroWordsOfGroup, 1)) & mostCode;
  return new GroupedMatrix({
    name,
    file: qweight.file,
    coding: `GPTQ ${bits} bits`,
    rows,
    width,
    sizeBytes: qweight.sizeBytes + zeros.sizeBytes + scales.sizeBytes + (order?.sizeBytes ?? 0),
    nGroups,
    groupOf,
    ...groupTables(parts, scales, mostCode, zeroOf),
    steps(row, count) {
      const words = parts.words(qweight);
      const steps = new Int16Array(count * width);
      const ownZeros = new Int16Array(nGroups);
      for (let r = 0; r < count; r++) {
        for (let group = 0; group < nGroups; group++) ownZeros[group] = zeroOf(group, row + r);
        for (let i = 0; i < width; i++) {
          steps[r * width + i] = numberAt(words, bits, i, row + r, rows) - ownZeros[groupOf[i]];
        }
      }
      return steps;
    },
    drop: () => parts.drop(),
  });
}

/** @throws {CheckpointError} for an input of no group */
function readOrder(parts: MatrixParts, order: StoredTensor, nGroups: number): Int32Array {
  const groupOf = new Int32Array(parts.bytes(order).buffer);
  parts.drop();
  const wrong = groupOf.find((group) => group < 0 || group >= nGroups);
  if (wrong === undefined) return groupOf;
  throw new CheckpointError(order.file, `tensor ${order.name} names group ${wrong}, there are ${nGroups}`);
}
