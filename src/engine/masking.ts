/**
 * Holds logits to a grammar: tokens that may not come are banned before one is drawn.
 * @module
 */
import type { TokenSet } from "../grammar/token_set.ts";

/** What of a `Matcher` or a `LimitedThought` is asked here. */
export interface Guide {
  /** The text may end: tokens that end a reply may be drawn. */
  readonly accepts: boolean;
  /** Tokens that may be drawn, without those that end a reply; null for all. */
  allowed(): TokenSet | null;
  /** Whether one of these is among them; found without the others. */
  allows(token: number): boolean;
}

/**
 * Whether a token may be drawn: with the likeliest one, that is all that a greedy reply has to know.
 * @param stopIds as for `maskLogits`
 */
export function permits(guide: Guide, token: number, stopIds: readonly number[]): boolean {
  return stopIds.includes(token) ? guide.accepts : guide.allows(token);
}

/**
 * @param logits (vocab), changed in place
 * @param stopIds may come where the text may end, and nowhere else
 */
export function maskLogits(logits: Float32Array, guide: Guide, stopIds: readonly number[]): void {
  const allowed = guide.allowed();
  if (allowed === null) return;
  const { ids, words } = allowed;
  const stops = stopIds.map((id) => guide.accepts ? logits[id] : -Infinity);
  if (ids !== null) keepOnly(logits, ids);
  else banOthers(logits, words);
  stopIds.forEach((id, i) => logits[id] = stops[i]);
}

/** Bans all tokens but these. @param logits (vocab), changed in place */
export function keepOnly(logits: Float32Array, ids: ArrayLike<number>): void {
  const kept = Float32Array.from(ids, (id) => logits[id]);
  logits.fill(-Infinity);
  for (let i = 0; i < ids.length; i++) logits[ids[i]] = kept[i];
}

/** @param words a bit for each token that may come; tokens beyond them may not */
function banOthers(logits: Float32Array, words: Uint32Array): void {
  const nInWords = Math.min(logits.length, 32 * words.length);
  for (let i = 0, first = 0; first < nInWords; i++, first += 32) {
    const word = words[i];
    if (word === 0xffffffff) continue;
    const end = Math.min(first + 32, nInWords);
    if (word === 0) {
      logits.fill(-Infinity, first, end);
      continue;
    }
    // From banned one to banned one: to ask of each token in turn is to guess wrong, on one in ten or two.
    for (let banned = ~word; banned !== 0; banned &= banned - 1) {
      const id = first + 31 - Math.clz32(banned & -banned);
      if (id < end) logits[id] = -Infinity;
    }
  }
  logits.fill(-Infinity, nInWords);
}
