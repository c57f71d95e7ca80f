import type { CacheDtype, WeightFormat } from "../../src/tensor/dtype.ts";
/**
 * Attention over the latent cache. In f32 every value is near the reference. Integer arithmetic over an
 * int8 cache (`exact` false) rounds queries and softmax weights as well: there the mean error is small, and
 * the bits are the same on every instruction set and any number of threads.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { attend, type AttendOptions, attentionShape, type Sequence } from "./sequences.ts";
import { assertSameBits, type Case, everyCpu, opTest, reference, resultOf, type Values } from "./suite.ts";

const small = attentionShape(3, 16, 8, 12, 32);

function attendCase(shape: typeof small, sequences: readonly Sequence[], options: AttendOptions = {}): Case {
  return (ops, random) => attend(ops, random, shape, sequences, options);
}

const prompt = (past: number, count: number): Sequence => ({ past, count, isPrompt: true });
const generated = (past: number, count = 1): Sequence => ({ past, count, isPrompt: false });

// Narrow caches round: where the reference's f64 sum lies within an ulp of a tie they may part by a step.
const tolerances: Record<CacheDtype, number> = { f32: 2e-5, bf16: 3e-3, f16: 5e-4, int8: 5e-3 };

for (const dtype of ["f32", "bf16", "f16", "int8"] as const) {
  opTest(`latent_attention over a cache in ${dtype}`, {
    "the first token of a prompt": attendCase(small, [prompt(0, 1)], { dtype }),
    "the first token, generated": attendCase(small, [generated(0)], { dtype }),
    "a prompt of 130": attendCase(small, [prompt(0, 130)], { dtype }),
    "a prompt's second chunk": attendCase(small, [prompt(70, 41)], { dtype }),
    "a generated token after 63, 64 and 65": attendCase(
      small,
      [63, 64, 65].map((past) => generated(past)),
      { dtype },
    ),
    "a generated token after 700": attendCase(small, [generated(700)], { dtype }),
    "three generated tokens at once": attendCase(small, [generated(100, 3)], { dtype }),
    "prompts and generated tokens mixed": attendCase(
      small,
      [generated(5), prompt(0, 17), generated(129), prompt(64, 64), prompt(3, 1), generated(0)],
      { dtype },
    ),
    "keys in halves": attendCase(small, [prompt(0, 20), generated(9)], { dtype, interleaved: false }),
  }, tolerances[dtype]);
}

opTest("latent_attention", {
  "DeepSeek's heads": attendCase(attentionShape(2, 128, 64, 128, 512), [prompt(0, 5), generated(9)]),
  "sixteen heads": attendCase(attentionShape(16, 12, 4, 8, 48), [prompt(0, 33), generated(70)]),
  "seventeen heads": attendCase(attentionShape(17, 8, 4, 8, 20), [prompt(2, 9), generated(66)]),
  "one head, all widths odd": attendCase(attentionShape(1, 7, 2, 5, 17), [prompt(1, 30), generated(40)]),
  "many widths": (ops, random) =>
    Array.from({ length: 16 }, () => {
      const shape = attentionShape(
        random.int(1, 20),
        random.int(1, 40),
        2 * random.int(1, 20),
        random.int(1, 40),
        random.int(1, 80),
      );
      const { past, count } = { past: random.int(0, 80), count: random.int(1, 12) };
      return attend(ops, random, shape, [prompt(past, count), generated(past)]);
    }),
  "a long prompt": attendCase(attentionShape(2, 8, 4, 8, 16), [prompt(400, 300)]),
}, 2e-5);

opTest("latent_attention with sharp queries", {
  "of a prompt and generated": attendCase(small, [prompt(0, 90), generated(300)], { sharpness: 40 }),
}, 2e-4);

const formats = [
  "bf16",
  "f16",
  "fp8",
  "int8",
  "int4",
  "int4a",
  "int3",
  "nf4",
] as const satisfies WeightFormat[];
for (const format of formats) {
  opTest(`latent_attention with ${format} keys and values`, {
    "of a prompt and generated": attendCase(small, [prompt(0, 40), generated(70)], { format }),
    "with odd widths": attendCase(attentionShape(5, 9, 6, 11, 37), [prompt(3, 20), generated(64)], {
      format,
    }),
    "rows in eights": attendCase(attentionShape(3, 24, 8, 16, 90), [prompt(0, 9), generated(20)], { format }),
    "rows in sixteens": attendCase(
      attentionShape(3, 32, 8, 48, 128),
      [prompt(0, 9), generated(20), generated(3, 9)],
      { format },
    ),
    "wider than a block of 128": attendCase(
      attentionShape(3, 50, 4, 40, 150),
      [prompt(0, 9), generated(20)],
      {
        format,
      },
    ),
  }, 2e-5);
}

const inIntegers = await everyCpu({ exact: false });

/** With the largest relative error in the mean square; rounding explains about a percent of a product. */
const integerCases: Record<string, { act: Case; error: number }> = {
  "a generated token after 0, 1, 15 and 16": {
    act: attendCase(small, [0, 1, 15, 16].map((past) => generated(past)), { dtype: "int8" }),
    error: 0.03,
  },
  "generated tokens around a block's end": {
    act: attendCase(small, [63, 64, 65, 127].map((past) => generated(past, 2)), { dtype: "int8" }),
    error: 0.03,
  },
  "a long past": { act: attendCase(small, [generated(1500)], { dtype: "int8" }), error: 0.03 },
  "DeepSeek's heads": {
    act: attendCase(attentionShape(16, 128, 64, 128, 512), [generated(300)], { dtype: "int8" }),
    error: 0.04,
  },
  "seventeen heads, odd widths": {
    act: attendCase(attentionShape(17, 7, 2, 5, 37), [generated(70)], { dtype: "int8" }),
    error: 0.03,
  },
  "sharp queries": {
    act: attendCase(small, [generated(300)], { dtype: "int8", sharpness: 20 }),
    error: 0.06,
  },
};

