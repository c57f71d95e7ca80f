import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { wordsToRun } from "../find_runtime.ts";

const program = join(fileURLToPath(new URL("../../", import.meta.url)), "tools/chart.ts");
const lines = [
  { peer: "hadal", quant: "int8", metric: "pp512", samples: [1], model: "lite", threads: 2 },
  { peer: "hadal", quant: "int8", metric: "pp512", samples: [180, 250, 200], model: "lite", threads: 2 },
  { peer: "a <b> & c", quant: "q8_0", metric: "pp512", samples: [50], model: "lite", threads: 2 },
  { peer: "hadal", quant: "int8", metric: "pp512", samples: [9999], model: "other", threads: 2 },
  { peer: "hadal", quant: "int8", metric: "pp512", samples: [9999], model: "lite", threads: 1 },
  { peer: "slow", quant: "bf16", metric: "cold", samples: [0.5], model: "lite", threads: 2 },
  { peer: "hadal", quant: "int8", metric: "cold", samples: [0.25], model: "lite", threads: 2 },
  {
    peer: "an engine with a long name",
    quant: "q8_0",
    metric: "tg64@0",
    samples: [50],
    model: "long",
    threads: 2,
  },
];

/** Draws the lines. @returns the picture, or null, and what the tool had to say */
function draw(...args: string[]): { svg: string | null; said: string } {
  const place = mkdtempSync(join(tmpdir(), "hadal-chart-"));
  try {
    const data = join(place, "results.jsonl"), out = join(place, "chart.svg");
    writeFileSync(data, `a note\n${lines.map((line) => JSON.stringify(line)).join("\n")}\n`);
    const { stderr } = spawnSync(process.execPath, [...wordsToRun(), program, data, "--out", out, ...args]);
    return { svg: existsSync(out) ? readFileSync(out, "utf8") : null, said: stderr.toString() };
  } finally {
    rmSync(place, { recursive: true });
  }
}

const words = ["--metrics", "pp512,cold", "--model", "lite", "--threads", "2", "--title", 'A "chart"'];
const { svg, said } = draw(...words);

test("bars are as long as their medians are of a panel's largest sample, the best first", () => {
  assert.ok(svg !== null, said);
  const bars = [...svg.matchAll(/<rect class="(\w+)" x="[\d.]+" y="[\d.]+" width="([\d.]+)"/g)];
  assert.deepEqual(bars.map(([, kind]) => kind), ["ours", "other", "ours", "other"]);
  const [ours, theirs, start, slowStart] = bars.map(([, , width]) => Number(width));
  assert.ok(Math.abs(ours / theirs - 4) < 0.01, "the newest of each engine and format counts");
  assert.ok(Math.abs(ours / slowStart - 200 / 250) < 0.01);
  assert.ok(Math.abs(slowStart / start - 2) < 0.01);
  assert.equal(svg.match(/<line class="range"/g)!.length, 1, "a range is drawn where samples differ");
});

test("the chart is XML whatever is written in it, and all of it lies inside", () => {
  assert.ok(svg!.includes("a &lt;b&gt; &amp; c q8_0") && !svg!.includes("<b>"));
  assert.ok(svg!.includes("<title>A &quot;chart&quot;</title>"));
  const open: string[] = [];
  for (const [, slash, name, self] of svg!.matchAll(/<(\/?)(\w+)[^>]*?(\/?)>/g)) {
    if (slash) assert.equal(open.pop(), name);
    else if (!self) open.push(name);
  }
  assert.deepEqual(open, []);
  const [, width, height] = /viewBox="0 0 ([\d.]+) ([\d.]+)"/.exec(svg!)!.map(Number);
  for (const [, x, y] of svg!.matchAll(/\bx="([\d.]+)" y="([\d.]+)"/g)) {
    assert.ok(Number(x) < width && Number(y) < height);
  }
});

test("the chart can be read on light and on dark pages, and aloud", () => {
  assert.match(svg!, /prefers-color-scheme: dark/);
  assert.match(svg!, /<desc>prompt of 512 tokens, tokens\/s \(more is better\): hadal int8 200, /);
  assert.match(svg!, /process start to first token, s \(less is better\): hadal int8 0.25, slow bf16 0.50\./);
});

test("a long name is shortened beside its bar, and told whole", () => {
  const { svg, said } = draw("--model", "long");
  assert.ok(svg !== null, said);
  assert.match(svg, />an engine with a lon…<\/text>/);
  assert.match(svg, /<desc>generating, .*: an engine with a long name q8_0 50\.0\.<\/desc>/);
});

test("without a list the usual metrics are drawn, as far as there are results of them", () => {
  const { svg, said } = draw("--model", "lite", "--threads", "2");
  assert.ok(svg !== null, said);
  assert.equal(svg.match(/<text class="title"/g)!.length, 2);
  assert.match(draw("--model", "none").said, /no results were found in .*results\.jsonl/);
});

test("a metric that was not measured is named", () => {
  const { svg, said } = draw("--metrics", "batch8");
  assert.equal(svg, null);
  assert.match(said, /no results of batch8 were found/);
});
