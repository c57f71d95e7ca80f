/**
 * hadal beside llama.cpp and ik_llama.cpp with the same weights, in turn, round by round: a machine that changes its
 * pace within minutes changes it for all.
 *
 *     peers.ts --models FOLDER [--model v3] [--pairs int8=q8_0,int4=q4_0] [--metrics pp512,tg64@0] [--threads 2]
 *              [--runtimes bun,deno] [--llama BIN] [--ik BIN [--ik-batched PROGRAM]] [--rounds 5]
 *              [--out RESULTS.jsonl] [-- WORDS FOR HADAL BENCH]
 *
 * FOLDER holds MODEL-FORMAT for hadal and MODEL-FORMAT.gguf for the others, both of each pair; "bf16=bf16" is one
 * too, and "fp8=" one without others. BIN holds the programs of a build. llama-batched-bench gives all sequences one
 * token (`equalN` of hadal); PROGRAM is one that gives them different ones (`batchN`).
 * hadal runs in the first of the runtimes, and in the others as a peer of its own; by default in the one of this script.
 * Samples are added to those of RESULTS.jsonl after each turn, so that a run goes on where it was cut off, and
 * `--rounds 0` only prints the table: medians, least and most, and the part of the machine's limit.
 * @module
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { z } from "zod";
import { median, rounded } from "../src/cli/bench/record.ts";
import { parseMetrics, unitOf } from "../src/cli/bench/metrics.ts";
import { type Engine, hadal, ikLlamaCpp, llama, llamaCpp, type Sample } from "./engines.ts";
import { commandLine, resolve, runtime } from "../src/runtime.ts";

const { values: args, positionals: words } = parseArgs({
  args: commandLine(),
  allowPositionals: true,
  options: {
    models: { type: "string" },
    model: { type: "string", default: "v3" },
    pairs: { type: "string", default: "int8=q8_0,int4=q4_0" },
    metrics: { type: "string", default: "pp512,pp2048,tg64@0,tg64@2048,batch8,equal8" },
    threads: { type: "string", default: "2" },
    runtimes: { type: "string", default: runtime.name },
    llama: { type: "string" },
    ik: { type: "string" },
    "ik-batched": { type: "string" },
    rounds: { type: "string", default: "5" },
    out: { type: "string" },
  },
});
if (args.models === undefined) {
  throw new Error("peers: no --models was given, the folder that holds them is needed");
}

const recordSchema = z.looseObject({
  peer: z.string(),
  model: z.string(),
  quant: z.string(),
  threads: z.number(),
  metric: z.string(),
  samples: z.array(z.number()),
  parts: z.array(z.number()).default([]),
});
type Result = z.infer<typeof recordSchema>;

const metrics = parseMetrics(args.metrics), threads = Number(args.threads), model = args.model;
const results: Result[] = args.out !== undefined && existsSync(args.out)
  ? readFileSync(args.out, "utf8").trim().split("\n").map((line) => recordSchema.parse(JSON.parse(line)))
  : [];

const builds = [
  ...(args.ik === undefined
    ? []
    : [ikLlamaCpp(resolve(args.ik), args["ik-batched"] && resolve(args["ik-batched"]))]),
  ...(args.llama === undefined ? [] : [llamaCpp(resolve(args.llama))]),
];
const engines: Engine[] = args.pairs.split(",").flatMap((pair) => {
  const [ours, theirs] = pair.split("=");
  const file = `${resolve(args.models!)}/${model}-`;
  return [
    ...args.runtimes.split(",").map((name, i) => {
      const peer = ["hadal", ...(i === 0 ? [] : [name]), ...words].join(" ");
      return hadal(peer, name, `${file}${ours}`, ours, words);
    }),
    ...(theirs ? builds.map((build) => llama(build, `${file}${theirs}.gguf`, theirs)) : []),
  ];
});

for (let round = 1; round <= Number(args.rounds); round++) {
  for (const engine of engines) {
    const able = metrics.filter((metric) => engine.canMeasure(metric));
    for (const sample of await engine.sample(able, threads)) {
      add(engine, sample);
      console.error(
        `round ${round}: ${engine.peer} ${engine.quant} ${sample.metric} ${rounded(sample.value)}`,
      );
    }
    if (args.out !== undefined) {
      writeFileSync(args.out, results.map((result) => JSON.stringify(result) + "\n").join(""));
    }
  }
}
console.log(table());

function add({ peer, quant }: Engine, { metric, value, part }: Sample): void {
  let result = find(peer, quant, metric);
  if (result === undefined) {
    const { unit } = unitOf(parseMetrics(metric)[0]);
    results.push(result = { peer, model, quant, threads, metric, unit, samples: [], parts: [] });
  }
  result.samples.push(rounded(value));
  if (part !== undefined) result.parts.push(rounded(part));
  result.value = median(result.samples);
  result.when = new Date().toISOString().slice(0, 10);
}

function find(peer: string, quant: string, metric: string): Result | undefined {
  return results.find((result) =>
    result.model === model && result.threads === threads && result.peer === peer && result.quant === quant &&
    result.metric === metric
  );
}

/** A row a metric, a column an engine. */
function table(): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rows = metrics.map(({ name }) => [
    name,
    ...engines.map(({ peer, quant }) => {
      const { samples = [], parts = [] } = find(peer, quant, name) ?? {};
      if (samples.length === 0) return "";
      const range = `${short(median(samples))} (${short(Math.min(...samples))}-${
        short(Math.max(...samples))
      })`;
      return parts.length === 0 ? range : `${range}, ${(100 * median(parts)).toFixed(0)} %`;
    }),
  ]);
  const head = ["", ...engines.map(({ peer, quant }) => `${peer} ${quant}`)];
  return [head, head.map(() => "---"), ...rows].map(line).join("\n");
}

function short(value: number): string {
  return value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : value.toFixed(0);
}
