/**
 * Blocks of GGUF files, computed as they lie: what the reference makes of them decoded, and the same bits on
 * every instruction set, in any company.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { blockFormats, blocksOf } from "../../src/tensor/block_format.ts";
import { cpuBackends } from "../backends.ts";
import { assertSameInCompany, type RowCase } from "./company.ts";
import { assertMultipliesRounded } from "./rounded.ts";
import { attend, attentionShape } from "./sequences.ts";
import { assertClose, assertSameBits, type Case, opTest, reference, resultOf, type Values } from "./suite.ts";

for (const format of blockFormats) {
  const { values } = blocksOf[format];
  opTest(`linear with ${format} blocks`, {
    "rows from 1 to 40, where kernels change over": (ops, random) => {
      const w = random.weight(37, 2 * values, format);
      return Array.from({ length: 40 }, (_, i) => ops.linear(random(i + 1, 2 * values), w));
    },
    "one row of 7168": (ops, random) => ops.linear(random(1, 7168), random.weight(20, 7168, format)),
    "every number of outputs to 40": (ops, random) =>
      Array.from(
        { length: 40 },
        (_, i) => ops.linear(random(2, values), random.weight(i + 1, values, format)),
      ),
    "every width to 9 blocks": (ops, random) =>
      Array.from(
        { length: 9 },
        (_, i) => ops.linear(random(3, (i + 1) * values), random.weight(5, (i + 1) * values, format)),
      ),
  });
  opTest(`other ops with ${format} blocks`, {
    "rows of an embedding": (ops, random) =>
      ops.embed(random.weight(50, 512, format), Int32Array.of(0, 49, 7, 7, 1)),
    "a layer of experts, up and gate in other formats": (ops, random) => {
      const x = random(9, 256);
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
      const routes = ops.routeExperts(x, random.weight(6, 256), null, routing);
      const mixed = ops.bindExperts([{
        gate: random.weight(256, 256, format),
        up: random.weight(256, 256, "q8_0"),
        down: random.weight(256, 256, "int4"),
      }]);
      return ops.experts(x, routes, random.experts(6, 256, 256, format), mixed);
    },
    "keys and values of attention": (ops, random) => {
      const shape = attentionShape(3, 12, 6, 10, 256);
      const sequences = [{ past: 70, count: 5, isPrompt: true }, { past: 66, count: 1, isPrompt: false }];
      return attend(ops, random, shape, sequences, { format });
    },
  });
  opTest(`weights packed from ${format} blocks`, {
    "all formats": (ops, random) =>
      (["bf16", "fp8", "int8", "int4"] as const).map((to) =>
        ops.linear(random(3, 512), ops.loadWeight(random.storedBlocks(145, 512, format), to))
      ),
  });
}

const single = await cpuBackends({ threads: 1, exact: false });
const double = await cpuBackends({ threads: 2, exact: false });

for (const format of blockFormats) {
  test(`linear with ${format} blocks multiplies rounded activations by what the blocks stand for`, async () => {
    for (const shape of [[1, 2048, 19], [2, 256, 8], [3, 512, 33], [11, 1280, 16]] as const) {
      await assertMultipliesRounded([...single, ...double], format, shape);
    }
  });
}

const cases: Record<string, RowCase> = {};
for (const format of blockFormats) {
  cases[`linear with ${format} blocks`] = (ops, random) => {
    const w = random.weight(70, 1280, format);
    return (x) => ops.linear(x, w);
  };
  cases[`a network of ${format} blocks`] = (ops, random) => {
    const w = random.experts(1, 1280, 256, format);
    return (x) => ops.mlp(x, w);
  };
}

for (const [name, make] of Object.entries(cases)) {
  let everywhere: Values | null = null;
  for (const [i, target] of single.entries()) {
    test(`${name} and int8 activations on ${target.name} gives a row the same bits in any company`, async () => {
      const sizes = [1, 2, 3, 4, 5, 8, 17, 33];
      const expected = await assertSameInCompany([target, double[i]], name, make, 33, 1280, sizes);
      if (target.name.includes("portable")) {
        // It rounds each product before it is added, as a baseline x86-64 must; a half may then round otherwise.
        if (everywhere) assertClose([expected], [everywhere], 0.02);
        return;
      }
      everywhere ??= expected;
      assertSameBits([expected], [everywhere], target.name);
    });
  }
}

for (const target of single) {
  test(`NaN and infinity in an activation reach every output of their row of blocks on ${target.name}`, async () => {
    const act: Case = (ops, random) => {
      const values = random.values(3 * 256);
      values[10] = NaN;
      values[256 + 40] = Infinity;
      const x = ops.upload(values, 256);
      return blockFormats.map((format) => ops.linear(x, random.weight(40, 256, format)));
    };
    for (const values of await resultOf(target, act, "not finite")) {
      assert.ok(values.subarray(0, 80).every((x) => !Number.isFinite(x)), "the first two rows");
      assert.ok(values.subarray(80).every((x) => Number.isFinite(x)), "the sound row");
    }
  });
}

test("rows that are no whole blocks are refused", async () => {
  for (const target of [reference, ...single]) {
    const act: Case = (ops, random) => {
      const stored = random.storedBlocks(4, 256, "q8_0");
      assert.throws(
        () => ops.loadWeight({ ...stored, width: 255 }, "auto"),
        /rows of 255 found, q8_0 needs a multiple of 32/,
      );
      assert.throws(() => ops.loadWeight({ ...stored, rows: 5 }, "auto"), /1088 bytes found, 1360 needed/);
      return [];
    };
    await resultOf(target, act, "blocks");
  }
});
