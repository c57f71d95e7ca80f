/**
 * Deterministic automata over bytes: made of regular expressions by the subset construction, cut to the
 * states from which an end can be reached, and combined.
 * @module
 */
import type { Expr } from "./expr.ts";
import { type Budget, limits, TooLargeError } from "./limits.ts";
import { Nfa } from "./nfa.ts";
import type { Terminal } from "./terminal.ts";

/** A terminal as a table. Bytes that no state tells apart are one class. */
export class Dfa implements Terminal {
  readonly start = 0;
  readonly maskOwner: object = this;
  readonly nStates: number;
  readonly nClasses: number;
  readonly classOf: Uint8Array;
  readonly #table: Int32Array;
  readonly #accepting: Uint8Array;
  readonly #goesOn: Uint8Array;

  /** @param table (states, classes): the next state or -1; state 0 is the start */
  constructor(
    classOf: Uint8Array,
    nClasses: number,
    table: readonly number[],
    accepting: readonly boolean[],
  ) {
    const nStates = accepting.length;
    const kept = trimmed(table, accepting, nClasses);
    const renamed = new Int32Array(nStates).fill(-1);
    let n = 0;
    for (let state = 0; state < nStates; state++) if (kept[state]) renamed[state] = n++;
    this.classOf = classOf;
    this.nClasses = nClasses;
    this.nStates = n;
    this.#table = new Int32Array(n * nClasses).fill(-1);
    this.#accepting = new Uint8Array(n);
    this.#goesOn = new Uint8Array(n);
    for (let state = 0; state < nStates; state++) {
      const own = renamed[state];
      if (own < 0) continue;
      this.#accepting[own] = accepting[state] ? 1 : 0;
      for (let c = 0; c < nClasses; c++) {
        const next = table[state * nClasses + c];
        if (next < 0 || renamed[next] < 0) continue;
        this.#table[own * nClasses + c] = renamed[next];
        this.#goesOn[own] = 1;
      }
    }
  }

  /** Whether it matches no text at all; then there is no start. */
  get isEmpty(): boolean {
    return this.nStates === 0;
  }

  step(state: number, byte: number): number {
    return this.#table[state * this.nClasses + this.classOf[byte]];
  }

  /** As `step`, by class. */
  stepClass(state: number, byteClass: number): number {
    return this.#table[state * this.nClasses + byteClass];
  }

  accepts(state: number): boolean {
    return this.#accepting[state] === 1;
  }

  goesOn(state: number): boolean {
    return this.#goesOn[state] === 1;
  }

  maskKey(state: number): number {
    return state;
  }
}

/** States from which an accepting one can be reached; none at all where the start is not one of them. */
function trimmed(table: readonly number[], accepting: readonly boolean[], nClasses: number): boolean[] {
  const before: number[][] = accepting.map(() => []);
  for (let cell = 0; cell < table.length; cell++) {
    if (table[cell] >= 0) before[table[cell]].push(Math.floor(cell / nClasses));
  }
  const kept = accepting.map(() => false);
  const queue: number[] = [];
  const keep = (state: number) => {
    if (kept[state]) return;
    kept[state] = true;
    queue.push(state);
  };
  accepting.forEach((isEnd, state) => isEnd && keep(state));
  for (let state = queue.pop(); state !== undefined; state = queue.pop()) before[state].forEach(keep);
  return kept[0] ? kept : accepting.map(() => false);
}

/**
 * The automaton of a regular expression.
 * @throws {TooLargeError}
 */
