import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { text } from "../../../src/cli/bench/sample.ts";
import { expertsMet, modelWork } from "../../../src/cli/bench/work.ts";
import { countParameters } from "../../../src/model/parameters.ts";

const folder = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));

/** Folders with the format of what a token uses, its bytes a value, and those of a value of the head. */
const cases = [
  ["test/golden/v3bf16", "bf16", 2, 2],
  ["test/golden/v2lite", "f32", 4, 4],
  ["examples/minnow", "fp8", 1, 2],
] as const;

for (const [path, format, valueBytes, headBytes] of cases) {
  test(`what a token of ${path} reads and multiplies is what its parameters say`, () => {
    const work = modelWork(folder(path), "auto", "f32");
    const { config } = work;
    const head = config.vocabSize * config.hidden, body = countParameters(config).active - head;
    // Vectors are parameters too, fp8 matrices have factors, a router may be wider: a few in a hundred.
    const isNear = (found: number, expected: number) =>
      assert.ok(Math.abs(found / expected - 1) < 0.06, `${found} found, about ${expected} expected`);
    isNear(work.stepBytes(1, 0, null), body * valueBytes + head * headBytes);
    isNear(work.promptOps(1), 2 * body);
    assert.ok(work.promptOps(100) > 100 * work.promptOps(1), "attention grows with the square");
    assert.deepEqual([work.format, work.usesInt8], [format, false]);
  });
}

test("a step reads the cache of each sequence, and an expert once for all of them", () => {
  const work = modelWork(folder("examples/minnow"), "int8", "bf16");
  assert.equal(work.usesInt8, true);
  const one = work.stepBytes(1, 0, null);
  assert.ok(Math.abs(work.stepBytes(1, 64, null) - one - work.cacheBlockBytes) < 1e-6);
  assert.ok(work.stepBytes(8, 0, null) > one && work.stepBytes(8, 0, null) < 8 * one);
  const busy = Array.from({ length: work.config.nLayers }, () => [10, 10, 0, 0, 0, 0, 0, 0]);
  assert.ok(Math.abs(work.stepBytes(8, 0, busy) - one) < 1, "two experts that everybody chooses");
});

test("tokens meet each its own experts, many tokens meet them all, and popular ones first", () => {
  const close = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-9, `${a} and ${b}`);
  close(expertsMet(1, 64, 6, []), 6);
  close(expertsMet(1, 4, 2, [3, 1, 2, 2]), 2);
  assert.ok(expertsMet(1000, 64, 6, []) > 63.9);
  assert.ok(expertsMet(8, 64, 6, []) > 34 && expertsMet(8, 64, 6, []) < 36);
  const skewed = Array.from({ length: 64 }, (_, i) => i < 32 ? 9 : 1);
  assert.ok(expertsMet(8, 64, 6, skewed) < expertsMet(8, 64, 6, []));
});

test("texts differ by seed, repeat themselves, and stay away from the ends of the vocabulary", () => {
  for (const vocabSize of [8, 4096, 129280]) {
    const ids = text(500, 3, vocabSize);
    assert.deepEqual(text(500, 3, vocabSize), ids);
    assert.notDeepEqual(text(500, 4, vocabSize), ids);
    assert.ok(ids.every((id) => Number.isInteger(id) && id >= 0 && id < vocabSize));
  }
  assert.ok(text(500, 1, 4096).every((id) => id >= 100 && id < 3996));
});
