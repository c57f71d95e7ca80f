/**
 * Which tokens may come next. Most of the answer depends on a terminal's state alone, and is found once
 * for all places where the terminal stands; only tokens that lie across the terminal's end are tried
 * again in each place. (The idea is XGrammar's, arXiv:2411.15100.)
 * @module
 */
import type { Automaton, Position } from "./automaton.ts";
import type { Dfa } from "./dfa.ts";
import { QuotedText } from "./quoted_text.ts";
import { type StateTokens, StringTokens } from "./string_tokens.ts";
import type { Terminal } from "./terminal.ts";
import { mostIds, sizeBytesOf, type TokenSet } from "./token_set.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** Bytes of what is kept of terminals and positions; then all of it is found again. */
const mostBytes = 96 * 2 ** 20;

/** The masks of one vocabulary. */
export class TokenMasks {
  readonly vocabulary: Vocabulary;
  readonly #states: Int32Array;
  readonly #positions: (Position | null)[];
  #words: Uint32Array;
  readonly #gathered: Int32Array;
  #nGathered = 0;
  #known = new WeakMap<object, Map<number, StateTokens>>();
  /** Of contents of strings that are counted, by their states. */
  #strings = new WeakMap<Dfa, Map<number, StringTokens>>();
  #masks = new WeakMap<Position, TokenSet>();
  #keptBytes = 0;

  constructor(vocabulary: Vocabulary) {
    this.vocabulary = vocabulary;
    this.#states = new Int32Array(vocabulary.longestBytes + 1);
    this.#positions = new Array(vocabulary.longestBytes + 1).fill(null);
    this.#words = new Uint32Array(Math.ceil(vocabulary.size / 32));
    this.#gathered = new Int32Array(mostIds);
  }

  /** The tokens that may follow a position. The set is kept: it is not to be changed. */
  allowed(automaton: Automaton, position: Position): TokenSet {
    const known = this.#masks.get(position);
    if (known !== undefined) return known;
    // First what the terminals say: finding that uses the same scratch memory.
    const parts = position.readings.map(({ terminal, state }) => this.#tokensOf(terminal, state));
    this.#clear();
    parts.forEach(({ within, across }, i) => {
      this.#addSet(within);
      const { then } = position.readings[i];
      if (then === null || across.length === 0) return;
      const after = automaton.after(then);
      for (const node of across) this.#walk(automaton, after, node);
    });
    const mask = this.#taken();
    this.#masks.set(position, mask);
    return mask;
  }

  #tokensOf(terminal: Terminal, state: number): StateTokens {
    let ofOwner = this.#known.get(terminal.maskOwner);
    if (ofOwner === undefined) this.#known.set(terminal.maskOwner, ofOwner = new Map());
    const key = terminal.maskKey(state, this.vocabulary.longestBytes);
    let tokens = ofOwner.get(key);
    if (tokens === undefined) {
      const ofString = terminal instanceof QuotedText ? this.#stringTokens(terminal, state) : null;
      ofOwner.set(key, tokens = ofString ?? this.#findTokens(terminal, state));
    }
    return tokens;
  }

  #stringTokens(terminal: QuotedText, state: number): StateTokens | null {
    const inside = terminal.inside(state);
    if (inside === null) return null;
    const { isCounted, maskOwner: content } = terminal;
    let ofContent = this.#strings.get(content);
    if (ofContent === undefined) this.#strings.set(content, ofContent = new Map());
    let found = ofContent.get(inside.inner);
    if (found === undefined) {
      found = new StringTokens(this.vocabulary, content, inside.inner);
      if (isCounted) {
        ofContent.set(inside.inner, found);
        this.#keep(found.sizeBytes);
      }
    }
    const tokens = found.within(inside);
    this.#keep(sizeBytesOf(tokens.within) + 4 * tokens.across.length);
    return tokens;
  }

  #findTokens(terminal: Terminal, from: number): StateTokens {
    const { byteOf, depthOf, endOf, tokenAt, nNodes } = this.vocabulary;
    const states = this.#states;
    const across: number[] = [];
    this.#clear();
    states[0] = from;
    for (let node = 1; node < nNodes;) {
      const depth = depthOf[node];
      const state = terminal.step(states[depth - 1], byteOf[node]);
      if (state < 0) {
        node = endOf[node];
        continue;
      }
      states[depth] = state;
      if (tokenAt[node] >= 0) this.#add(tokenAt[node]);
      if (endOf[node] > node + 1 && terminal.accepts(state)) across.push(node);
      node++;
    }
    this.#keep(4 * across.length);
    return { within: this.#taken(), across: Int32Array.from(across) };
  }

  /** Adds the tokens below a node that a position reads. */
  #walk(automaton: Automaton, from: Position, top: number): void {
    const { byteOf, depthOf, endOf, tokenAt } = this.vocabulary;
    const positions = this.#positions;
    const end = endOf[top];
    positions[depthOf[top]] = from;
    for (let node = top + 1; node < end;) {
      const depth = depthOf[node];
      const next = automaton.step(positions[depth - 1]!, byteOf[node]);
      if (next === null) {
        node = endOf[node];
        continue;
      }
      positions[depth] = next;
      if (tokenAt[node] >= 0) this.#add(tokenAt[node]);
      node++;
    }
  }

  #clear(): void {
    if (this.#nGathered > mostIds) this.#words.fill(0);
    this.#nGathered = 0;
  }

  /** Adds a token and those of the same bytes. */
  #add(first: number): void {
    const { sameAs } = this.vocabulary;
    for (let id = first; id >= 0; id = sameAs[id]) this.#addOne(id);
  }

  #addSet({ ids, words }: TokenSet): void {
    if (ids !== null) {
      for (const id of ids) this.#addOne(id);
      return;
    }
    if (this.#nGathered <= mostIds) this.#toWords();
    for (let i = 0; i < words.length; i++) this.#words[i] |= words[i];
  }

  /** Ids are gathered as a list, and from `mostIds` on as bits. */
  #addOne(id: number): void {
    if (this.#nGathered < mostIds) {
      this.#gathered[this.#nGathered++] = id;
      return;
    }
    if (this.#nGathered === mostIds) this.#toWords();
    this.#words[id >>> 5] |= 1 << (id & 31);
  }

  #toWords(): void {
    const n = Math.min(this.#nGathered, mostIds);
    for (let i = 0; i < n; i++) {
      const id = this.#gathered[i];
      this.#words[id >>> 5] |= 1 << (id & 31);
    }
    this.#nGathered = mostIds + 1;
  }

  /** What was gathered, to be kept. */
  #taken(): TokenSet {
    if (this.#nGathered > mostIds) {
      this.#keep(4 * this.#words.length);
      return { ids: null, words: this.#words.slice() };
    }
    const ids = [...new Set(this.#gathered.subarray(0, this.#nGathered))].sort((a, b) => a - b);
    this.#keep(4 * ids.length + 64);
    return { ids: Int32Array.from(ids), words: null };
  }

  #keep(sizeBytes: number): void {
    this.#keptBytes += sizeBytes;
    if (this.#keptBytes < mostBytes) return;
    this.#known = new WeakMap();
    this.#strings = new WeakMap();
    this.#masks = new WeakMap();
    this.#keptBytes = 0;
  }
}
