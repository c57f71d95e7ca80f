/**
 * Where in a vocabulary's tokens a string may end: few tokens hold a quote, and no others are walked.
 * @module
 */
import type { Dfa } from "./dfa.ts";
import { quote } from "./quoted_text.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** The nodes of a trie that are a quote or lie above one, as a trie of their own. */
export class ClosingQuotes {
  readonly #vocabulary: Vocabulary;
  readonly #nodes: Int32Array;
  /** The place in `#nodes` after all those below. */
  readonly #ends: Int32Array;
  readonly #states: Int32Array;

  constructor(vocabulary: Vocabulary) {
    const { byteOf, depthOf, nNodes, longestBytes } = vocabulary;
    const isKept = new Uint8Array(nNodes);
    const path = new Int32Array(longestBytes + 1);
    for (let node = 1; node < nNodes; node++) {
      path[depthOf[node]] = node;
      if (byteOf[node] !== quote) continue;
      for (let depth = depthOf[node]; depth > 0 && isKept[path[depth]] === 0; depth--) {
        isKept[path[depth]] = 1;
      }
    }
    const nodes: number[] = [];
    for (let node = 1; node < nNodes; node++) if (isKept[node] === 1) nodes.push(node);
    this.#nodes = Int32Array.from(nodes);
    this.#ends = new Int32Array(nodes.length);
    const open: number[] = [];
    for (let place = 0; place <= nodes.length; place++) {
      const depth = place < nodes.length ? depthOf[nodes[place]] : 0;
      while (open.length > 0 && depthOf[nodes[open[open.length - 1]]] >= depth) {
        this.#ends[open.pop()!] = place;
      }
      open.push(place);
    }
    this.#states = new Int32Array(longestBytes + 1);
    this.#vocabulary = vocabulary;
  }

  /** The nodes at which the quote behind a string's content may stand, the first to come. */
  after(content: Dfa, inner: number): number[] {
    const { byteOf, depthOf } = this.#vocabulary;
    const states = this.#states;
    states[0] = inner;
    const found: number[] = [];
    for (let place = 0; place < this.#nodes.length;) {
      const node = this.#nodes[place], depth = depthOf[node], before = states[depth - 1];
      const isLast = byteOf[node] === quote && content.accepts(before);
      const next = isLast ? -1 : content.step(before, byteOf[node]);
      if (isLast) found.push(node);
      if (next < 0) place = this.#ends[place];
      else {
        states[depth] = next;
        place++;
      }
    }
    return found;
  }
}
