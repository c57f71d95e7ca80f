/**
 * Which tokens may come next. Most of the answer depends on a terminal's state alone, and is found once
 * for all places where the terminal stands; only tokens that lie across the terminal's end are tried
 * again in each place. (The idea is XGrammar's, arXiv:2411.15100.)
 * @module
 */
import { type Across, acrossOf, sizeBytesOfAcross } from "./across.ts";
import type { Automaton, Position } from "./automaton.ts";
import { Beginnings } from "./beginnings.ts";
import { ClosingQuotes } from "./closing_quotes.ts";
import { Dfa } from "./dfa.ts";
import { QuotedText } from "./quoted_text.ts";
import { type StateTokens, StringTokens } from "./string_tokens.ts";
import type { Terminal } from "./terminal.ts";
import { mostIds, sizeBytesOf, type TokenSet, withTokens } from "./token_set.ts";
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
  /** What is read whole from states with nothing behind them, by what they read. */
  #begun = new Map<string, TokenSet>();
  readonly #beginnings = new WeakMap<Dfa, Beginnings>();
  #quotes: ClosingQuotes | null = null;
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
    const parts = position.readings.map(({ terminal, state, then }) =>
      then === null && terminal instanceof Dfa
        ? { within: this.#begunFrom(terminal, state), across: null }
        : this.#tokensOf(terminal, state)
    );
    this.#clear();
    parts.forEach(({ within, across }, i) => {
      this.#addSet(within);
      const { then } = position.readings[i];
      if (then !== null && across !== null) this.#walk(automaton, automaton.after(then), across);
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
    const tokens = isCounted
      ? this.#countedTokens(content, inside.inner).within(inside)
      : this.#uncountedTokens(content, inside.inner);
    this.#keep(sizeBytesOf(tokens.within) + sizeBytesOfAcross(tokens.across));
    return tokens;
  }

  #countedTokens(content: Dfa, inner: number): StringTokens {
    let ofContent = this.#strings.get(content);
    if (ofContent === undefined) this.#strings.set(content, ofContent = new Map());
    let found = ofContent.get(inner);
    if (found === undefined) {
      ofContent.set(inner, found = new StringTokens(this.vocabulary, content, inner));
      this.#keep(found.sizeBytes);
    }
    return found;
  }

  #uncountedTokens(content: Dfa, inner: number): StateTokens {
    const { tokenAt, sameAs } = this.vocabulary;
    const within = this.#begunFrom(content, inner);
    const nodes = (this.#quotes ??= new ClosingQuotes(this.vocabulary)).after(content, inner);
    const ending: number[] = [];
    for (const node of nodes) for (let id = tokenAt[node]; id >= 0; id = sameAs[id]) ending.push(id);
    return {
      within: withTokens(within, ending, this.vocabulary.size),
      across: acrossOf(this.vocabulary, nodes),
    };
  }

  /** The tokens that an automaton reads whole, wherever it may end. */
  #begunFrom(dfa: Dfa, state: number): TokenSet {
    let beginnings = this.#beginnings.get(dfa);
    if (beginnings === undefined) this.#beginnings.set(dfa, beginnings = new Beginnings(dfa));
    const key = beginnings.keyOf(state);
    const found = (key === null ? undefined : this.#begun.get(key)) ??
      this.#findTokens(dfa, state, false).within;
    if (key !== null && !this.#begun.has(key)) {
      this.#begun.set(key, found);
      this.#keep(2 * key.length);
    }
    return found;
  }

  #findTokens(terminal: Terminal, from: number, looksAcross = true): StateTokens {
    const { byteOf, depthOf, endOf, tokenAt, nNodes } = this.vocabulary;
    const states = this.#states;
    const tops: number[] = [];
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
      if (looksAcross && terminal.accepts(state)) tops.push(node);
      node++;
    }
    const across = acrossOf(this.vocabulary, tops);
    this.#keep(sizeBytesOfAcross(across));
    return { within: this.#taken(), across };
  }

  /** Adds the tokens that go on behind the end of a terminal, as a position reads them. */
  #walk(automaton: Automaton, from: Position, { bytes, ends, nodes }: Across): void {
    for (let i = 0; i < bytes.length; i++) {
      const begun = automaton.step(from, bytes[i]);
      if (begun === null) continue;
      for (let at = i === 0 ? 0 : ends[i - 1]; at < ends[i]; at++) {
        this.#walkBelow(automaton, begun, nodes[at]);
      }
    }
  }

  /** Adds the token of a node and those below it that a position reads. */
  #walkBelow(automaton: Automaton, from: Position, top: number): void {
    const { byteOf, depthOf, endOf, tokenAt } = this.vocabulary;
    const positions = this.#positions;
    const end = endOf[top];
    positions[depthOf[top]] = from;
    if (tokenAt[top] >= 0) this.#add(tokenAt[top]);
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
    this.#begun = new Map();
    this.#masks = new WeakMap();
    this.#keptBytes = 0;
  }
}
