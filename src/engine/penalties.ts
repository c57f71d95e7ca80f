/**
 * What changes logits before a token is drawn: penalties on repeated tokens, the caller's bias, tokens and
 * words that may not come, and stop tokens that may not come yet.
 * @module
 */
import { keepOnly } from "./masking.ts";
import type { Sampling } from "./protocol.ts";

/** The tokens of a sequence, as penalties see them. */
export class TokenCounts {
  /** Distinct tokens of prompt and reply. */
  readonly seen: Set<number>;
  /** How often each token stands in the reply. */
  readonly generated: Map<number, number> = new Map();
  /** The last tokens of the reply: as many as stand before the last one of a word that may not come. */
  readonly last: number[] = [];
  readonly #nLast: number;

  constructor(prompt: Iterable<number>, nLast = 0) {
    this.seen = new Set(prompt);
    this.#nLast = nLast;
  }

  /** Counts that go on from these. */
  copy(): TokenCounts {
    const copy = new TokenCounts(this.seen, this.#nLast);
    for (const [token, count] of this.generated) copy.generated.set(token, count);
    copy.last.push(...this.last);
    return copy;
  }

  add(token: number): void {
    if (this.#nLast > 0 && this.last.push(token) > this.#nLast) this.last.shift();
    this.seen.add(token);
    this.generated.set(token, (this.generated.get(token) ?? 0) + 1);
  }
}

/** Whether a sequence's tokens have to be counted, or its last ones known. */
export function needsCounts(sampling: Sampling): boolean {
  const { repetitionPenalty, frequencyPenalty, presencePenalty, badWords } = sampling;
  return repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0 || badWords.length > 0;
}

/** The counts of a new sequence, or null where it needs none. */
export function countsOf(prompt: Iterable<number>, sampling: Sampling): TokenCounts | null {
  if (!needsCounts(sampling)) return null;
  return new TokenCounts(prompt, Math.max(0, ...sampling.badWords.map(({ length }) => length - 1)));
}

/** Whether `adjustLogits` would change anything. */
export function needsAdjusting(sampling: Sampling, nGenerated: number): boolean {
  const { logitBias, allowedIds, minTokens } = sampling;
  return needsCounts(sampling) || logitBias.length > 0 || allowedIds !== null || nGenerated < minTokens;
}

/**
 * @param logits (vocab), changed in place
 * @param counts may be null where `needsCounts` is false
 */
export function adjustLogits(
  logits: Float32Array,
  sampling: Sampling,
  counts: TokenCounts | null,
  nGenerated: number,
): void {
  const { repetitionPenalty, frequencyPenalty, presencePenalty } = sampling;
  if (counts !== null) {
    // Keskar et al. (arXiv:1909.05858, §4.1), with the sign taken care of: a penalty above 1 always lowers.
    if (repetitionPenalty !== 1) {
      for (const token of counts.seen) {
        logits[token] = logits[token] < 0
          ? logits[token] * repetitionPenalty
          : logits[token] / repetitionPenalty;
      }
    }
    if (frequencyPenalty !== 0 || presencePenalty !== 0) {
      for (const [token, count] of counts.generated) {
        logits[token] -= frequencyPenalty * count + presencePenalty;
      }
    }
  }
  for (const [token, bias] of sampling.logitBias) logits[token] += bias;
  if (sampling.allowedIds !== null) keepOnly(logits, sampling.allowedIds);
  for (const word of sampling.badWords) {
    if (counts !== null && isBegun(word, counts.last)) logits[word[word.length - 1]] = -Infinity;
  }
  if (nGenerated < sampling.minTokens) { for (const token of sampling.stopIds) logits[token] = -Infinity; }
}

/** All of a word but its last token stands at the end of a reply. */
function isBegun(word: readonly number[], last: readonly number[]): boolean {
  const first = last.length - (word.length - 1);
  for (let i = 0; i < word.length - 1; i++) if (last[first + i] !== word[i]) return false;
  return true;
}
