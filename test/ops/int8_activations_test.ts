/**
 * Packed weights with activations rounded to int8: the product of just those, and bitwise the same on every
 * instruction set with fused multiply-add, because groups are summed in integers.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { packedFormats } from "../../src/tensor/packed_format.ts";
import { cpuBackends } from "../backends.ts";
import { assertMultipliesRounded } from "./rounded.ts";
import { assertClose, assertSameBits, type Case, reference, resultOf, type Values } from "./suite.ts";

const targets = [
  ...await cpuBackends({ threads: 1, exact: false }),
  ...await cpuBackends({ threads: 2, exact: false }),
];

/** Shapes as (rows, width, outputs). */
const shapes: readonly (readonly [number, number, number])[] = [
  [1, 1, 1],
  [1, 2048, 48],
  [3, 31, 17],
  [2, 33, 16],
  [5, 64, 15],
  [17, 100, 33],
  [
    70,
    257,
    20,
  ],
];

for (const format of packedFormats) {
  test(`linear with ${format} weights multiplies rounded activations by what the weights stand for`, async () => {
    for (const shape of shapes) await assertMultipliesRounded(targets, format, shape);
  });
}

const cases: Record<string, Case> = {};
for (const format of packedFormats) {
  cases[`linear with ${format} weights`] = (ops, random) =>
    shapes.map(([rows, width, outputs]) =>
      ops.linear(random(rows, width), random.weight(outputs, width, format))
    );
  cases[`linear with ${format} weights and activations of all sizes`] = (ops, random) => {
    const values = random.values(6 * 128).map((x, i) => x * 10 ** (i % 40 - 20));
    values.fill(0, 256, 384);
    return ops.linear(ops.upload(values, 128), random.weight(50, 128, format));
  };
  cases[`mlp with ${format} weights`] = (ops, random) =>
    ops.mlp(random(7, 96), random.experts(1, 96, 70, format));
}

for (const [words, act] of Object.entries(cases)) {
  let expected: Values[] | null = null;
  for (const target of targets.filter(({ name }) => !name.includes("portable"))) {
    test(`${words} on ${target.name} gives the bits of every other instruction set`, async () => {
      const found = await resultOf(target, act, words);
      expected ??= found;
      assertSameBits(found, expected, target.name);
    });
  }
  for (const target of targets.filter(({ name }) => name.includes("portable"))) {
    // It rounds each product before it is added, as a baseline x86-64 must; a half may then round otherwise.
    test(`${words} on ${target.name} differs by rounding only`, async () => {
      expected ??= await resultOf(targets.at(-1)!, act, words);
      assertClose(await resultOf(target, act, words), expected, words.startsWith("mlp") ? 0.01 : 1e-5);
    });
  }
}

for (const target of targets) {
  test(`mlp and experts with int8 weights and activations on ${target.name} are near the reference`, async () => {
    const act: Case = (ops, random) => {
      const x = random(9, 96);
      const routing = {
        nExperts: 6,
        nExpertsPerToken: 2,
        scoring: "softmax",
        nGroups: 1,
        nGroupsPerToken: 1,
        groupScore: "max",
        normalise: true,
        scale: 1,
      } as const;
      const routes = ops.routeExperts(x, random.weight(6, 96), null, routing);
      const routed = random.experts(6, 96, 64, "int8"), shared = random.experts(1, 96, 80, "int8");
      return [ops.mlp(x, shared), ops.experts(x, routes, routed, shared)];
    };
    const expected = await resultOf(reference, act, "mlp");
    for (const [part, values] of (await resultOf(target, act, "mlp")).entries()) {
      const wanted = expected[part];
      let error = 0, size = 0;
      for (let i = 0; i < wanted.length; i++) {
        error += (values[i] - wanted[i]) ** 2;
        size += wanted[i] ** 2;
      }
      // Rounding to 127 steps loses about half a percent a product; there are two in a row.
      assert.ok(Math.sqrt(error / size) < 0.015, `relative error ${Math.sqrt(error / size)}`);
      assert.ok(error > 0, "the activations are not rounded at all");
    }
  });

  test(`NaN and infinity in an activation reach every output of their row on ${target.name}`, async () => {
    const act: Case = (ops, random) => {
      const values = random.values(4 * 96);
      values[10] = NaN;
      values[96 + 40] = Infinity;
      values[2 * 96 + 95] = -Infinity;
      const x = ops.upload(values, 96);
      return packedFormats.flatMap((format) => [
        ops.linear(x, random.weight(40, 96, format)),
        ops.mlp(x, random.experts(1, 96, 64, format)),
      ]);
    };
    for (const values of await resultOf(target, act, "not finite")) {
      const width = values.length / 4;
      assert.ok(values.subarray(0, 3 * width).every((x) => !Number.isFinite(x)), "the first three rows");
      assert.ok(values.subarray(3 * width).every((x) => Number.isFinite(x)), "the sound row");
    }
  });
}