export function dfaOf(expr: Expr, budget: Budget): Dfa {
  const nfa = new Nfa(expr);
  budget.spend(nfa.edges.length);
  const { classOf, nClasses } = byteClasses(nfa.edges);
  const closer = new Closer(nfa, budget);
  const table: number[] = [];
  const accepting: boolean[] = [];
  const sets: Uint16Array[] = [];
  const known = new Map<string, number>();
  /** Of a state that is led to alone, as most are. */
  const alone = new Map<number, number>();
  const intern = (set: Uint16Array, isStart: boolean): number => {
    const key = keyOf(set);
    const found = isStart ? undefined : known.get(key);
    if (found !== undefined) return found;
    const state = sets.push(set) - 1;
    if (state >= limits.states || (state + 1) * nClasses > limits.cells) {
      throw new TooLargeError("a part of it has too many states");
    }
    accepting.push(closer.reachesEnd(set, isStart));
    for (let c = 0; c < nClasses; c++) table.push(-1);
    if (!isStart) known.set(key, state);
    return state;
  };
  intern(closer.close([0], true), true);
  const next = (from: readonly number[]): number => {
    if (from.length > 1) return intern(closer.close(from, false), false);
    let state = alone.get(from[0]);
    if (state === undefined) alone.set(from[0], state = intern(closer.close(from, false), false));
    return state;
  };
  const targets: number[][] = Array.from({ length: nClasses }, () => []);
  for (let state = 0; state < sets.length; state++) {
    let work = sets[state].length;
    for (const from of sets[state]) {
      const edges = nfa.edges[from];
      for (let i = 0; i < edges.length; i += 3) {
        const last = classOf[edges[i + 1]];
        for (let c = classOf[edges[i]]; c <= last; c++) targets[c].push(edges[i + 2]);
        work += last - classOf[edges[i]] + 1;
      }
    }
    budget.spend(work + nClasses);
    for (let c = 0; c < nClasses; c++) {
      if (targets[c].length === 0) continue;
      table[state * nClasses + c] = next(targets[c]);
      targets[c].length = 0;
    }
  }
  return new Dfa(classOf, nClasses, table, accepting);
}

/** One text for each set of states, of which there are fewer than a text has kinds of units. */
function keyOf(set: Uint16Array): string {
  if (set.length <= 4096) return String.fromCharCode.apply(null, set as unknown as number[]);
  let key = "";
  for (let i = 0; i < set.length; i += 4096) key += String.fromCharCode(...set.subarray(i, i + 4096));
  return key;
}

/**
 * The automaton of a list of texts, such as the values of an enumeration: a trie.
 * @throws {TooLargeError}
 */
export function dfaOfTexts(texts: readonly (readonly number[])[], budget: Budget): Dfa {
  const classOf = new Uint8Array(256);
  let nClasses = 1; // class 0 is in no text
  for (const bytes of texts) for (const byte of bytes) if (classOf[byte] === 0) classOf[byte] = nClasses++;
  const table: number[] = [];
  const accepting: boolean[] = [];
  const add = (): number => {
    if (accepting.length >= limits.states || table.length >= limits.cells) {
      throw new TooLargeError("its texts are too many");
    }
    for (let c = 0; c < nClasses; c++) table.push(-1);
    budget.spend(nClasses >> 3);
    return accepting.push(false) - 1;
  };
  add();
  for (const bytes of texts) {
    let state = 0;
    for (const byte of bytes) {
      const cell = state * nClasses + classOf[byte];
      if (table[cell] < 0) table[cell] = add();
      state = table[cell];
    }
    accepting[state] = true;
  }
  return new Dfa(classOf, nClasses, table, accepting);
}

/** What states lead to without a byte. */
class Closer {
  readonly #nfa: Nfa;
  readonly #budget: Budget;
  /** When a state was last met. */
  readonly #met: Uint32Array;
  #time = 0;
  /** States whose text may end there; made where some end only as the whole text does. */
  #ending: Uint8Array | null = null;

  constructor(nfa: Nfa, budget: Budget) {
    this.#nfa = nfa;
    this.#budget = budget;
    this.#met = new Uint32Array(nfa.edges.length);
  }

  /** @returns the states that read a byte, and those before the end, ascending */
  close(from: readonly number[], isStart: boolean): Uint16Array {
    const { edges, endJumps } = this.#nfa;
    const states = this.#reach(from, isStart, false);
    let n = 0;
    for (let i = 0; i < states.length; i++) {
      const state = states[i];
      if (edges[state].length > 0 || state === 1 || endJumps.has(state)) states[n++] = state;
    }
    states.length = n;
    return Uint16Array.from(states).sort();
  }

  reachesEnd(states: Uint16Array, isStart: boolean): boolean {
    if (this.#nfa.endJumps.size === 0) return states.includes(1);
    if (isStart) return this.#reach(states, isStart, true).includes(1);
    const ending = this.#ending ??= this.#findEnding();
    return states.some((state) => ending[state] === 1);
  }

  #findEnding(): Uint8Array {
    const { jumps, endJumps } = this.#nfa;
    const before: number[][] = jumps.map(() => []);
    jumps.forEach((targets, state) => targets.forEach((to) => before[to].push(state)));
    for (const [state, targets] of endJumps) for (const to of targets) before[to].push(state);
    const ending = new Uint8Array(jumps.length);
    ending[1] = 1;
    const open = [1];
    for (let state = open.pop(); state !== undefined; state = open.pop()) {
      for (const from of before[state]) {
        if (ending[from] === 1) continue;
        ending[from] = 1;
        open.push(from);
      }
    }
    return ending;
  }

