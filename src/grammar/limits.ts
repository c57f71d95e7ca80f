/**
 * How large a grammar may become: whatever a caller writes is compiled in bounded time and memory, or refused.
 * @module
 */
import { RequestError } from "../errors.ts";

/** Bounds of one terminal. A step of work is some 70 ns. */
export const limits = {
  /** Bytes of a grammar as it is written. */
  sourceBytes: 1 << 20,
  /** Characters of a regular expression. */
  patternLength: 1 << 15,
  /** States of the nondeterministic automaton of one terminal. */
  nfaStates: 30_000,
  /** States of a terminal. */
  states: 100_000,
  /** States times classes of bytes of a terminal. */
  cells: 2_000_000,
  /** Rules, nodes and edges of a grammar. */
  nodes: 400_000,
  /** Calls within calls while a text is read. */
  depth: 256,
  /** Ways in which a text may have been read so far. */
  readings: 2048,
  /** Repetitions that are counted. */
  count: 1 << 24,
};

/** Steps of work that compiling a grammar may take, all its parts together: about a quarter of a second. */
const mostWork = 3_300_000;

/** Counts the work on a grammar. */
export class Budget {
  #left = mostWork;

  /** @throws {TooLargeError} */
  spend(work: number): void {
    this.#left -= work;
    if (this.#left < 0) throw new TooLargeError("compiling it takes too long");
  }
}

/** A grammar is beyond what is compiled. */
export class TooLargeError extends RequestError {
  constructor(problem: string) {
    super(`Cannot use the grammar: ${problem}, a smaller one is needed`, { code: "grammar_too_large" });
  }
}
