import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CheckpointError, UnsupportedError } from "../../src/errors.ts";
import {
  assertDecodes,
  bytesOf,
  i32,
  type Matrix,
  matrix,
  norm,
  scales,
  table,
  type Tensors,
  turned,
  withCheckpoint,
  words,
} from "./coded_matrices.ts";

for (const bits of [3, 4, 8]) {
  for (
    const { sym, order, v2 } of [
      { sym: true, order: false, v2: false },
      { sym: false, order: false, v2: true },
      { sym: false, order: true, v2: false },
    ]
  ) {
    const name = `${sym ? "symmetric" : "asymmetric"}, ${order ? "act-order" : "in order"}, ${
      v2 ? "v2" : "v1"
    }`;
    test(`a GPTQ matrix of ${bits} bits (${name}) is scale times code less zero`, () => {
      fc.assert(
        fc.property(matrix, ({ rows, groups, seed }: Matrix) => {
          const width = 32 * groups;
          const codes = table(rows, width, 2 ** bits, seed); // (outputs, inputs)
          const half = 2 ** (bits - 1);
          const zeros = table(groups, rows, 2 ** bits, seed + 7).map((row) =>
            row.map((zero) => sym ? half : zero)
          );
          const scaleAt = table(groups, rows, 4, seed + 9);
          const groupOf = Array.from(
            { length: width },
            (_, i) => order ? (i * 7 + seed) % groups : Math.floor(i / 32),
          );
          const tensors: Tensors = {
            "norm.weight": norm,
            "x.qweight": i32(turned(codes.map((row) => words(row, bits))).flat(), [width * bits / 32, rows]),
            "x.qzeros": i32(
              zeros.flatMap((row) => words(row.map((zero) => v2 ? zero : zero - 1), bits)),
              [groups, rows * bits / 32],
            ),
            "x.g_idx": i32(groupOf, [width]),
            "x.scales": {
              dtype: "F16",
              shape: [groups, rows],
              bytes: bytesOf(Uint16Array.from(scaleAt.flat(), (k) => scales[k][0])),
            },
          };
          const settings = {
            quant_method: "gptq",
            bits,
            group_size: 32,
            desc_act: order,
            sym,
            ...(v2 ? { checkpoint_format: "gptq_v2" } : {}),
          };
          const expected = codes.map((row, o) =>
            row.map((code, i) => (code - zeros[groupOf[i]][o]) * scales[scaleAt[groupOf[i]][o]][1])
          );
          const isOrdered = groupOf.every((group, i) => group === groupOf[i - i % 32]);
          const steps = codes.flatMap((row, o) => row.map((code, i) => code - zeros[groupOf[i]][o]));
          const isHeld = Math.min(...steps) >= -127 && Math.max(...steps) <= 127;
          const isShort = bits < 4 || (bits === 4 && sym);
          const format = isOrdered && isHeld ? (isShort ? "int4" : "int8") : null;
          withCheckpoint(tensors, settings, (checkpoint) => assertDecodes(checkpoint, expected, format));
        }),
        { numRuns: 6 },
      );
    });
  }
}

test("an AWQ matrix is scale times code less zero, its outputs in their order", () => {
  const order = [0, 2, 4, 6, 1, 3, 5, 7];
  const packed = (row: readonly number[]): number[] =>
    Array.from({ length: row.length / 8 }, (_, c) => words(order.map((column) => row[8 * c + column]), 4)[0]);
  fc.assert(
    fc.property(matrix, ({ rows, groups, seed }: Matrix) => {
      const width = 32 * groups;
      const codes = table(width, rows, 16, seed); // (inputs, outputs)
      const zeros = table(groups, rows, 16, seed + 7);
      const scaleAt = table(groups, rows, 4, seed + 9);
      const tensors: Tensors = {
        "norm.weight": norm,
        "x.qweight": i32(codes.flatMap(packed), [width, rows / 8]),
        "x.qzeros": i32(zeros.flatMap(packed), [groups, rows / 8]),
        "x.scales": {
          dtype: "F16",
          shape: [groups, rows],
          bytes: bytesOf(Uint16Array.from(scaleAt.flat(), (k) => scales[k][0])),
        },
      };
      const expected = turned(codes).map((row, o) =>
        row.map((code, i) => (code - zeros[i >> 5][o]) * scales[scaleAt[i >> 5][o]][1])
      );
      const settings = { quant_method: "awq", bits: 4, group_size: 32, zero_point: true, version: "gemm" };
      withCheckpoint(tensors, settings, (checkpoint) => assertDecodes(checkpoint, expected, "int8"));
    }),
    { numRuns: 10 },
  );
});

