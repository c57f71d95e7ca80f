/**
 * Matrices as llm-compressor stores them for vLLM (https://github.com/neuralmagic/compressed-tensors): whole
 * numbers packed in words or as bytes, or e4m3, with scales for groups, rows or all of a matrix.
 * @module
 */
import { CheckpointError } from "../errors.ts";
import { checkedProduct } from "../tensor/checked.ts";
import type { Checkpoint, StoredTensor } from "./checkpoint.ts";
import type { CodedMatrix } from "./coded.ts";
import { decode, type FloatDtype } from "./decode.ts";
import { GroupedMatrix } from "./grouped_matrix.ts";
import { MatrixParts, numberAt, rangeOf, wordsFor } from "./packed_words.ts";

const floats = ["F16", "BF16", "F32"];

/** The scales of a matrix, spread over its groups. */
interface Scales {
  readonly nGroups: number;
  readonly groupOf: Int32Array;
  /** @returns (count, nGroups) */
  read(row: number, count: number): Float32Array;
}

/**
 * "pack-quantized": codes of 4 or 8 bits in words along a row, counted from the least value.
 * @param packed the tensor NAME.weight_packed
 * @throws {CheckpointError} for parts that are missing or do not fit
 */
export function packedMatrix(checkpoint: Checkpoint, packed: StoredTensor, name: string): GroupedMatrix {
  const parts = new MatrixParts(checkpoint);
  const base = packed.name.replace(/\.weight_packed$/, "");
  const [rows, width] = readShape(parts, parts.needed(`${base}.weight_shape`, packed));
  const bits = [4, 8].find((bits) => packed.shape[1] === wordsFor(width, bits));
  if (bits === undefined) {
    throw new CheckpointError(
      packed.file,
      `tensor ${packed.name} [${packed.shape}] holds no ${rows} rows of ${width}`,
    );
  }
  parts.check(packed, ["I32", "U32"], [rows, wordsFor(width, bits)]);
  const scales = scalesOf(checkpoint, parts, base, packed, rows, width);
  const zeros = checkpoint.tensors.get(`${base}.weight_zero_point`);
  if (zeros !== undefined) parts.check(zeros, ["I32", "U32"], [wordsFor(rows, bits), scales.nGroups]);
  const { nGroups, groupOf } = scales;
  const rowWords = wordsFor(width, bits);
  // Codes and zeros are counted from the same least value, and that is the zero where none is stored.
  const zeroOf = (output: number, group: number): number =>
    zeros === undefined ? 2 ** (bits - 1) : numberAt(parts.words(zeros), bits, output, group, nGroups);
  return new GroupedMatrix({
    name,
    file: packed.file,
    coding: `int${bits} of compressed-tensors`,
    rows,
    width,
    sizeBytes: packed.sizeBytes + (zeros?.sizeBytes ?? 0),
    nGroups,
    groupOf,
    bounds() {
      const [least, most] = zeros === undefined
        ? [2 ** (bits - 1), 2 ** (bits - 1)]
        : rangeOf(rows * nGroups, (k) => zeroOf(Math.floor(k / nGroups), k % nGroups));
      return [-most, 2 ** bits - 1 - least];
    },
    scales: scales.read,
    steps(row, count) {
      const words = parts.words(packed);
      const steps = new Int16Array(count * width);
      for (let r = 0; r < count; r++) {
        for (let i = 0; i < width; i++) {
          steps[r * width + i] = numberAt(words, bits, i, (row + r) * rowWords, 1) -
            zeroOf(row + r, groupOf[i]);
        }
      }
      return steps;
    },
    drop: () => parts.drop(),
  });
}

/**
 * "int-quantized": a byte a value.
 * @param weight the tensor NAME.weight in I8
 */
export function byteMatrix(checkpoint: Checkpoint, weight: StoredTensor): GroupedMatrix {
  const parts = new MatrixParts(checkpoint);
  const base = weight.name.replace(/\.weight$/, "");
  const [rows, width] = parts.check(weight, ["I8"], weight.shape.slice(0, 2)).shape;
  const scales = scalesOf(checkpoint, parts, base, weight, rows, width);
  const { nGroups, groupOf } = scales;
  const zeros = checkpoint.tensors.get(`${base}.weight_zero_point`);
  if (zeros !== undefined) parts.check(zeros, ["I8"], [rows, nGroups]);
  const codes = (): Int8Array => new Int8Array(parts.bytes(weight).buffer);
  const offsets = (): Int8Array => new Int8Array(parts.bytes(zeros!).buffer);
  return new GroupedMatrix({
    name: weight.name,
    file: weight.file,
    coding: "int8 of compressed-tensors",
    rows,
    width,
    sizeBytes: weight.sizeBytes,
    nGroups,
    groupOf,
    bounds() {
      const [least, most] = rangeOf(weight.sizeBytes, (k) => codes()[k]);
      const [leastZero, mostZero] = zeros === undefined
        ? [0, 0]
        : rangeOf(zeros.sizeBytes, (k) => offsets()[k]);
      return [least - mostZero, most - leastZero];
    },
    scales: scales.read,
    steps(row, count) {
      const steps = Int16Array.from(codes().subarray(row * width, (row + count) * width));
      if (zeros !== undefined) {
        for (let k = 0; k < steps.length; k++) {
          steps[k] -= offsets()[(row + Math.floor(k / width)) * nGroups + groupOf[k % width]];
        }
      }
      return steps;
    },
    drop: () => parts.drop(),
  });
}

