/**
 * Replies that ended, waiting to be computed as the prompt tokens that they will be when their conversation
 * goes on: generated tokens are summed by another form of attention, so what the cache holds of them is of no
 * use then. That is done while nothing else is, and the next turn finds all that came before.
 * @module
 */
import type { Beginning } from "./prefix_cache.ts";

/** A prompt and its reply, as one text. */
export interface Reply {
  readonly root: string;
  readonly withMtp: boolean;
  readonly tokens: Int32Array;
  /** Of the prompt, which the cache has as long as nobody needs its blocks. */
  readonly nPrompt: number;
}

/** More than these are not remembered: who goes on soonest was here last. */
const mostReplies = 64;

/** Replies that wait, the newest first. */
export class Settling {
  readonly #waiting: Reply[] = [];

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  add(reply: Reply): void {
    this.#waiting.push(reply);
    if (this.#waiting.length > mostReplies) this.#waiting.shift();
  }

  /** @returns the newest, which waits no longer */
  next(): Reply | undefined {
    return this.#waiting.pop();
  }

  /**
   * The reply that a prompt goes on from, if one waits: it does so no longer.
   * @param nKnown tokens of the prompt that need not be computed
   * @param most tokens of the prompt that may be taken from the cache
   * @returns what both begin with, or null where that is known already
   */
  takeBefore(prompt: Beginning, nKnown: number, most: number): Reply | null {
    let longest = nKnown, at = -1;
    for (const [i, { root, tokens }] of this.#waiting.entries()) {
      if (root !== prompt.root) continue;
      const others = prompt.tokens(0, Math.min(most, tokens.length));
      let nAlike = 0;
      while (nAlike < others.length && others[nAlike] === tokens[nAlike]) nAlike++;
      if (nAlike > longest) [longest, at] = [nAlike, i];
    }
    if (at < 0) return null;
    const [reply] = this.#waiting.splice(at, 1);
    return { ...reply, tokens: reply.tokens.subarray(0, longest) };
  }

  clear(): void {
    this.#waiting.length = 0;
  }
}
