import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { load, type LoadOptions, type Progress, UnsupportedError } from "../mod.ts";
import { openReference } from "../src/backend/reference/backend.ts";
import { quantize } from "../src/quantize.ts";

const folder = join(import.meta.dirname!, "golden/v3bf16");
const reference = { backend: "reference", contextLength: 64, maxSequences: 1 } as const;

test("the model tells the bytes of its weights in each format, before and after repacking", async () => {
  const of = async (weights: LoadOptions["weights"]) => {
    await using model = await load(folder, { ...reference, weights });
    return model.info;
  };
  const stored = await of("auto"), int4 = await of("int4");
  assert.deepEqual(Object.keys(stored.weightFormats), ["bf16"]);
  assert.deepEqual(Object.keys(int4.weightFormats).sort(), ["bf16", "int4"], "embedding and routers stay");
  for (const { bytes, weightFormats } of [stored, int4]) {
    assert.equal(bytes.weights, Object.values(weightFormats).reduce((a, b) => a + b));
  }
  assert(int4.bytes.weights < 0.7 * stored.bytes.weights, `${int4.bytes.weights} bytes`);
});

test("f32 is made of every shorter number, and says just what the files say", async () => {
  for (const backend of ["reference", "cpu"] as const) {
    const of = async (weights: LoadOptions["weights"]) => {
      await using model = await load(folder, { backend, contextLength: 64, maxSequences: 1, weights });
      return { info: model.info, logits: await model.logits([0, 5, 9, 200]) };
    };
    const stored = await of("auto"), wide = await of("f32");
    assert.deepEqual(Object.keys(wide.info.weightFormats).sort(), ["bf16", "f32"]);
    assert.deepEqual(Object.keys(wide.info.repacked), ["BF16 to f32"]);
    assert.deepEqual(stored.info.repacked, {});
    assert.deepEqual(wide.logits, stored.logits);
  }
});

test("repacking tells how far it is in bytes of the result", async () => {
  const seen: Progress[] = [];
  const model = await load(folder, {
    ...reference,
    weights: "int8",
    onProgress: (progress) => seen.push(progress),
  });
  const { bytes } = model.info;
  await model.close();
  const weights = seen.filter(({ stage }) => stage === "weights");
  assert(weights.length > 10, `told ${weights.length} times`);
  assert(
    weights.every(({ done, total }, i) => total === bytes.weights && done >= (weights[i - 1]?.done ?? 0)),
  );
  assert.equal(weights.at(-1)!.done, bytes.weights);
});

test("a format that cannot be made of the files is refused in one sentence", async () => {
  await assert.rejects(load(folder, { ...reference, weights: "f16" }), (error: Error) => {
    assert(error instanceof UnsupportedError);
    assert.match(error.message, /bf16 stored, f16 cannot be made of it$/);
    return true;
  });
  await assert.rejects(
    load(folder, { ...reference, weights: "int5" as "int4" }),
    /option weights: .*"int4"/,
  );
  const place = mkdtempSync(join(tmpdir(), "hadal-weights-"));
  try {
    await quantize(folder, join(place, "int4"), { format: "int4", packer: openReference() });
    await using model = await load(join(place, "int4"), { ...reference, weights: "int4" });
    assert.deepEqual(Object.keys(model.info.weightFormats).sort(), ["bf16", "int4"]);
    for (const weights of ["int8", "int4a", "bf16", "fp8"] as const) {
      await assert.rejects(load(join(place, "int4"), { ...reference, weights }), (error: Error) => {
        assert(error instanceof UnsupportedError);
        assert.match(
          error.message,
          /rounded to int4 already, the model that it was made of is needed$/,
        );
        return true;
      });
    }
  } finally {
    rmSync(place, { recursive: true });
  }
});
