/** The tool that measures hadal beside others, with hadal alone. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { wordsToRun } from "../find_runtime.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

function measure(...words: string[]): { status: number | null; stdout: string; stderr: string } {
  const program = [...wordsToRun(), join(root, "bench/peers.ts"), ...words];
  return spawnSync(process.execPath, program, { encoding: "utf8" });
}

test("samples are added to those of earlier rounds, and the table shows medians of all of them", () => {
  const place = mkdtempSync(join(tmpdir(), "hadal-peers-"));
  try {
    symlinkSync(join(root, "examples/minnow"), join(place, "minnow-fp8"), "junction");
    const out = join(place, "results.jsonl"),
      words = ["--models", place, "--model", "minnow", "--pairs", "fp8="];
    const first = measure(...words, "--metrics", "tg4@0", "--rounds", "1", "--threads", "1", "--out", out);
    assert.equal(first.status, 0, first.stderr);
    const [line] = readFileSync(out, "utf8").trim().split("\n");
    assert.deepEqual({ ...JSON.parse(line), samples: 1, parts: 1, value: 1, when: 1 }, {
      ...{ peer: "hadal", model: "minnow", quant: "fp8", threads: 1, metric: "tg4@0", unit: "tokens/s" },
      ...{ samples: 1, parts: 1, value: 1, when: 1 },
    });
    const again = measure(
      ...words,
      "--metrics",
      "tg4@0,pp4",
      "--rounds",
      "1",
      "--threads",
      "1",
      "--out",
      out,
    );
    assert.equal(again.status, 0, again.stderr);
    const results = readFileSync(out, "utf8").trim().split("\n").map((text) => JSON.parse(text));
    assert.deepEqual(results.map(({ metric, samples }) => [metric, samples.length]), [["tg4@0", 2], [
      "pp4",
      1,
    ]]);
    assert.equal(results[0].samples[0], JSON.parse(line).samples[0]);
    assert.match(
      again.stdout,
      /^\| +\| hadal fp8 \|\n\| --- \| --- \|\n\| tg4@0 \| [\d.]+ \([\d.]+-[\d.]+\)/,
    );
    assert.match(again.stdout, /\n\| pp4 \| [\d.]+ \(/);
  } finally {
    rmSync(place, { recursive: true });
  }
});

test("an engine that is not there is named in one sentence", () => {
  const { status, stderr } = measure(
    "--models",
    "/nowhere",
    "--pairs",
    "int8=q8_0",
    "--llama",
    "/nowhere/bin",
  );
  assert.equal(status, 1);
  assert.match(stderr, /Cannot measure .*\/nowhere\/v3-int8/);
});