/**
 * "float-quantized": e4m3.
 * @param weight the tensor NAME.weight in F8_E4M3
 */
export function floatMatrix(checkpoint: Checkpoint, weight: StoredTensor): CodedMatrix {
  const parts = new MatrixParts(checkpoint);
  const base = weight.name.replace(/\.weight$/, "");
  const [rows, width] = parts.check(weight, ["F8_E4M3"], weight.shape.slice(0, 2)).shape;
  const scales = scalesOf(checkpoint, parts, base, weight, rows, width);
  const { nGroups, groupOf } = scales;
  return {
    name: weight.name,
    file: weight.file,
    coding: "fp8 of compressed-tensors",
    rows,
    width,
    sizeBytes: weight.sizeBytes,
    decode(row, count) {
      const values = decode("F8_E4M3", parts.bytes(weight).subarray(row * width, (row + count) * width));
      const own = scales.read(row, count);
      for (let k = 0; k < values.length; k++) {
        values[k] *= own[Math.floor(k / width) * nGroups + groupOf[k % width]];
      }
      if (row + count === rows) parts.drop();
      return values;
    },
    exact: () => null,
  };
}

/** Side of the blocks of the strategy "block", which is made for DeepSeek's own kernels. */
const blockSide = 128;

/**
 * weight_scale: one for the matrix, one a row, one for each group of a row, or one for each block of 128x128;
 * weight_g_idx orders groups.
 */
function scalesOf(
  checkpoint: Checkpoint,
  parts: MatrixParts,
  base: string,
  beside: StoredTensor,
  rows: number,
  width: number,
): Scales {
  const scale = parts.needed(`${base}.weight_scale`, beside);
  const [scaleRows, nGroups] = scale.shape.length === 2 ? scale.shape : [scale.shape[0] ?? 1, 1];
  const isWhole = scaleRows === 1 && nGroups === 1;
  const isBlocks = scaleRows === Math.ceil(rows / blockSide) && nGroups === Math.ceil(width / blockSide) &&
    scaleRows !== rows;
  if (
    !floats.includes(scale.dtype) || !(isWhole || isBlocks || scaleRows === rows) ||
    !(nGroups >= 1 && nGroups <= width)
  ) {
    throw new CheckpointError(
      scale.file,
      `tensor ${scale.name} is ${scale.dtype} [${scale.shape}], floats for the matrix, its ${rows} rows, their groups or blocks are needed`,
    );
  }
  const order = checkpoint.tensors.get(`${base}.weight_g_idx`);
  const groupSize = isBlocks ? blockSide : Math.ceil(width / nGroups);
  let groupOf = Int32Array.from({ length: width }, (_, i) => Math.floor(i / groupSize));
  if (order !== undefined) {
    parts.check(order, ["I32"], [width]);
    groupOf = new Int32Array(parts.bytes(order).buffer);
    const wrong = groupOf.find((group) => group < 0 || group >= nGroups);
    // -1 everywhere stands for no order.
    if (groupOf.every((group) => group === -1)) groupOf = groupOf.map((_, i) => Math.floor(i / groupSize));
    else if (wrong !== undefined) {
      throw new CheckpointError(
        order.file,
        `tensor ${order.name} names group ${wrong}, there are ${nGroups}`,
      );
    }
  }
  return {
    nGroups,
    groupOf,
    read(row, count) {
      const all = decode(scale.dtype as FloatDtype, parts.bytes(scale));
      if (isWhole) return new Float32Array(count).fill(all[0]);
      if (!isBlocks) return all.subarray(row * nGroups, (row + count) * nGroups);
      return Float32Array.from(
        { length: count * nGroups },
        (_, k) => all[Math.floor((row + Math.floor(k / nGroups)) / blockSide) * nGroups + k % nGroups],
      );
    },
  };
}

/** @throws {CheckpointError} when it does not hold two sizes */
function readShape(parts: MatrixParts, tensor: StoredTensor): [rows: number, width: number] {
  parts.check(tensor, ["I64", "I32"], [2]);
  const bytes = parts.bytes(tensor);
  const view = new DataView(bytes.buffer);
  const [rows, width] = [0, 1].map((i) =>
    tensor.dtype === "I64" ? Number(view.getBigInt64(8 * i, true)) : view.getInt32(4 * i, true)
  );
  const isSize = (size: number) => Number.isSafeInteger(size) && size >= 1 && size < 2 ** 31;
  if (!isSize(rows) || !isSize(width)) {
    throw new CheckpointError(
      tensor.file,
      `tensor ${tensor.name} is [${rows}, ${width}], two sizes are needed`,
    );
  }
  checkedProduct([rows, width, 4], tensor.name);
  return [rows, width];
}
