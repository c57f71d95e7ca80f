/**
 * Regular expressions to nondeterministic automata over the bytes of UTF-8 (Thompson's construction).
 * @module
 */
import type { CharSet } from "./char_set.ts";
import type { Expr } from "./expr.ts";
import { limits, TooLargeError } from "./limits.ts";
import { byteSequences } from "./utf8.ts";

const sequences = new WeakMap<CharSet, readonly (readonly number[])[]>();

/** The bytes of some characters; a set is asked for again wherever it stands. */
function sequencesOf(set: CharSet): readonly (readonly number[])[] {
  let known = sequences.get(set);
  if (known === undefined) {
    const found: number[][] = [];
    for (let i = 0; i < set.length; i += 2) found.push(...byteSequences(set[i], set[i + 1]));
    sequences.set(set, known = found);
  }
  return known;
}

/** States are numbers from 0, the start; 1 is the end. */
export class Nfa {
  /** first byte, last byte, next state, … of each state. */
  readonly edges: number[][] = [[], []];
  /** Where a state leads without a byte. */
  readonly jumps: number[][] = [[], []];
  /** As `jumps`, but only before the first byte. */
  readonly startJumps = new Map<number, number[]>();
  /** As `jumps`, but only after the last byte. */
  readonly endJumps = new Map<number, number[]>();

  constructor(expr: Expr) {
    this.#add(expr, 0, 1);
  }

  #state(): number {
    if (this.edges.length >= limits.nfaStates) {
      throw new TooLargeError(`a part of it has more than ${limits.nfaStates} states`);
    }
    this.jumps.push([]);
    return this.edges.push([]) - 1;
  }

  #add(expr: Expr, from: number, to: number): void {
    switch (expr.kind) {
      case "chars":
        return this.#addChars(expr.set, from, to);
      case "bytes":
        return this.#addBytes(expr.bytes.flatMap((byte) => [byte, byte]), from, to);
      case "sequence": {
        let at = from;
        expr.items.forEach((item, i) => {
          const next = i === expr.items.length - 1 ? to : this.#state();
          this.#add(item, at, next);
          at = next;
        });
        if (expr.items.length === 0) this.jumps[from].push(to);
        return;
      }
      case "choice":
        for (const item of expr.items) {
          // A way of its own: a repetition inside must not lead back into the others.
          const own = this.#state();
          this.jumps[from].push(own);
          this.#add(item, own, to);
        }
        return;
      case "repeat":
        return this.#addRepeat(expr, from, to);
      case "edge": {
        const jumps = expr.at === "start" ? this.startJumps : this.endJumps;
        jumps.set(from, [...jumps.get(from) ?? [], to]);
        return;
      }
      case "rule":
      case "terminal":
        throw new TypeError(`Cannot make an automaton: a ${expr.kind} stands in a regular expression`);
    }
  }

  #addRepeat({ item, min, max }: Expr & { kind: "repeat" }, from: number, to: number): void {
    let at = from;
    for (let i = 0; i < min; i++) {
      const next = this.#state();
      this.#add(item, at, next);
      at = next;
    }
    if (max === Infinity) {
      const loop = this.#state(), back = this.#state();
      this.jumps[at].push(loop);
      this.#add(item, loop, back);
      this.jumps[back].push(loop);
      this.jumps[loop].push(to);
      return;
    }
    for (let i = min; i < max; i++) {
      const next = this.#state();
      this.jumps[at].push(to);
      this.#add(item, at, next);
      at = next;
    }
    this.jumps[at].push(to);
  }

  #addChars(set: readonly number[], from: number, to: number): void {
    for (const ranges of sequencesOf(set)) this.#addBytes(ranges, from, to);
  }

  /** @param ranges first, last of each byte in turn */
  #addBytes(ranges: readonly number[], from: number, to: number): void {
    let at = from;
    for (let i = 0; i < ranges.length; i += 2) {
      const next = i + 2 === ranges.length ? to : this.#state();
      this.edges[at].push(ranges[i], ranges[i + 1], next);
      at = next;
    }
  }
}
