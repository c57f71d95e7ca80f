/**
 * What an automaton reads of texts that go on, whatever texts it accepts: after `.*cat.*dog.*` has read its cat, the
 * same bytes may come as before. States that are alike in this let the same tokens come, so that those are
 * looked for once: for all such states, and for those of other automata too.
 * @module
 */
import type { Dfa } from "./dfa.ts";

/** Cells of the table that are looked at before states are taken for different ones: some milliseconds. */
const mostWork = 500_000;
/** Rounds that there must be time for: a large table is not even begun with. */
const leastRounds = 8;
/** Kinds of states that a key tells of. */
const mostKinds = 300;

export class Beginnings {
  readonly #dfa: Dfa;
  /** The kind of each state, by number; null where finding that takes too long. */
  readonly #kinds: Int32Array | null;
  readonly #keys = new Map<number, string | null>();

  constructor(dfa: Dfa) {
    this.#dfa = dfa;
    this.#kinds = kindsOf(dfa);
  }

  /** @returns equal texts for states from which the same bytes may come, in any automata; null where that is not known */
  keyOf(state: number): string | null {
    if (this.#kinds === null) return null;
    const kind = this.#kinds[state];
    let key = this.#keys.get(kind);
    if (key === undefined) this.#keys.set(kind, key = this.#write(this.#kinds, state));
    return key;
  }

  /** All kinds that can be reached, in the order in which bytes lead to them. */
  #write(kinds: Int32Array, state: number): string | null {
    const dfa = this.#dfa;
    const states = [state];
    const numbers = new Map([[kinds[state], 1]]);
    const written: number[] = [];
    for (const from of states) {
      let before = 0; // nothing can come
      for (let byte = 0; byte < 256; byte++) {
        const next = dfa.step(from, byte);
        let number = next < 0 ? 0 : numbers.get(kinds[next]);
        if (number === undefined) {
          numbers.set(kinds[next], number = states.push(next));
          if (number > mostKinds) return null;
        }
        if (number !== before) written.push(byte, number);
        before = number;
      }
      written.push(-1);
    }
    return written.join();
  }
}

/** Moore's refinement of one kind, in which every state counts as accepting. */
function kindsOf(dfa: Dfa): Int32Array | null {
  const { nStates, nClasses } = dfa;
  if (leastRounds * nStates * nClasses > mostWork) return null;
  let kinds = new Int32Array(nStates), nKinds = 1;
  for (let work = 0; (work += nStates * nClasses) <= mostWork;) {
    const refined = new Int32Array(nStates);
    const firsts: number[] = [];
    const byHash = new Map<number, number[]>();
    const areAlike = (a: number, b: number): boolean => {
      for (let c = 0; c < nClasses; c++) if (after(a, c) !== after(b, c)) return false;
      return true;
    };
    for (let state = 0; state < nStates; state++) {
      let hash = 0;
      for (let c = 0; c < nClasses; c++) hash = Math.imul(hash ^ after(state, c), 0x9e3779b1) + c | 0;
      let same = byHash.get(hash);
      if (same === undefined) byHash.set(hash, same = []);
      let kind = same.find((each) => areAlike(firsts[each], state));
      if (kind === undefined) same.push(kind = firsts.push(state) - 1);
      refined[state] = kind;
    }
    if (firsts.length === nKinds) return kinds;
    kinds = refined;
    nKinds = firsts.length;
  }
  return null;

  function after(state: number, c: number): number {
    const next = dfa.stepClass(state, c);
    return next < 0 ? -1 : kinds[next];
  }
}
