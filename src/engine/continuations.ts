/**
 * What beam search reads of a row of logits.
 * @module
 */
import type { Continuations } from "./beam_search.ts";
import { likeliest, logSumExp } from "./logprobs.ts";
import { maskLogits } from "./masking.ts";
import { adjustLogits, needsAdjusting } from "./penalties.ts";
import type { Sampling } from "./protocol.ts";
import type { Sequence } from "./sequence.ts";

/** What of a hypothesis decides how it may go on. */
type Hypothesis = Pick<Sequence, "counts" | "nGenerated" | "grammar">;

/** Finds the likeliest continuations in rows of one width; its scratch memory serves all rows in turn. */
export class ContinuationFinder {
  readonly #adjusted: Float32Array<ArrayBuffer>;

  constructor(vocabSize: number) {
    this.#adjusted = new Float32Array(vocabSize);
  }

  /**
   * Penalties, bias and bans act on log-probabilities, as in transformers' beam search; so does a grammar.
   * @param logits (vocab), finite; not kept
   * @param hypothesis its tokens so far
   * @param count how many are wanted, at most
   */
  find(logits: Float32Array, hypothesis: Hypothesis, sampling: Sampling, count: number): Continuations {
    const { counts, nGenerated, grammar } = hypothesis;
    const total = logSumExp(logits);
    const nWanted = Math.min(count, logits.length);
    let ids: number[], scores: number[];
    if (grammar !== null || needsAdjusting(sampling, nGenerated)) {
      const adjusted = this.#adjusted;
      for (let id = 0; id < logits.length; id++) adjusted[id] = logits[id] - total;
      adjustLogits(adjusted, sampling, counts, nGenerated);
      if (grammar !== null) maskLogits(adjusted, grammar, sampling.stopIds);
      ids = likeliest(adjusted, nWanted).filter((id) => adjusted[id] !== -Infinity);
      scores = ids.map((id) => adjusted[id]);
    } else {
      ids = likeliest(logits, nWanted);
      scores = ids.map((id) => logits[id] - total);
    }
    const isFinal = (id: number): boolean => {
      const after = grammar?.copy();
      after?.advance(id);
      return after?.isFinished ?? false;
    };
    // ln p is never above 0, where a repetition penalty multiplies: see adjustLogits.
    const penaltyFactor = (id: number): number => counts?.seen.has(id) ? sampling.repetitionPenalty : 1;
    const row = { ids, scores, isFinal, penaltyFactor };
    const nTop = sampling.topLogprobs;
    if (nTop === null) return { ...row, event: (token) => ({ token, logprob: NaN, top: [] }) };
    const top = likeliest(logits, Math.min(nTop, logits.length)).map((id) =>
      [id, logits[id] - total] as const
    );
    const logprobs = new Map(ids.map((id) => [id, logits[id] - total]));
    return { ...row, event: (token) => ({ token, logprob: logprobs.get(token)!, top }) };
  }
}
