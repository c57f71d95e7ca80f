/**
 * Measures: each sample between two looks at what the machine can do, since memory and clocks of a shared
 * machine change within seconds.
 * @module
 */
import { blocksFor } from "../../engine/kv_blocks.ts";
import type { LimitKind, LimitMeter } from "../../backend/native/limits.ts";
import type { LanguageModel } from "../../language_model.ts";
import { folderOf, load } from "../../load.ts";
import { runtime } from "../../runtime.ts";
import { openMeter } from "./machine_limits.ts";
import { batchPrompt, batchTokens, type Metric, roomFor, unitOf } from "./metrics.ts";
import type { BenchOptions } from "./options.ts";
import { runAndWatch } from "./own_process.ts";
import { type BenchRecord, median, rounded } from "./record.ts";
import { type ModelMetric, sample } from "./sample.ts";
import { type ExpertTokens, type ModelWork, modelWork } from "./work.ts";

/** Who is told what. */
export interface BenchReport {
  record(record: BenchRecord): void;
  /** A sentence about what is not measured. */
  leftOut(sentence: string): void;
  /** What is being done, for a person who waits. */
  doing(words: string): void;
}

/** What all records of a run say. */
type Common = Pick<
  BenchRecord,
  "peer" | "model" | "quant" | "cache" | "threads" | "kernels" | "moved" | "runtime" | "when"
>;

/** Threads of the one device go to sleep after a few ms without work, and are in the other's way until then. */
const settleMs = 10;

/**
 * @param ownCommand program and words that start this command again, for metrics of a fresh process
 * @throws what loading throws, or the signal's reason
 */
export async function runBench(
  options: BenchOptions & { readonly metrics: readonly Metric[] },
  report: BenchReport,
  ownCommand: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const work = modelWork(await folderOf(options.model, { signal }), options.weights, options.cacheDtype);
  const metrics = options.metrics.filter((metric) => {
    const { nTokens } = roomFor(metric);
    const most = work.config.maxPositions;
    if (nTokens > most) {
      report.leftOut(`${metric.name} is left out: it needs ${nTokens} tokens, the model takes ${most}`);
    }
    return nTokens <= most;
  });
  if (metrics.length === 0) return;
  const inModel = metrics.filter((metric) => metric.kind !== "process");
  const common = await measureModel(options, inModel, work, report, signal);
  const ofProcess = metrics.filter((metric) => metric.kind === "process").map(({ name }) => name);
  await measureProcesses(options, ofProcess, work, common, report, ownCommand, signal);
}

async function measureModel(
  options: BenchOptions,
  metrics: readonly ModelMetric[],
  work: ModelWork,
  report: BenchReport,
  signal: AbortSignal,
): Promise<Common> {
  report.doing(`loading ${options.model}`);
  const rooms = metrics.map(roomFor);
  const nBlocks = Math.max(1, ...rooms.map((room) => room.nSequences * blocksFor(room.nTokens)));
  await using model = await load(options.model, {
    weights: options.weights,
    threads: options.threads,
    contextLength: Math.max(1, ...rooms.map(({ nTokens }) => nTokens)),
    maxSequences: Math.max(1, ...rooms.map(({ nSequences }) => nSequences)),
    kvCache: { dtype: options.cacheDtype, memory: nBlocks * work.cacheBlockBytes },
    hugePages: metrics.some(({ kind }) => kind !== "firstToken"), // a start is over before they are of use
    mtp: false, // the limits that are held against are those of the network alone
    signal,
  });
  const { name, kernels, threads, backend, contextLength } = model.info;
  const common: Common = {
    peer: "hadal",
    model: name,
    quant: work.format,
    cache: options.cacheDtype,
    threads,
    kernels: backend === "cpu" ? kernels : backend,
    moved: 0,
    runtime: `${runtime.name} ${runtime.version}`,
    when: new Date().toISOString(),
  };
  if (metrics.length === 0) return common;
  const meter = options.withLimits && backend === "cpu" ? await openMeter(kernels, threads) : null;
  try {
    report.doing("warming up");
    // A few hundred tokens meet every expert: from here on all weights are in memory.
    const nTokens = Math.min(256, contextLength - 1);
    await sample(model, { kind: "prefill", name: "", nTokens }, 1, signal);
    const moved = await untilMoved(model, report, signal);
    for (const metric of metrics) {
      report.doing(`measuring ${metric.name}`);
      report.record({
        ...common,
        moved,
        ...await measure(model, metric, work, meter, options.repetitions, signal),
      });
    }
  } finally {
    meter?.close();
  }
  return common;
}

/** @returns GiB of the weights that lie in huge pages of their own, once no more of them move there */
async function untilMoved(model: LanguageModel, report: BenchReport, signal: AbortSignal): Promise<number> {
  report.doing("waiting for weights to lie in huge pages");
  for (;;) {
    const { pendingBytes, movedBytes } = (await model.stats()).memory;
    if (pendingBytes === 0) return rounded(movedBytes / 2 ** 30);
    await new Promise((resolve) => setTimeout(resolve, 50));
    signal.throwIfAborted();
  }
}

