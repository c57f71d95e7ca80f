/**
 * Draws the chart of the README from results: what `hadal bench --json` and tables with other engines write,
 * one JSON object a line with peer, quant, metric and samples. The newest of each counts.
 *
 *     chart.ts RESULTS.jsonl… --out CHART.svg [--metrics pp512,tg64@0,batch8,cold] [--model lite] [--threads 2]
 *              [--title TEXT] [--subtitle TEXT]
 *
 * Of the metrics that are not asked for by name those are left out of which there is nothing.
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { z } from "zod";
import { parseMetrics, unitOf } from "../src/cli/bench/metrics.ts";
import { median } from "../src/cli/bench/record.ts";
import { commandLine } from "../src/runtime.ts";
import { type Bar, barChart, type Panel } from "./bar_chart.ts";

const { values: args, positionals: files } = parseArgs({
  args: commandLine(),
  allowPositionals: true,
  options: {
    out: { type: "string" },
    metrics: { type: "string" },
    model: { type: "string" },
    threads: { type: "string" },
    title: { type: "string", default: "hadal beside other engines" },
    subtitle: { type: "string", default: "" },
  },
});
if (files.length === 0 || args.out === undefined) {
  throw new Error(
    `chart: ${files.length} files of results and --out ${args.out} were given, both are needed`,
  );
}

const recordSchema = z.looseObject({
  peer: z.string(),
  quant: z.string(),
  metric: z.string(),
  samples: z.array(z.number()).min(1),
  model: z.string(),
  threads: z.number(),
});

/** By metric, then by engine and format. */
const found = new Map<string, Map<string, Bar>>();
for (const line of files.flatMap((file) => readFileSync(file, "utf8").split("\n"))) {
  if (!line.startsWith("{")) continue;
  const { peer, quant, metric, samples, model, threads } = recordSchema.parse(JSON.parse(line));
  if (args.model !== undefined && model !== args.model) continue;
  if (args.threads !== undefined && threads !== Number(args.threads)) continue;
  const label = `${peer} ${quant}`;
  const bars = found.get(metric) ?? new Map<string, Bar>();
  found.set(metric, bars);
  bars.delete(label); // and back at the end
  bars.set(label, {
    label,
    value: median(samples),
    range: [Math.min(...samples), Math.max(...samples)],
    isOurs: peer.split(" ")[0] === "hadal", // "hadal deno" too
  });
}

const panels: Panel[] = [];
for (const metric of parseMetrics(args.metrics ?? "pp512,tg64@0,batch8,cold")) {
  const bars = found.get(metric.name);
  if (bars === undefined && args.metrics === undefined) continue;
  if (bars === undefined) throw new Error(`chart: no results of ${metric.name} were found`);
  const { unit, moreIsBetter } = unitOf(metric);
  const sorted = [...bars.values()].sort((a, b) => moreIsBetter ? b.value - a.value : a.value - b.value);
  const way = moreIsBetter ? "more is better" : "less is better";
  panels.push({ title: `${wordsFor(metric.name)}, ${unit} (${way})`, bars: sorted });
}
if (panels.length === 0) throw new Error(`chart: no results were found in ${files.join(", ")}`);
writeFileSync(args.out, barChart(args.title, args.subtitle, panels));

/** What people call a metric. */
function wordsFor(metric: string): string {
  const patterns: readonly (readonly [RegExp, (count: string, depth: string) => string])[] = [
    [/^pp(\d+)$/, (count) => `prompt of ${count} tokens`],
    [/^tg\d+@(0)$/, () => "generating"],
    [/^tg\d+@(\d+)$/, (depth) => `generating behind ${depth} tokens`],
    [/^batch(\d+)$/, (count) => `generating ${count} sequences at once`],
    [/^equal(\d+)$/, (count) => `generating one text ${count} times at once`],
    [/^ttft(\d+)$/, (count) => `first token behind ${count} tokens`],
    [/^cold$/, () => "process start to first token"],
    [/^rss$/, () => "resident memory"],
    [/^anon$/, () => "private memory"],
  ];
  for (const [pattern, words] of patterns) {
    const match = pattern.exec(metric);
    if (match) return words(match[1], match[2]);
  }
  return metric;
}
