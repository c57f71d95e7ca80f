/**
 * The words behind `hadal bench`.
 * @module
 */
import { parseArgs } from "node:util";
import type { LoadOptions } from "../../load.ts";
import { packedFormats } from "../../tensor/packed_format.ts";
import { defaultMetrics, type Metric, metricsHelp, parseMetrics } from "./metrics.ts";

/** What to measure, and how. */
export interface BenchOptions {
  readonly model: string;
  readonly weights: NonNullable<LoadOptions["weights"]>;
  readonly cacheDtype: "f32" | "bf16" | "f16" | "int8";
  readonly threads: number | "auto";
  readonly repetitions: number;
  /** Null for one token and the end, which whoever started the process takes the time of. */
  readonly metrics: readonly Metric[] | null;
  readonly isJson: boolean;
  /** Results of `--json` to compare with, or null. */
  readonly compare: string | null;
  /** Measure the machine beside each sample. */
  readonly withLimits: boolean;
}

export const benchHelp = `Measures a model on this machine, beside what the machine can do at most

  hadal bench [MODEL] [--metrics LIST] [--json] [--compare OLD.jsonl]

  MODEL               a model as load takes it, by default minnow; or --model MODEL
  --weights FORMAT    auto keeps that of the files; int8, int4, …
  --kv-cache DTYPE    f32 (default), bf16, f16, int8
  --threads N         by default one for each core
  --reps N            samples of each metric, of which the median counts; by default 5
  --metrics LIST      separated by commas, by default
      ${defaultMetrics}
  --json              one JSON object a line and metric instead of a table
  --compare FILE      what an earlier run printed with --json: says how many times better this is
  --no-limits         leaves the machine's limits out, and the memory that measuring them takes
  --help              this text

  ${metricsHelp.replaceAll("\n", "\n  ")}`;

const cacheDtypes = ["f32", "bf16", "f16", "int8"] as const;
const weightFormats = ["auto", "f32", "bf16", "f16", "fp8", ...packedFormats] as const;

/**
 * @returns null when only the help is wanted
 * @throws {Error} in one sentence, what is wrong
 */
export function parseBenchArgs(args: string[]): BenchOptions | null {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      model: { type: "string" },
      weights: { type: "string", default: "auto" },
      "kv-cache": { type: "string", default: "f32" },
      threads: { type: "string" },
      reps: { type: "string", default: "5" },
      metrics: { type: "string", default: defaultMetrics },
      json: { type: "boolean", default: false },
      compare: { type: "string" },
      "no-limits": { type: "boolean", default: false },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) return null;
  const models = [...positionals, ...(values.model === undefined ? [] : [values.model])];
  if (models.length > 1) throw new RangeError(`bench: ${models.length} models were given, one is needed`);
  return {
    model: models[0] ?? "minnow",
    weights: oneOf("weights", values.weights, weightFormats),
    cacheDtype: oneOf("kv-cache", values["kv-cache"], cacheDtypes),
    threads: values.threads === undefined || values.threads === "auto"
      ? "auto"
      : wholeNumber("threads", values.threads, 256),
    repetitions: wholeNumber("reps", values.reps, 1000),
    metrics: values.metrics === "first" ? null : parseMetrics(values.metrics),
    isJson: values.json,
    compare: values.compare ?? null,
    withLimits: !values["no-limits"],
  };
}

function wholeNumber(option: string, word: string, most: number): number {
  const number = Number(word);
  if (/^\d+$/.test(word) && number >= 1 && number <= most) return number;
  throw new RangeError(`--${option}: "${word}" was given, a whole number from 1 to ${most} is needed`);
}

function oneOf<T extends string>(option: string, word: string, words: readonly T[]): T {
  const found = words.find((known) => known === word);
  if (found !== undefined) return found;
  throw new RangeError(`--${option}: "${word}" was given, one of ${words.join(", ")} is needed`);
}