async function measure(
  model: LanguageModel,
  metric: ModelMetric,
  work: ModelWork,
  meter: LimitMeter | null,
  repetitions: number,
  signal: AbortSignal,
): Promise<Pick<BenchRecord, "metric" | "unit" | "value" | "samples" | "limit" | "part" | "note">> {
  const kind = limitOf(metric, work);
  const samples: number[] = [], limits: number[] = [];
  const look = async () => {
    await settle();
    const found = meter === null || kind === null ? NaN : meter.measure(kind);
    await settle();
    return found;
  };
  const before = (await model.stats()).expertTokens;
  for (let i = 0, last = await look(); i < repetitions; i++) {
    samples.push(await sample(model, metric, i + 2, signal));
    signal.throwIfAborted();
    const next = await look();
    limits.push((last + next) / 2);
    last = next;
  }
  const load = loadSince(before, (await model.stats()).expertTokens);
  const found = {
    metric: metric.name,
    unit: unitOf(metric).unit,
    value: rounded(median(samples)),
    samples: samples.map(rounded),
  };
  if (meter === null || kind === null) return found;
  const perToken = costOfToken(metric, work, load);
  return {
    ...found,
    limit: { kind, samples: limits.map(rounded) },
    part: rounded(median(samples.map((rate, i) => rate * perToken / limits[i]))),
    ...(metric.kind === "batch" && metric.texts === "different" && work.config.routing !== null
      ? { note: "experts that a step meets: expected from how often each was chosen" }
      : {}),
  };
}

/** What bounds a metric, if a single thing does. */
function limitOf(metric: ModelMetric, work: ModelWork): LimitKind | null {
  if (metric.kind === "firstToken") return null;
  return metric.kind === "prefill" ? work.usesInt8 ? "int8" : "f32" : "read";
}

/** @returns what a token takes of the metric's limit: operations or bytes */
function costOfToken(metric: ModelMetric, work: ModelWork, load: ExpertTokens): number {
  switch (metric.kind) {
    case "prefill":
      return work.promptOps(metric.nTokens) / metric.nTokens;
    case "decode":
      return work.stepBytes(1, metric.depth + metric.nTokens / 2, null);
    case "batch": {
      const { nSequences } = metric, depth = batchPrompt + batchTokens / 2;
      // Of equal texts all caches are read, but the weights of a single token.
      const bytes = metric.texts === "equal"
        ? work.stepBytes(1, nSequences * depth, null)
        : work.stepBytes(nSequences, depth, load);
      return bytes / nSequences;
    }
    case "firstToken":
      return NaN;
  }
}

function loadSince(before: ExpertTokens, now: ExpertTokens): ExpertTokens {
  return now.map((tokens, layer) => tokens.map((count, expert) => count - (before[layer]?.[expert] ?? 0)));
}

async function measureProcesses(
  options: BenchOptions,
  names: readonly string[],
  work: ModelWork,
  common: Common,
  report: BenchReport,
  ownCommand: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const { model, weights, cacheDtype, threads, repetitions } = options;
  const again = (metrics: string) => {
    const words = [
      "--model",
      model,
      "--weights",
      weights,
      "--kv-cache",
      cacheDtype,
      "--threads",
      `${threads}`,
    ];
    const how = ["--metrics", metrics, "--reps", "1", "--json", "--no-limits"];
    return runAndWatch([...ownCommand, ...words, ...how], signal);
  };
  const record = (metric: string, unit: string, samples: readonly number[]) =>
    report.record({
      ...common,
      metric,
      unit,
      value: rounded(median(samples)),
      samples: samples.map(rounded),
    });

  if (names.includes("cold")) {
    report.doing("measuring cold");
    await again("first"); // brings files into the system's cache
    const samples: number[] = [];
    for (let i = 0; i < repetitions; i++) samples.push((await again("first")).firstSeconds);
    record("cold", "s", samples);
  }
  const memory = names.filter((name) => name === "rss" || name === "anon");
  if (memory.length === 0) return;
  report.doing(`measuring ${memory.join(", ")}`);
  const nPrompt = Math.min(512, work.config.maxPositions - 1);
  const nTokens = Math.min(64, work.config.maxPositions - 2);
  const bytes: { readonly rss: number | null; readonly anon: number | null }[] = [];
  for (let i = 0; i < repetitions; i++) {
    const { residentBytes: rss, privateBytes: anon } = await again(`pp${nPrompt},tg${nTokens}@0`);
    bytes.push({ rss, anon });
  }
  for (const name of memory) {
    const samples = bytes.map((found) => found[name]).filter((found) => found !== null);
    if (samples.length > 0) record(name, "GiB", samples.map((found) => found / 2 ** 30));
    else report.leftOut(`${name} is left out: it is read from /proc, which this system lacks`);
  }
}

function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, settleMs));
}
