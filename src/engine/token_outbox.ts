/**
 * Tokens on their way out of the Worker. To pass a message on and to write to each client costs some 100 µs apiece,
 * more than a tiny model's token: those wait for one another, but for a sequence's first.
 * @module
 */
import type { NumberedToken, ToldTokens } from "./protocol.ts";

/**
 * How long tokens wait: so long for each sequence that has some, which keeps the cost near 3 % of a processor; and
 * no longer in all, which is 25 times a second.
 */
const waitMs = { each: 5, most: 40 };

export class TokenOutbox {
  #tokens: Map<number, ToldTokens> = new Map();
  /** Sequences whose first token is there. */
  readonly #begun: Set<number> = new Set();
  #hasFirst = false;
  #takenMs = -Infinity;

  add(tokens: readonly NumberedToken[]): void {
    for (const { id, event } of tokens) {
      const told = Number.isNaN(event.logprob) ? event.token : event;
      const before = this.#tokens.get(id);
      if (before === undefined) this.#tokens.set(id, [told]);
      else before.push(told);
      this.#hasFirst ||= !this.#begun.has(id);
      this.#begun.add(id);
    }
  }

  /** A sequence has ended. */
  forget(id: number): void {
    this.#begun.delete(id);
  }

  /** Whether what is here has waited long enough. @param nowMs on a monotonic clock */
  isDue(nowMs: number): boolean {
    const nSequences = this.#tokens.size;
    if (nSequences === 0) return false;
    return this.#hasFirst || nowMs - this.#takenMs >= Math.min(waitMs.most, waitMs.each * nSequences);
  }

  /** @returns what is here, by sequence; null for nothing */
  take(nowMs: number): ReadonlyMap<number, ToldTokens> | null {
    const tokens = this.#tokens;
    if (tokens.size === 0) return null;
    this.#tokens = new Map();
    this.#hasFirst = false;
    this.#takenMs = nowMs;
    return tokens;
  }
}
