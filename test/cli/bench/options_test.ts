import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultMetrics, parseMetrics, roomFor, unitOf } from "../../../src/cli/bench/metrics.ts";
import { parseBenchArgs } from "../../../src/cli/bench/options.ts";

test("the bench without words measures minnow on all cores", () => {
  const options = parseBenchArgs([])!;
  assert.deepEqual({ ...options, metrics: null }, {
    model: "minnow",
    weights: "auto",
    cacheDtype: "f32",
    threads: "auto",
    repetitions: 5,
    metrics: null,
    isJson: false,
    compare: null,
    withLimits: true,
  });
  assert.deepEqual(options.metrics!.map(({ name }) => name).join(), defaultMetrics);
});

test("every word of the bench is read", () => {
  const words =
    "--model M --weights int8 --kv-cache bf16 --threads 3 --reps 2 --metrics pp7 --json --compare O";
  const options = parseBenchArgs([...words.split(" "), "--no-limits"]);
  assert.deepEqual(options, {
    model: "M",
    weights: "int8",
    cacheDtype: "bf16",
    threads: 3,
    repetitions: 2,
    metrics: [{ kind: "prefill", name: "pp7", nTokens: 7 }],
    isJson: true,
    compare: "O",
    withLimits: false,
  });
  assert.equal(parseBenchArgs(["M", "--reps", "2"])!.model, "M");
  assert.equal(parseBenchArgs(["--metrics", "first"])!.metrics, null);
  assert.equal(parseBenchArgs(["--help"]), null);
});

test("a wrong word of the bench is named, with what is needed", () => {
  const cases: [args: string[], message: RegExp][] = [
    [["--reps", "0"], /--reps: "0" was given, a whole number from 1 to 1000 is needed/],
    [["--reps", "1.5"], /"1.5"/],
    [["--threads", "x"], /--threads: "x" was given, a whole number from 1 to 256/],
    [["--kv-cache", "int4"], /--kv-cache: "int4" was given, one of f32, bf16, f16, int8/],
    [["--weights", "int5"], /--weights: "int5" was given, one of auto, f32, .*int8/],
    [["--metrics", ""], /--metrics: "" was given/],
    [["a", "b"], /^RangeError: bench: 2 models were given, one is needed$/],
    [["a", "--model", "b"], /2 models were given/],
  ];
  for (const [args, message] of cases) assert.throws(() => parseBenchArgs(args), message);
});

test("metrics are names with numbers, and anything else is refused by name", () => {
  assert.deepEqual(parseMetrics("pp512, tg64@0,batch8,equal4,ttft1,cold"), [
    { kind: "prefill", name: "pp512", nTokens: 512 },
    { kind: "decode", name: "tg64@0", nTokens: 64, depth: 0 },
    { kind: "batch", name: "batch8", nSequences: 8, texts: "different" },
    { kind: "batch", name: "equal4", nSequences: 4, texts: "equal" },
    { kind: "firstToken", name: "ttft1", nTokens: 1 },
    { kind: "process", name: "cold" },
  ]);
  for (
    const word of "pp pp0 pp5@1 tg64 tg@2 tg0@2 batch99999 equal equal4@1 first rss2 PP5 -".split(" ")
  ) {
    assert.throws(() => parseMetrics(word), (error: Error) => error.message.includes(`"${word}"`), word);
  }
});

test("each metric says its unit, which way is better, and the room that it takes", () => {
  const expected: [name: string, unit: string, moreIsBetter: boolean, nSequences: number, nTokens: number][] =
    [
      ["pp512", "tokens/s", true, 1, 513],
      ["tg64@2048", "tokens/s", true, 1, 2113],
      ["tg64@0", "tokens/s", true, 1, 66],
      ["batch4", "tokens/s", true, 4, 161],
      ["equal4", "tokens/s", true, 4, 161],
      ["ttft128", "ms", false, 1, 129],
      ["cold", "s", false, 1, 64],
      ["rss", "GiB", false, 1, 64],
    ];
  for (const [name, unit, moreIsBetter, nSequences, nTokens] of expected) {
    const [metric] = parseMetrics(name);
    assert.deepEqual({ ...unitOf(metric), ...roomFor(metric) }, { unit, moreIsBetter, nSequences, nTokens });
  }
});
