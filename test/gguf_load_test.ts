import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { load } from "../mod.ts";
import { openGguf } from "../src/checkpoint/gguf.ts";
import type { GgufTensor } from "../src/checkpoint/gguf_tensors.ts";
import { type NewGgufTensor, writeGguf } from "../src/checkpoint/write_gguf.ts";
import { CheckpointError } from "../src/errors.ts";
import { folderOf } from "./checkpoint/write_safetensors.ts";

const fixtures = fileURLToPath(new URL("../../shared/fixtures/gguf/", import.meta.url));
const backends = ["reference", "cpu"] as const;

if (!existsSync(fixtures)) console.log("NOTE: ../shared/fixtures/gguf is not here: no GGUF file is loaded");
else {
  for (const backend of backends) {
    test(`a GGUF file generates the greedy tokens of its golden, and says its formats, on ${backend}`, async () => {
      const files = [["v2lite-q8_0", ["f32", "q8_0"]], ["kquant-q4_k_m", ["f32", "q4_k", "q5_k", "q6_k"]]];
      for (const [name, formats] of files) {
        const golden = JSON.parse(readFileSync(`${fixtures}${name}.golden.json`, "utf8"));
        await using model = await load(`${fixtures}${name}.gguf`, { backend, activations: "f32" });
        assert.equal(model.info.architecture, "deepseek_v2");
        assert.deepEqual(Object.keys(model.info.weightFormats).sort(), formats);
        const options = { temperature: 0, maxTokens: 24, ignoreEos: true };
        const reply = await model.complete(golden.prompts.short, options);
        assert.deepEqual(reply.tokens, golden.greedy.short.tokens);
        const { tokenizer } = model;
        assert.equal(tokenizer.decode(tokenizer.encode("Hi there")), "Hi there");
      }
    });
  }

  test("of blocks that are not read as they lie, what no short format holds is rounded to int8", async () => {
    const place = mkdtempSync(join(tmpdir(), "hadal-gguf-"));
    try {
      const path = join(place, "ternary.gguf");
      await makeTernary(`${fixtures}kquant-q4_k_m.gguf`, path);
      await using model = await load(path, { backend: "reference" });
      assert.deepEqual(Object.keys(model.info.weightFormats).sort(), ["f32", "int8", "q4_k", "q6_k"]);
      const { repacked, weightFormats } = model.info;
      assert.deepEqual(repacked, { "TQ2_0 to int8": weightFormats.int8 });
      const logits = await model.logits([0, 401, 222]);
      assert.ok(logits.every(Number.isFinite));
    } finally {
      rmSync(place, { recursive: true });
    }
  });
}

/** Writes a model again, with ternary matrices in the place of those in Q5_K. */
async function makeTernary(from: string, to: string): Promise<void> {
  const { metadata, tensors, files, close } = openGguf(from);
  try {
    await writeGguf(to, metadata, [...tensors.values()].map(ternaryOr), () => {});
  } finally {
    close();
  }

  function ternaryOr({ name, type, shape, file, offset, sizeBytes }: GgufTensor): NewGgufTensor {
    if (type !== "Q5_K") {
      return { name, type, shape, pieces: () => [files.get(file)!.read(offset, sizeBytes)] };
    }
    const blocks = shape.reduce((a, b) => a * b) / 256;
    const bytes = Uint8Array.from({ length: blocks * 66 }, (_, i) => Math.imul(i + 1, 2654435761) >>> 24);
    for (let scale = 64; scale < bytes.length; scale += 66) bytes.set([0, 0x28], scale); // 2^-5
    return { name, type: "TQ2_0", shape, pieces: () => [bytes] };
  }
}

test("a GGUF file that is not there, or is none, is refused by its name", async () => {
  await assert.rejects(load("no/such.gguf"), (error: unknown) => {
    assert.ok(error instanceof CheckpointError, `${error}`);
    assert.match(error.message, /^Cannot read no\/such\.gguf: there is no such file/);
    return true;
  });
  const folder = folderOf({ "a.gguf": "GGUF" });
  try {
    await assert.rejects(load(`${folder}/a.gguf`), /a\.gguf: it holds 4 bytes, no GGUF file is that short/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
