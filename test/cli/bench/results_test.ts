/** What the bench writes, and reads back. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type BenchRecord, median, readRecords, rounded } from "../../../src/cli/bench/record.ts";
import { rateTogether } from "../../../src/cli/bench/sample.ts";
import { limitText, shown, tableHead, tableRow, timesBetter } from "../../../src/cli/bench/table.ts";

const record: BenchRecord = {
  peer: "hadal",
  model: "lite",
  quant: "int8",
  cache: "f32",
  threads: 2,
  kernels: "avx2",
  moved: 0,
  runtime: "deno 2.9.6",
  when: "2026-11-21T00:00:00.000Z",
  metric: "tg64@0",
  unit: "tokens/s",
  value: 47.25,
  samples: [48.5, 47.25, 9.75],
  limit: { kind: "read", samples: [31.25e9, 30e9, 33e9] },
  part: 0.902,
};
const bare: BenchRecord = { ...record, metric: "cold", unit: "s", value: 0.25, samples: [0.25] };
const cold = { ...bare, limit: undefined, part: undefined };

test("a table's rows are aligned, and empty where nothing bounds a metric", () => {
  assert.equal(
    [tableHead(false), tableRow(record), tableRow(cold)].join("\n"),
    `| metric     | median     | unit     | least to most         | machine's limit    | reached  |
| ---------- | ---------- | -------- | --------------------- | ------------------ | -------- |
| tg64@0     | 47.25      | tokens/s | 9.750 to 48.50        | read 31.25 GB/s    | 90.2 %   |
| cold       | 0.2500     | s        | 0.2500 to 0.2500      |                    |          |`,
  );
});

test("a comparison adds what was before, and how many times better it is now", () => {
  const rows = [
    tableHead(true),
    tableRow(record, { metric: "tg64@0", samples: [40, 30, 31.5] }),
    tableRow(cold, { metric: "cold", samples: [0.5] }),
    tableRow(cold, null),
  ].map((row) => row.split("\n")[0].split(" | ").slice(-2).map((cell) => cell.replace("|", "").trim()));
  assert.deepEqual(rows, [["before", "times better"], ["31.50", "1.50"], ["0.5000", "2.00"], ["", ""]]);
});

test("tables fit a terminal of 100 columns, every row as wide as the heading", () => {
  const large = { ...record, metric: "tg64@16384", value: 123456.7, samples: [123456.7, 98765.4] };
  const limit = { kind: "int8", samples: [1234.5e9] } as const;
  for (const old of [undefined, { metric: "tg64@16384", samples: [99999] }]) {
    const text = [tableHead(old !== undefined), tableRow({ ...large, limit }, old)].join("\n");
    const lengths = text.split("\n").map(({ length }) => length);
    assert.equal(Math.min(...lengths), lengths[0], text);
    assert(Math.max(...lengths) <= 100 && Math.max(...lengths) === lengths[0], text);
  }
});

test("replies written together are counted while all are, and by the engine's clock where they came at once", () => {
  const parts = (...at: [ms: number, nTokens: number][]) => at.map(([ms, nTokens]) => ({ ms, nTokens }));
  const apart = [
    { parts: parts([0, 1], [20, 5], [40, 5], [60, 5]), decodeMs: 60 },
    { parts: parts([20, 1], [40, 5], [60, 5], [80, 5]), decodeMs: 60 },
  ];
  assert.equal(rateTogether(apart), 500); // 20 tokens from 20 to 60 ms
  const atOnce = [
    { parts: parts([10, 1], [10.1, 32]), decodeMs: 8 },
    { parts: parts([10, 1], [10.1, 32]), decodeMs: 6.4 },
  ];
  assert.equal(rateTogether(atOnce), 8000); // 64 tokens in 8 ms
});

test("less is better for times and memory, more for rates", () => {
  assert.equal(timesBetter("pp512", 10, 5), 2);
  for (const metric of ["ttft128", "cold", "rss", "anon"]) assert.equal(timesBetter(metric, 5, 10), 2);
});

test("numbers are shown in four digits", () => {
  const cases: [value: number, text: string][] = [
    [46800.4, "46800"],
    [990.26, "990.3"],
    [47.25, "47.25"],
    [0.04567, "0.0457"],
    [0, "0.000"],
  ];
  for (const [value, text] of cases) assert.equal(shown(value), text);
  assert.equal(limitText("int8", 1.47e12), "int8 1470 Gop/s");
  assert.equal(limitText("copy", 12.34e9), "copy 12.34 GB/s");
});

test("the median is the middle one, or between the two in the middle", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(rounded(1234567.89), 1234600);
});

test("results are read back, the newest of each metric, and what is none is named", () => {
  const place = mkdtempSync(join(tmpdir(), "hadal-results-"));
  const file = join(place, "old.jsonl");
  try {
    writeFileSync(
      file,
      `a note\n${JSON.stringify({ ...record, samples: [1] })}\n\n${JSON.stringify(record)}\n`,
    );
    const found = readRecords(file);
    assert.deepEqual([...found.keys()], ["tg64@0"]);
    assert.deepEqual(found.get("tg64@0")!.samples, record.samples);
    for (
      const [text, message] of [
        ["", /holds no results/],
        ['{"metric": "pp512"}', /line 1 of .* is no result/],
        ['{"metric": "pp512", "samples": []}', /is no result/],
        ["{", /is no result/],
      ] as const
    ) {
      writeFileSync(file, text);
      assert.throws(() => readRecords(file), message);
    }
    assert.throws(() => readRecords(join(place, "none")), /--compare: cannot read/);
  } finally {
    rmSync(place, { recursive: true });
  }
});
