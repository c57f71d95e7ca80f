/**
 * The tokens that may come inside of a string of bounded length: one walk through the vocabulary
 * serves all counts, since what a count forbids is a token that begins too many characters, or a quote that comes
 * too early.
 * @module
 */
import { type Across, acrossOf } from "./across.ts";
import type { Dfa } from "./dfa.ts";
import { type Inside, quote } from "./quoted_text.ts";
import { mostIds, sizeBytesOf, type TokenSet, tokenSet } from "./token_set.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** What a terminal's state says of the tokens. */
export interface StateTokens {
  /** Those that it reads whole. */
  readonly within: TokenSet;
  /** Where tokens go on behind the terminal's end. */
  readonly across: Across;
}

/** What follows one state of a string's content. */
export class StringTokens {
  readonly sizeBytes: number;
  readonly #vocabulary: Vocabulary;
  /** Tokens that end inside, and how many characters each begins; one that had begun counts. */
  #ids: Int32Array;
  #begun: Int32Array;
  /** Once the tokens are in the order of `#begun`: how many begin at most 0, 1, … characters. */
  #ends: Int32Array | null = null;
  readonly #all: TokenSet;
  /** Nodes of the trie at which the string's last quote may stand, and the characters before it. */
  readonly #quotes: readonly { readonly node: number; readonly nBefore: number }[];

  constructor(vocabulary: Vocabulary, content: Dfa, inner: number) {
    const { byteOf, depthOf, endOf, tokenAt, sameAs, nNodes, longestBytes, size } = vocabulary;
    const states = new Int32Array(longestBytes + 1), begun = new Int32Array(longestBytes + 1);
    states[0] = inner;
    begun[0] = content.accepts(inner) ? 0 : 1;
    const ids = new Int32Array(size), begunBy = new Int32Array(size);
    const quotes: { node: number; nBefore: number }[] = [];
    let n = 0;
    for (let node = 1; node < nNodes;) {
      const depth = depthOf[node], byte = byteOf[node], before = states[depth - 1];
      const isBetween = content.accepts(before);
      const next = isBetween && byte === quote ? -1 : content.step(before, byte);
      if (next < 0) {
        if (isBetween && byte === quote) quotes.push({ node, nBefore: begun[depth - 1] });
        node = endOf[node];
        continue;
      }
      states[depth] = next;
      begun[depth] = begun[depth - 1] + (isBetween ? 1 : 0);
      for (let id = tokenAt[node]; id >= 0; id = sameAs[id]) {
        ids[n] = id;
        begunBy[n++] = begun[depth];
      }
      node++;
    }
    this.#ids = ids.slice(0, n);
    this.#begun = begunBy.slice(0, n);
    this.#all = tokenSet(this.#ids, size);
    this.#quotes = quotes;
    this.#vocabulary = vocabulary;
    this.sizeBytes = 8 * n + sizeBytesOf(this.#all) + 32 * quotes.length;
  }

  /** What may follow with so many characters to come. */
  within({ missing, left }: Inside): StateTokens {
    const { tokenAt, sameAs } = this.#vocabulary;
    const ending: number[] = [], ends: number[] = [];
    for (const { node, nBefore } of this.#quotes) {
      if (nBefore < missing || nBefore > left) continue;
      for (let id = tokenAt[node]; id >= 0; id = sameAs[id]) ending.push(id);
      ends.push(node);
    }
    return { within: this.#join(this.#count(left), ending), across: acrossOf(this.#vocabulary, ends) };
  }

  /** @returns how many of the first tokens begin at most `left` characters, and no later one does */
  #count(left: number): number {
    const longest = this.#vocabulary.longestBytes;
    if (left >= longest) return this.#ids.length;
    return (this.#ends ??= this.#sort(longest))[left];
  }

  #sort(longest: number): Int32Array {
    const ids = this.#ids, begun = this.#begun;
    const ends = new Int32Array(longest + 1);
    for (const count of begun) ends[count]++;
    for (let count = 1; count <= longest; count++) ends[count] += ends[count - 1];
    const places = Int32Array.of(0, ...ends);
    this.#ids = new Int32Array(ids.length);
    for (let i = 0; i < ids.length; i++) this.#ids[places[begun[i]]++] = ids[i];
    this.#begun = new Int32Array(0);
    return ends;
  }

  /** The first tokens, and some that end the string. */
  #join(nFirst: number, ending: readonly number[]): TokenSet {
    const { size } = this.#vocabulary;
    const first = this.#ids.subarray(0, nFirst);
    if (this.#all.words === null || nFirst + ending.length <= mostIds) {
      return tokenSet(Int32Array.from([...first, ...ending]), size);
    }
    const words = this.#all.words.slice();
    for (const id of this.#ids.subarray(nFirst)) words[id >>> 5] &= ~(1 << (id & 31));
    for (const id of ending) words[id >>> 5] |= 1 << (id & 31);
    return { ids: null, words };
  }
}
