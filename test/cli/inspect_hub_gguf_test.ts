import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { GgufValue } from "../../src/checkpoint/gguf_metadata.ts";
import { convert } from "../../src/convert.ts";
import { commit, type Hub, modelId, withHub } from "../checkpoint/hub/hub_server.ts";
import { writeGgufModel } from "../model/gguf_parts.ts";
import { runHadal } from "./run_hadal.ts";

const model = fileURLToPath(new URL("../golden/v2lite", import.meta.url));

/** Bytes of GGUF files that were asked for, of answers to come. */
function bytesAsked(hub: Hub): number {
  return hub.seen.filter(({ host, method }) => host === "store" && method === "GET").reduce(
    (sum, { path, headers }) => {
      const [, begin, end] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "") ?? assert.fail(`all of ${path}`);
      return sum + Number(end) + 1 - Number(begin);
    },
    0,
  );
}

test("a hub's GGUF with a vocabulary of 129,280 tokens is told by its header, read in growing ranges", async () => {
  const place = mkdtempSync(join(tmpdir(), "hadal-test-"));
  try {
    const words = (count: number, word: (i: number) => string): GgufValue => ({
      type: "array",
      of: "string",
      value: Array.from({ length: count }, (_, i) => word(i)),
    });
    const vocabulary = new Map<string, GgufValue>([
      ["tokenizer.ggml.tokens", words(129_280, (i) => `token${i}`)],
      ["tokenizer.ggml.merges", words(127_741, (i) => `to ken${i}`)],
    ]);
    const headerBytes = await writeGgufModel(model, place, "v2", vocabulary);
    assert.ok(headerBytes > 4_000_000, `${headerBytes}`);
    await withHub({ "v2.gguf": readFileSync(join(place, "v2.gguf")) }, async (hub) => {
      const env = { HF_ENDPOINT: hub.url, HF_HOME: hub.cache };
      const { code, stdout, stderr } = await runHadal(["inspect", modelId], env);
      assert.equal(code, 0, stderr + stdout);
      assert.match(stdout, /network +deepseek_v2, 3 layers of width 64/);
      assert.match(stdout, /files +1\.1 MB in \d+ tensors: F32/);
      const asked = bytesAsked(hub);
      assert.ok(
        asked >= headerBytes - 1_000_000 && asked <= 1.5 * headerBytes + (1 << 18),
        `${asked} of ${headerBytes}`,
      );
      const gets = hub.seen.filter(({ host, method }) => host === "store" && method === "GET");
      assert.ok(gets.length <= 10, `${gets.length} requests`);
      assert.deepEqual(readdirSync(hub.cache), [], "nothing is kept");
    });
  } finally {
    rmSync(place, { recursive: true });
  }
});

test("of several quantisations on a hub one is named, split ones are told whole, and nothing else is read", async () => {
  const place = mkdtempSync(join(tmpdir(), "hadal-test-"));
  try {
    await writeGgufModel(model, place, "tiny-F32", new Map(), 3);
    await convert(model, join(place, "tiny-bf16.gguf"), { type: "BF16" });
    const files = Object.fromEntries(
      readdirSync(place).map((name) => [`gguf/${name}`, readFileSync(join(place, name))]),
    );
    assert.equal(Object.keys(files).length, 4);
    await withHub(files, async (hub) => {
      const env = { HF_ENDPOINT: hub.url, HF_HOME: hub.cache };
      const choices = await runHadal(["inspect", modelId], env);
      assert.equal(choices.code, 2);
      assert.match(
        choices.stderr,
        /it has 2 GGUF models, its name with one of these is needed: ":F32", ":bf16"$/m,
      );
      const told = async (end: string) => {
        const { code, stdout, stderr } = await runHadal(["inspect", `${modelId}${end}`, "--json"], env);
        assert.equal(code, 0, stderr);
        return JSON.parse(stdout);
      };
      const local = JSON.parse(
        (await runHadal(["inspect", join(place, "tiny-F32-00001-of-00003.gguf"), "--json"])).stdout,
      );
      const split = await told(":f32");
      for (const key of ["config", "parameters", "stored", "loaded", "formats", "reads", "problems"]) {
        assert.deepEqual(split[key], local[key], key);
      }
      assert.equal(split.problems.length, 0);
      assert.ok((await told("/gguf/tiny-bf16.gguf")).stored.byType.BF16 > 400_000);
      const other = await runHadal(["inspect", `${modelId}:Q4_K_M`], env);
      assert.match(other.stderr, /none is ":Q4_K_M", its name with one of these/);
      assert.deepEqual(readdirSync(hub.cache), [], "nothing is kept");

      // The same names in pulling; what it prints loads.
      const pulled = await runHadal(["pull", `${modelId}:F32`], env);
      assert.equal(pulled.code, 0, pulled.stderr);
      assert.match(pulled.stdout.trim(), new RegExp(`${commit}.gguf.tiny-F32-00001-of-00003\\.gguf$`));
      const cached = await runHadal(["inspect", pulled.stdout.trim(), "--json"]);
      assert.deepEqual(JSON.parse(cached.stdout).stored, local.stored);
      const offline = await runHadal(["inspect", `${modelId}:F32`, "--json"], {
        ...env,
        HF_HUB_OFFLINE: "1",
      });
      assert.deepEqual(JSON.parse(offline.stdout).stored, local.stored);
    });
  } finally {
    rmSync(place, { recursive: true });
  }
});
