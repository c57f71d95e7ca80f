/**
 * A string of JSON: what stands between the quotes follows an automaton over the bytes as they are written, and
 * may have a least and a most number of characters. The count is part of the state and no state is laid
 * out, so that a million characters cost what one costs.
 * @module
 */
import type { Dfa } from "./dfa.ts";
import type { Terminal } from "./terminal.ts";

export const quote = 0x22;
const outside = 0;
const ended = 1;
const firstInside = 2;

/** Where a string stands between its quotes. */
export interface Inside {
  /** State of the content. */
  readonly inner: number;
  /** Characters that must still end, and may still begin; one that has begun counts among both. */
  readonly missing: number;
  readonly left: number;
}

export class QuotedText implements Terminal {
  readonly start = outside;
  /** Strings of all lengths read tokens alike, far from their ends. */
  readonly maskOwner: Dfa;
  /** Whether its number of characters has bounds. */
  readonly isCounted: boolean;
  readonly #min: number;
  readonly #max: number;

  /**
   * @param content not empty, and a terminal nowhere else; it begins no character with a quote. Where there are bounds
   *   it accepts wherever a character may begin or the string end, and nowhere else
   * @param max may be Infinity; not below `min`
   */
  constructor(content: Dfa, min = 0, max = Infinity) {
    this.maskOwner = content;
    this.isCounted = min > 0 || max < Infinity;
    this.#min = min;
    this.#max = max;
  }

  step(state: number, byte: number): number {
    if (state === outside) return byte === quote ? firstInside + this.maskOwner.start : -1;
    if (state === ended) return -1;
    const content = this.maskOwner, { nStates } = content;
    const inner = (state - firstInside) % nStates, count = Math.floor((state - firstInside) / nStates);
    const isBetween = content.accepts(inner);
    // Between characters a quote ends the string: one that is meant stands behind a backslash.
    if (isBetween && byte === quote) return count >= this.#min ? ended : -1;
    if (isBetween && count >= this.#max) return -1;
    const next = content.step(inner, byte);
    if (next < 0) return -1;
    // Beyond the last count that matters all are one.
    const most = this.#max === Infinity ? this.#min : this.#max;
    return firstInside + Math.min(most, count + (content.accepts(next) ? 1 : 0)) * nStates + next;
  }

  accepts(state: number): boolean {
    return state === ended;
  }

  goesOn(state: number): boolean {
    return state !== ended;
  }

  /** @returns null before the first quote and after the last */
  inside(state: number): Inside | null {
    if (state < firstInside) return null;
    const { nStates } = this.maskOwner;
    const count = Math.floor((state - firstInside) / nStates);
    const missing = Math.max(0, this.#min - count);
    return { inner: (state - firstInside) % nStates, missing, left: this.#max - count };
  }

  maskKey(state: number, longestBytes: number): number {
    if (state === ended) return -1;
    const before = { inner: this.maskOwner.nStates, missing: this.#min, left: this.#max };
    const { inner, missing, left } = this.inside(state) ?? before;
    // A token has no more characters than bytes: it cannot tell more of them from many more.
    return (inner * (longestBytes + 1) + Math.min(longestBytes, missing)) * (longestBytes + 1) +
      Math.min(longestBytes, left);
  }
}
