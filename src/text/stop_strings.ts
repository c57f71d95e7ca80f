/**
 * Ends a streamed text before the first of some strings. Text that may turn out to begin one is held
 * back, nothing else. All strings are looked for at once with the automaton of Aho and Corasick (1975):
 * one step for each character, however many strings there are and however they repeat themselves.
 * @module
 */

/** What a piece of text may be passed on as. */
export interface StopResult {
  readonly text: string;
  /** A stop string was found; what follows it is not to be shown. */
  readonly stopped: boolean;
}

export class StopStrings {
  /** state * 2^16 + UTF-16 unit -> state, for each text that begins a stop string; 0 has seen nothing. */
  readonly #edges = new Map<number, number>();
  /** The state of the longest proper suffix that begins a stop string. */
  readonly #suffix: number[] = [0];
  /** How many units of a stop string a state has seen. */
  readonly #depth: number[] = [0];
  /** Length of the longest stop string that ends here, 0 for none. */
  readonly #found: number[] = [0];
  #state = 0;
  #held = "";
  #stopped: string | null = null;

  /** @throws {TypeError} for an empty string, which would end every text */
  constructor(stops: readonly string[]) {
    const parents: [state: number, parent: number, unit: number][] = [];
    for (const stop of stops) {
      if (stop === "") throw new TypeError("Cannot stop at an empty string");
      let state = 0;
      for (let i = 0; i < stop.length; i++) {
        const edge = state * 0x10000 + stop.charCodeAt(i);
        let next = this.#edges.get(edge);
        if (next === undefined) {
          this.#edges.set(edge, next = this.#depth.length);
          this.#depth.push(this.#depth[state] + 1);
          this.#found.push(0);
          this.#suffix.push(0);
          parents.push([next, state, stop.charCodeAt(i)]);
        }
        state = next;
      }
      this.#found[state] = stop.length;
    }
    // Short states first: the suffix of a state is shorter than the state.
    parents.sort(([a], [b]) => this.#depth[a] - this.#depth[b]);
    for (const [state, parent, unit] of parents) {
      const suffix = parent === 0 ? 0 : this.#step(this.#suffix[parent], unit);
      this.#suffix[state] = suffix;
      this.#found[state] ||= this.#found[suffix];
    }
  }

  /** The string that ended the text, or null while none has. */
  get stoppedAt(): string | null {
    return this.#stopped;
  }

  /** After the end was found, every text is dropped. */
  push(text: string): StopResult {
    if (this.#stopped !== null) return { text: "", stopped: true };
    if (this.#edges.size === 0) return { text, stopped: false };
    const all = this.#held + text;
    for (let i = this.#held.length; i < all.length; i++) {
      this.#state = this.#step(this.#state, all.charCodeAt(i));
      const length = this.#found[this.#state];
      if (length > 0) {
        this.#stopped = all.slice(i + 1 - length, i + 1);
        this.#held = "";
        return { text: all.slice(0, i + 1 - length), stopped: true };
      }
    }
    const certain = all.length - this.#depth[this.#state];
    this.#held = all.slice(certain);
    return { text: all.slice(0, certain), stopped: false };
  }

  /** The text that was held back, when no more follows. */
  end(): string {
    const held = this.#held;
    this.#held = "";
    this.#state = 0;
    return held;
  }

  #step(state: number, unit: number): number {
    for (let from = state;; from = this.#suffix[from]) {
      const next = this.#edges.get(from * 0x10000 + unit);
      if (next !== undefined) return next;
      if (from === 0) return 0;
    }
  }
}
