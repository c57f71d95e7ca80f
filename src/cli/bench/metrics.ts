/**
 * What `hadal bench` measures: names as people and bench/README.md write them.
 * @module
 */

/** A thing to measure. */
export type Metric =
  | { readonly kind: "prefill"; readonly name: string; readonly nTokens: number }
  | { readonly kind: "decode"; readonly name: string; readonly nTokens: number; readonly depth: number }
  | {
    readonly kind: "batch";
    readonly name: string;
    readonly nSequences: number;
    /** Different ones meet many experts, equal ones those of a single token. */
    readonly texts: "different" | "equal";
  }
  | { readonly kind: "firstToken"; readonly name: string; readonly nTokens: number }
  | { readonly kind: "process"; readonly name: "cold" | "rss" | "anon" };

/** What is measured unless told otherwise. */
export const defaultMetrics =
  "pp512,pp2048,tg64@0,tg64@2048,tg64@16384,batch1,batch4,batch8,batch16,ttft128,cold,rss,anon";

/** Prompt and generated tokens of each sequence of a batch. */
export const batchPrompt = 128, batchTokens = 32;

/** For the help. */
export const metricsHelp = `ppN          prompt tokens a second, prompts of N tokens
tgN@DEPTH    generated tokens a second, N of them behind DEPTH tokens
batchN       generated tokens a second of N sequences together, each a text of its own
equalN       the same, all of one text: every token of a step meets the same experts
ttftN        milliseconds to the first token behind N tokens, model loaded
cold         seconds from the start of a process to its first token
rss, anon    most resident and private memory of a process that reads and writes some text, GiB`;

/** @throws {RangeError} naming the metric that there is not */
export function parseMetrics(list: string): Metric[] {
  return list.split(",").map((name) => parseMetric(name.trim()));
}

function parseMetric(name: string): Metric {
  const [, word, first, second] = /^(pp|tg|batch|equal|ttft)(\d{1,6})(?:@(\d{1,7}))?$/.exec(name) ?? [];
  const count = Number(first);
  const isWhole = (second === undefined) !== (word === "tg") && count > 0;
  if (word === "pp" && isWhole) return { kind: "prefill", name, nTokens: count };
  if (word === "tg" && isWhole) return { kind: "decode", name, nTokens: count, depth: Number(second) };
  if ((word === "batch" || word === "equal") && isWhole && count <= 4096) {
    return { kind: "batch", name, nSequences: count, texts: word === "batch" ? "different" : "equal" };
  }
  if (word === "ttft" && isWhole) return { kind: "firstToken", name, nTokens: count };
  if (name === "cold" || name === "rss" || name === "anon") return { kind: "process", name };
  throw new RangeError(
    `--metrics: "${name}" was given, a name like pp512, tg64@0, batch8, ttft128, cold, rss or anon is needed`,
  );
}

/** How a metric is counted, and whether more of it is better. */
export function unitOf({ kind, name }: Metric): { readonly unit: string; readonly moreIsBetter: boolean } {
  if (kind === "firstToken") return { unit: "ms", moreIsBetter: false };
  if (kind !== "process") return { unit: "tokens/s", moreIsBetter: true };
  return { unit: name === "cold" ? "s" : "GiB", moreIsBetter: false };
}

/** Sequences that a metric keeps at once, and the tokens of each. */
export function roomFor(metric: Metric): { readonly nSequences: number; readonly nTokens: number } {
  switch (metric.kind) {
    case "prefill":
    case "firstToken":
      return { nSequences: 1, nTokens: metric.nTokens + 1 };
    case "decode":
      return { nSequences: 1, nTokens: Math.max(1, metric.depth) + metric.nTokens + 1 };
    case "batch":
      return { nSequences: metric.nSequences, nTokens: batchPrompt + batchTokens + 1 };
    case "process":
      return { nSequences: 1, nTokens: 64 }; // it sees to itself
  }
}
