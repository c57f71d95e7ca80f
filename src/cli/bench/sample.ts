/**
 * One sample of what a loaded model does: through the public interface, as a program would use it.
 * @module
 */
import type { LanguageModel } from "../../language_model.ts";
import { batchPrompt, batchTokens, type Metric } from "./metrics.ts";

/** Metrics of a model that is loaded. */
export type ModelMetric = Exclude<Metric, { kind: "process" }>;

/**
 * @param seed another one gives other texts
 * @returns the value, in the metric's unit
 * @throws the signal's reason
 */
export async function sample(
  model: LanguageModel,
  metric: ModelMetric,
  seed: number,
  signal: AbortSignal,
): Promise<number> {
  const { vocabSize } = model.info;
  const options = { temperature: 0, ignoreEos: true, signal };
  switch (metric.kind) {
    case "prefill": {
      const reply = await model.complete(text(metric.nTokens, seed, vocabSize), { ...options, maxTokens: 1 });
      signal.throwIfAborted();
      return 1000 * (metric.nTokens - reply.usage.cachedTokens) / reply.timings.prefillMs;
    }
    case "decode": {
      // What is far back is the same for all samples: a cache of prefixes then has it already.
      const prompt = text(Math.max(1, metric.depth), 1, vocabSize);
      prompt.splice(Math.max(0, prompt.length - 8), 8, ...text(Math.min(8, prompt.length), seed, vocabSize));
      const reply = await model.complete(prompt, { ...options, maxTokens: metric.nTokens + 1 });
      signal.throwIfAborted();
      return 1000 * metric.nTokens / reply.timings.decodeMs; // the first token comes with the prompt
    }
    case "batch": {
      const prompts = Array.from(
        { length: metric.nSequences },
        (_, i) => text(batchPrompt, 1000 * seed + (metric.texts === "equal" ? 0 : i), vocabSize),
      );
      return await togetherRate(
        prompts.map((prompt) => model.complete(prompt, { ...options, maxTokens: batchTokens + 1 })),
        signal,
      );
    }
    case "firstToken": {
      const start = performance.now();
      await model.complete(text(metric.nTokens, seed, vocabSize), { ...options, maxTokens: 1 });
      signal.throwIfAborted();
      return performance.now() - start;
    }
  }
}

async function togetherRate(
  replies: readonly ReturnType<LanguageModel["complete"]>[],
  signal: AbortSignal,
): Promise<number> {
  const written = await Promise.all(replies.map(async (reply) => {
    const parts: Arrival[] = [];
    for await (const { tokens } of reply) parts.push({ ms: performance.now(), nTokens: tokens.length });
    return { parts, decodeMs: (await reply).timings.decodeMs };
  }));
  signal.throwIfAborted();
  return rateTogether(written);
}

/** Tokens of a reply that came at once. */
interface Arrival {
  readonly ms: number;
  readonly nTokens: number;
}

/** Tokens of one step may wait for those of others so long: in less, arrivals say nothing of a rate. */
const leastMs = 5;

/**
 * @param replies what came of each, and the time from its first token to its last
 * @returns tokens a second while all replies are being written: from the last first token to the first end
 */
export function rateTogether(
  replies: readonly { readonly parts: readonly Arrival[]; readonly decodeMs: number }[],
): number {
  const arrivals = replies.map(({ parts }) => parts);
  const begin = Math.max(...arrivals.map((parts) => parts[0].ms));
  const end = Math.min(...arrivals.map((parts) => parts[parts.length - 1].ms));
  if (end - begin < leastMs) { // a network so small that all came at once
    const all = arrivals.flat().reduce((sum, { nTokens }) => sum + nTokens, -replies.length);
    return 1000 * all / Math.max(...replies.map(({ decodeMs }) => decodeMs));
  }
  const inside = arrivals.flat().filter(({ ms }) => ms > begin && ms <= end);
  return 1000 * inside.reduce((sum, { nTokens }) => sum + nTokens, 0) / (end - begin);
}

/** Different tokens for each seed, away from the control tokens at the vocabulary's ends. */
export function text(nTokens: number, seed: number, vocabSize: number): number[] {
  const first = Math.min(100, vocabSize >> 2),
    choices = Math.max(1, Math.min(vocabSize - 2 * first, 100_000));
  let state = Math.imul(seed, 2654435761) >>> 0;
  return Array.from({ length: nTokens }, () => {
    state = Math.imul(state, 1664525) + 1013904223 >>> 0;
    return first + (state >>> 8) % choices;
  });
}