for (const [words, { act, error: allowed }] of Object.entries(integerCases)) {
  let expected: Values[] | null = null, bits: Values[] | null = null;
  for (const target of inIntegers) {
    test(`latent_attention in integers on ${target.name} is near the reference: ${words}`, async () => {
      expected ??= await resultOf(reference, act, words);
      const found = await resultOf(target, act, words);
      const error = relativeError(found[0], expected[0]);
      assert.ok(error < allowed, `relative error ${error}, ${allowed} is allowed`);
      assert.ok(words.includes("after 0") || error > 1e-5, "nothing is rounded at all");
      if (target.name.includes("portable")) return; // rounds each product before it is added: other bits
      bits ??= found;
      assertSameBits(found, bits, target.name);
    });
  }
}

function relativeError(found: Values, expected: Values): number {
  let error = 0, size = 0;
  for (const [i, x] of expected.entries()) {
    error += (found[i] - x) ** 2;
    size += x ** 2;
  }
  return Math.sqrt(error / size);
}

/**
 * Keys, latents and queries as large as int8 gets, all of one sign or of alternating signs: where sums of
 * products in 16 bits come nearest to their end. Scores are equal, so the mean of equal latents comes back.
 */
function largest(signs: readonly [number, number]): Case {
  return (ops, random) => {
    const shape = { ...attentionShape(16, 8, 64, 12, 64), softmaxScale: 1 }, nTokens = 64;
    const fill = (rows: number, width: number) =>
      ops.upload(Float32Array.from({ length: rows * width }, (_, i) => signs[i % 2]), width);
    const cache = ops.createCache({
      nLayers: 1,
      nBlocks: 1,
      kvLoraRank: 64,
      qkRopeHeadDim: 64,
      dtype: "int8",
    });
    const angles = ops.upload(Float32Array.from({ length: nTokens * 64 }, (_, i) => i % 64 < 32 ? 1 : 0), 64);
    const past = ops.batch([{ firstPosition: 0, count: nTokens, isPrompt: true, blocks: [0] }]);
    const norm = ops.loadVector(new Float32Array(64).fill(1));
    ops.appendLatent(cache, 0, past, fill(nTokens, 128), norm, 0, angles, true);
    const now = ops.batch([{ firstPosition: nTokens - 1, count: 1, isPrompt: false, blocks: [0] }]);
    return ops.latentAttention(cache, 0, now, fill(1, 16 * 72), random.weight(16 * 20, 64, "f32"), shape);
  };
}

for (const target of inIntegers) {
  test(`latent_attention in integers on ${target.name} sums the largest values without overflow`, async () => {
    for (const signs of [[1, 1], [-1, -1], [1, -1]] as const) {
      const [expected] = await resultOf(reference, largest(signs), "largest");
      const [found] = await resultOf(target, largest(signs), "largest");
      const error = relativeError(found, expected);
      assert.ok(error < 2e-3, `signs ${signs}: relative error ${error}`);
    }
  });
}