for (const bits of [4, 8]) {
  for (const asymmetric of [false, true]) {
    test(`a packed matrix of compressed-tensors, ${bits} bits${asymmetric ? " with zeros" : ""}, is what it stands for`, () => {
      fc.assert(
        fc.property(matrix, ({ rows, groups, seed }: Matrix) => {
          const width = 32 * groups;
          const codes = table(rows, width, 2 ** bits, seed);
          const zeros = table(groups, rows, 2 ** bits, seed + 7); // packed along the rows
          const zeroOf = (o: number, group: number) => asymmetric ? zeros[group][o] : 2 ** (bits - 1);
          const scaleAt = table(rows, groups, 4, seed + 9);
          const tensors: Tensors = {
            "norm.weight": norm,
            "x.weight_packed": i32(codes.flatMap((row) => words(row, bits)), [rows, width * bits / 32]),
            "x.weight_shape": {
              dtype: "I64",
              shape: [2],
              bytes: bytesOf(BigInt64Array.of(BigInt(rows), BigInt(width))),
            },
            "x.weight_scale": {
              dtype: "F16",
              shape: [rows, groups],
              bytes: bytesOf(Uint16Array.from(scaleAt.flat(), (k) => scales[k][0])),
            },
            ...(asymmetric
              ? {
                "x.weight_zero_point": i32(
                  turned(zeros.map((column) => words(column, bits))).flat(),
                  [rows * bits / 32, groups],
                ),
              }
              : {}),
          };
          const expected = codes.map((row, o) =>
            row.map((code, i) => (code - zeroOf(o, i >> 5)) * scales[scaleAt[o][i >> 5]][1])
          );
          const steps = codes.flatMap((row, o) => row.map((code, i) => code - zeroOf(o, i >> 5)));
          const isHeld = Math.min(...steps) >= -127 && Math.max(...steps) <= 127;
          const format = isHeld ? (bits === 4 && !asymmetric ? "int4" : "int8") : null;
          const settings = { quant_method: "compressed-tensors", format: "pack-quantized" };
          withCheckpoint(tensors, settings, (checkpoint) => assertDecodes(checkpoint, expected, format));
        }),
        { numRuns: 6 },
      );
    });
  }
}

test("a matrix of bytes or of e4m3 with a scale a row, or one for all, is what it stands for", () => {
  const rows = 32, width = 64;
  const codes = table(rows, width, 255, 3).map((row) => row.map((code) => code - 127));
  const scaleAt = table(rows, 1, 4, 5).flat();
  const scale = (count: number, shape: number[]) => ({
    dtype: "F32",
    shape,
    bytes: bytesOf(Float32Array.from({ length: count }, (_, o) => scales[scaleAt[o]][1])),
  });
  const weight = { dtype: "I8", shape: [rows, width], bytes: bytesOf(Int8Array.from(codes.flat())) };
  const settings = (format: string) => ({ quant_method: "compressed-tensors", format });
  withCheckpoint(
    { "norm.weight": norm, "x.weight": weight, "x.weight_scale": scale(rows, [rows, 1]) },
    settings("int-quantized"),
    (checkpoint) => {
      assertDecodes(
        checkpoint,
        codes.map((row, o) => row.map((code) => code * scales[scaleAt[o]][1])),
        "int8",
      );
    },
  );
  // 0x38 is 1, 0xb8 is -1, 0x40 is 2 in e4m3.
  const e4m3 = table(rows, width, 3, 11);
  const fp8 = {
    dtype: "F8_E4M3",
    shape: [rows, width],
    bytes: Uint8Array.from(e4m3.flat(), (k) => [0x38, 0xb8, 0x40][k]),
  };
  for (const [count, shape] of [[rows, [rows, 1]], [1, [1]]] as const) {
    withCheckpoint(
      { "norm.weight": norm, "x.weight": fp8, "x.weight_scale": scale(count, [...shape]) },
      settings("float-quantized"),
      (checkpoint) => {
        const factor = (o: number) => scales[scaleAt[count === 1 ? 0 : o]][1];
        assertDecodes(checkpoint, e4m3.map((row, o) => row.map((k) => [1, -1, 2][k] * factor(o))), null);
      },
    );
  }
});

test("a matrix of e4m3 with a scale for each block of 128x128 is what it stands for, edges included", () => {
  const rows = 160, width = 288;
  const e4m3 = table(rows, width, 3, 11);
  const fp8 = {
    dtype: "F8_E4M3",
    shape: [rows, width],
    bytes: Uint8Array.from(e4m3.flat(), (k) => [0x38, 0xb8, 0x40][k]),
  };
  const factors = Float32Array.from({ length: 6 }, (_, block) => 2 ** (block - 3));
  const tensors: Tensors = {
    "norm.weight": norm,
    "x.weight": fp8,
    "x.weight_scale": { dtype: "F32", shape: [2, 3], bytes: bytesOf(factors) },
  };
  const expected = e4m3.map((row, o) => row.map((k, i) => [1, -1, 2][k] * factors[3 * (o >> 7) + (i >> 7)]));
  const settings = { quant_method: "compressed-tensors", format: "float-quantized" };
  withCheckpoint(tensors, settings, (checkpoint) => assertDecodes(checkpoint, expected, null));
});

