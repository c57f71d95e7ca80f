/** The command itself, with the embedded model. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { kernelLibrary } from "../backends.ts";
import { runHadal, runProgram } from "./run_hadal.ts";

const isBuilt = await kernelLibrary() !== null; // and built here once, not in each process

const bench = (...args: string[]) => runHadal(["bench", ...args]);

interface Found {
  readonly metric: string;
  readonly unit: string;
  readonly value: number;
  readonly samples: number[];
  readonly part?: number;
  readonly limit?: { readonly kind: string; readonly samples: number[] };
}

test("hadal bench measures minnow beside the machine's limits, one JSON object a line", async () => {
  const { code, stdout, stderr } = await bench(
    ...["--model", "minnow", "--reps", "1", "--threads", "1", "--json"],
    ...["--metrics", "pp512,tg64@0,batch2,equal2,ttft16,tg64@2048"],
  );
  assert.equal(code, 0, stderr);
  assert.match(stderr, /tg64@2048 is left out: it needs 2113 tokens, the model takes 1024/);
  const found: Found[] = stdout.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(found.map(({ metric, unit }) => [metric, unit]), [
    ["pp512", "tokens/s"],
    ["tg64@0", "tokens/s"],
    ["batch2", "tokens/s"],
    ["equal2", "tokens/s"],
    ["ttft16", "ms"],
  ]);
  for (const record of found) {
    const { metric, value, samples, limit, part } = record;
    assert.deepEqual(samples, [value], metric);
    assert.ok(Number.isFinite(value) && value > 0, metric);
    if (metric === "ttft16" || !isBuilt) assert.equal(limit ?? part, undefined);
    else {
      assert.equal(limit!.kind, metric === "pp512" ? "f32" : "read");
      assert.ok(limit!.samples[0] > 0 && part! > 0 && Number.isFinite(part), metric);
    }
    for (const key of ["peer", "model", "quant", "cache", "threads", "kernels", "runtime", "when"]) {
      assert.ok(key in record, `${metric}: ${key}`);
    }
  }
});

test("a run is compared with an earlier one, and fresh processes are measured", async () => {
  const place = mkdtempSync(join(tmpdir(), "hadal-bench-"));
  try {
    const before = join(place, "before.jsonl");
    writeFileSync(before, `${JSON.stringify({ metric: "cold", samples: [1000], threads: 5 })}\n`);
    const { code, stdout, stderr } = await bench(
      ...["--metrics", "cold,rss", "--reps", "1", "--threads", "1", "--compare", before],
    );
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^minnow: fp8 weights, f32 cache, 1 thread, /);
    const [, times] = /\| cold .*\| 1000 +\| ([\d.]+) +\|$/m.exec(stdout)!;
    assert.ok(Number(times) > 10, stdout);
    assert.match(stderr, /NOTE: what is compared with was measured with threads 5\n/);
    if (process.platform === "linux") assert.match(stdout, /^\| rss +\| 0\.\d+ +\| GiB/m);
  } finally {
    rmSync(place, { recursive: true });
  }
});

test("bench/model.ts speaks as other engines' benches do", async () => {
  const first = await runProgram("bench/model.ts", ["--metrics", "first", "--reps", "1", "--threads", "1"]);
  assert.equal(first.code, 0, first.stderr);
  assert.equal(JSON.parse(first.stdout).metric, "first");
  const some = await runProgram("bench/model.ts", [
    ...["--metrics", "tg8@0,batch2", "--reps", "2", "--threads", "1", "--no-limits"],
  ]);
  assert.equal(some.code, 0, some.stderr);
  const found: Found[] = some.stdout.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(found.map(({ metric, samples }) => [metric, samples.length]), [["tg8@0", 2], [
    "batch2",
    2,
  ]]);
  assert.ok(found.every(({ limit }) => limit === undefined));
});

test("a signal ends the bench with 130", async () => {
  if (process.platform === "win32") return; // it has no signals that a process may handle
  const args = ["--metrics", "tg64@2048,tg64@0", "--reps", "1000", "--json", "--no-limits", "--threads", "1"];
  const { code, stdout, stderr } = await runHadal(["bench", ...args], {}, (child) => {
    // Its first words say that the first metric is left out: then it goes to work on the second.
    child.stderr!.once("data", () => setTimeout(() => process.kill(child.pid!, "SIGINT"), 200));
  });
  assert.equal(code, 130, stderr);
  assert.match(stderr, /Stopped: what was not printed is not measured/);
  assert.equal(stdout, "");
});

test("what cannot be measured ends with 2 and one sentence", async () => {
  const cases: [args: string[], message: RegExp][] = [
    [["--metrics", "pp512,quick"], /"quick" was given, a name like pp512/],
    [["--model", "/none"], /there is no such folder/],
    [["--compare", "/none"], /--compare: cannot read \/none/],
    [["--weights", "int5"], /--weights: "int5" was given/],
    [["--other"], /--other/],
  ];
  for (const [args, message] of cases) {
    const { code, stdout, stderr } = await bench(...args);
    assert.equal(code, 2, args.join(" "));
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /\n {4}at /, "a stack trace");
    assert.equal(stdout, "");
  }
});

test("--help names the metrics", async () => {
  const { code, stdout } = await bench("--help");
  assert.equal(code, 0);
  assert.match(stdout, /tgN@DEPTH/);
  assert.match(stdout, /--compare FILE/);
});