  #reach(from: ArrayLike<number>, isStart: boolean, isEnd: boolean): number[] {
    const { jumps, startJumps, endJumps } = this.#nfa;
    const time = ++this.#time;
    const reached: number[] = [];
    const met = this.#met;
    const meet = (states: ArrayLike<number>) => {
      for (let i = 0; i < states.length; i++) {
        const state = states[i];
        if (met[state] === time) continue;
        met[state] = time;
        reached.push(state);
      }
    };
    meet(from);
    for (let i = 0; i < reached.length; i++) {
      const state = reached[i];
      if (jumps[state].length > 0) meet(jumps[state]);
      const atStart = isStart ? startJumps.get(state) : undefined,
        atEnd = isEnd ? endJumps.get(state) : undefined;
      if (atStart !== undefined) meet(atStart);
      if (atEnd !== undefined) meet(atEnd);
    }
    this.#budget.spend(reached.length);
    return reached;
  }
}

/** Bytes that all edges treat alike are one class; classes ascend with the bytes. */
function byteClasses(edges: readonly (readonly number[])[]): { classOf: Uint8Array; nClasses: number } {
  const begins = new Uint8Array(257);
  for (const list of edges) {
    for (let i = 0; i < list.length; i += 3) {
      begins[list[i]] = 1;
      begins[list[i + 1] + 1] = 1;
    }
  }
  const classOf = new Uint8Array(256);
  let c = 0;
  for (let byte = 0; byte < 256; byte++) {
    if (byte > 0 && begins[byte] === 1) c++;
    classOf[byte] = c;
  }
  return { classOf, nClasses: c + 1 };
}

/** Any number of texts, one after the other. @param one none of its texts begins another, and none is empty */
export function repeated(one: Dfa): Dfa {
  const table: number[] = [], accepting: boolean[] = [];
  for (let state = 0; state < one.nStates; state++) {
    accepting.push(state === one.start);
    for (let c = 0; c < one.nClasses; c++) {
      const next = one.stepClass(state, c);
      table.push(next >= 0 && one.accepts(next) ? one.start : next);
    }
  }
  return new Dfa(one.classOf, one.nClasses, table, accepting);
}

/** Texts of both. */
export const intersect = (a: Dfa, b: Dfa, budget: Budget): Dfa => product(a, b, true, budget);
/** Texts of the first that are none of the second. */
export const subtract = (a: Dfa, b: Dfa, budget: Budget): Dfa => product(a, b, false, budget);

function product(a: Dfa, b: Dfa, inBoth: boolean, budget: Budget): Dfa {
  const classOf = new Uint8Array(256);
  const pairs: [number, number][] = [];
  const classOfPair = new Map<number, number>();
  for (let byte = 0; byte < 256; byte++) {
    const pair = a.classOf[byte] * 256 + b.classOf[byte];
    let c = classOfPair.get(pair);
    if (c === undefined) {
      classOfPair.set(pair, c = pairs.length);
      pairs.push([a.classOf[byte], b.classOf[byte]]);
    }
    classOf[byte] = c;
  }
  const table: number[] = [];
  const accepting: boolean[] = [];
  const states: [number, number][] = [];
  const known = new Map<number, number>();
  const intern = (x: number, y: number): number => {
    const key = x * (b.nStates + 1) + y + 1;
    const found = known.get(key);
    if (found !== undefined) return found;
    const state = states.push([x, y]) - 1;
    if (state >= limits.states || (state + 1) * pairs.length > limits.cells) {
      throw new TooLargeError("a part of it has too many states");
    }
    known.set(key, state);
    accepting.push(a.accepts(x) && (y >= 0 && b.accepts(y)) === inBoth);
    for (let c = 0; c < pairs.length; c++) table.push(-1);
    return state;
  };
  if (a.isEmpty || (inBoth && b.isEmpty)) return new Dfa(classOf, pairs.length, [], []);
  intern(a.start, b.isEmpty ? -1 : b.start);
  for (let state = 0; state < states.length; state++) {
    budget.spend(2 * pairs.length);
    const [x, y] = states[state];
    for (let c = 0; c < pairs.length; c++) {
      const nextX = a.stepClass(x, pairs[c][0]);
      const nextY = y < 0 ? -1 : b.stepClass(y, pairs[c][1]);
      if (nextX < 0 || (inBoth && nextY < 0)) continue;
      table[state * pairs.length + c] = intern(nextX, nextY);
    }
  }
  return new Dfa(classOf, pairs.length, table, accepting);
}