test("parts that are missing or of another shape, and variants that are not read, are refused by name", () => {
  const parts: Tensors = {
    "norm.weight": norm,
    "x.qweight": i32(new Int32Array(8 * 32), [8, 32]),
    "x.qzeros": i32(new Int32Array(2 * 4), [2, 4]),
    "x.g_idx": i32(new Int32Array(64), [64]),
    "x.scales": { dtype: "F16", shape: [2, 32], bytes: new Uint8Array(128) },
  };
  const gptq = { quant_method: "gptq", bits: 4, group_size: 32 };
  const refuses = (
    change: Partial<Tensors>,
    settings: unknown,
    kind: typeof CheckpointError | typeof UnsupportedError,
    problem: RegExp,
  ) => {
    const tensors = Object.fromEntries(
      Object.entries({ ...parts, ...change }).filter(([, value]) => value),
    ) as Tensors;
    assert.throws(() => withCheckpoint(tensors, settings, () => {}), (error: unknown) => {
      assert.ok(error instanceof kind, `${error}`);
      assert.match((error as Error).message, problem);
      return true;
    });
  };
  refuses({ "x.scales": undefined }, gptq, CheckpointError, /x\.scales is missing, x\.qweight needs it/);
  refuses({ "x.qzeros": undefined }, gptq, CheckpointError, /x\.qzeros is missing/);
  refuses({ "x.qzeros": i32([1], [1]) }, gptq, CheckpointError, /x\.qzeros is I32 \[1\], I32 or U32 \[2,4\]/);
  refuses(
    { "x.g_idx": i32(new Int32Array(64).fill(2), [64]) },
    gptq,
    CheckpointError,
    /names group 2, there are 2/,
  );
  refuses({ "x.g_idx": i32(new Int32Array(64).fill(-1), [64]) }, gptq, CheckpointError, /names group -1/);
  refuses({}, { ...gptq, bits: 5 }, UnsupportedError, /bits 5, supported: 2, 3, 4, 8/);
  refuses({}, { ...gptq, bits: 0 }, CheckpointError, /quantization_config\.bits is 0/);
  refuses({}, { ...gptq, group_size: 0 }, CheckpointError, /quantization_config\.group_size is 0/);
  refuses({}, { ...gptq, checkpoint_format: "marlin" }, UnsupportedError, /checkpoint_format "marlin"/);
  refuses(
    {},
    { ...gptq, quant_method: "awq", version: "gemv" },
    UnsupportedError,
    /version "gemv", supported: gemm/,
  );
  refuses(
    {},
    { ...gptq, quant_method: "awq" },
    CheckpointError,
    /x\.scales is F16 \[2,32\].*\[1,256\] is needed/,
  );
  refuses(
    {},
    { quant_method: "compressed-tensors", format: "marlin-24" },
    UnsupportedError,
    /format "marlin-24"/,
  );
  const packed = { "x.weight_packed": i32(new Int32Array(32 * 8), [32, 8]) };
  const compressed = { quant_method: "compressed-tensors", format: "pack-quantized" };
  refuses(packed, compressed, CheckpointError, /x\.weight_shape is missing/);
  const shape = (...sizes: bigint[]) => ({
    dtype: "I64",
    shape: [2],
    bytes: bytesOf(BigInt64Array.from(sizes)),
  });
  refuses(
    { ...packed, "x.weight_shape": shape(-1n, 64n) },
    compressed,
    CheckpointError,
    /is \[-1, 64\], two sizes/,
  );
  refuses({ ...packed, "x.weight_shape": shape(32n, 2n ** 62n) }, compressed, CheckpointError, /two sizes/);
  refuses(
    { ...packed, "x.weight_shape": shape(32n, 77n) },
    compressed,
    CheckpointError,
    /holds no 32 rows of 77/,
  );
});

test("a checkpoint that no such method quantised is left as it is", () => {
  withCheckpoint(
    { "norm.weight": norm },
    undefined,
    (checkpoint) => assert.equal(checkpoint.coded, undefined),
  );
  withCheckpoint({ "norm.weight": norm }, { quant_method: "fp8" }, (checkpoint) => {
    assert.ok((checkpoint.config as Record<string, unknown>).quantization_config);
  });
});
