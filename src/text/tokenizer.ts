/**
 * Text to token ids and back: byte-level BPE as DeepSeek's `tokenizer.json` files describe it.
 * @module
 */
import { CheckpointError } from "../errors.ts";
import { AddedTokenFinder } from "./added_tokens.ts";
import { BytePairEncoder } from "./bpe.ts";
import {
  finishTokenizer,
  type ScannedTokenizer,
  scanTokenizerFile,
  type TokenizerFile,
} from "./tokenizer_file.ts";
import { readTokenizerConfig, type TokenizerConfig } from "./tokenizer_config.ts";
import { WordCache } from "./word_cache.ts";

/** Options of {@linkcode Tokenizer.encode}. */
export interface EncodeOptions {
  /** Also read added tokens that are written in the text. Off: `<｜User｜>` is nine characters. */
  special?: boolean;
}

/** Options of {@linkcode Tokenizer.decode}. */
export interface DecodeOptions {
  /** Leave out special tokens, such as the one that ends a reply. */
  skipSpecial?: boolean;
}

/** A model's tokenizer: text to token ids and back. */
export class Tokenizer {
  /** One more than the greatest id. */
  readonly vocabSize: number;
  /** The token that begins a text, or null where the model has none. */
  readonly bosId: number | null;
  /** The token that ends a reply, or null. */
  readonly eosId: number | null;

  readonly #file: TokenizerFile;
  readonly #addedIds = new Map<string, number>();
  readonly #special = new Set<number>();
  /** Those that ask for normalised text are looked for after the others, as Hugging Face does. */
  readonly #finders: readonly AddedTokenFinder[];
  readonly #pairs: BytePairEncoder;
  #edges: ReadonlySet<string> | null = null;
  readonly #words = new WordCache();
  readonly #utf8 = new TextEncoder();

  private constructor(file: TokenizerFile, config: TokenizerConfig) {
    this.#file = file;
    for (const token of file.addedTokens) {
      this.#addedIds.set(token.text, token.id);
      if (token.special) this.#special.add(token.id);
    }
    this.#finders = [false, true]
      .map((normalized) => file.addedTokens.filter((token) => token.normalized === normalized))
      .filter((tokens) => tokens.length > 0)
      .map((tokens) => new AddedTokenFinder(tokens));
    this.#pairs = new BytePairEncoder(file.merges, file.byteIds);
    this.vocabSize = file.vocab.size;
    this.bosId = this.#named(config, "bosToken");
    this.eosId = this.#named(config, "eosToken");
  }

  /**
   * Reads a tokenizer without its model.
   * @param tokenizerJson the text or the bytes of `tokenizer.json`
   * @param tokenizerConfigJson the text of `tokenizer_config.json`, which names the first and last token
   * @param file how error messages call the first
   * @throws {CheckpointError} for a damaged file, {UnsupportedError} for a tokenizer of another kind
   */
  static parse(
    tokenizerJson: string | Uint8Array,
    tokenizerConfigJson: string | null = null,
    file = "tokenizer.json",
  ): Tokenizer {
    const bytes = typeof tokenizerJson === "string" ? new TextEncoder().encode(tokenizerJson) : tokenizerJson;
    return Tokenizer.of(scanTokenizerFile(bytes, file), tokenizerConfigJson, file);
  }

  /** As `parse`, of a file that was scanned, whose vocabulary then belongs to the tokenizer. */
  static of(scanned: ScannedTokenizer, tokenizerConfigJson: string | null, file: string): Tokenizer {
    const config = readTokenizerConfig(tokenizerConfigJson);
    return new Tokenizer(finishTokenizer(scanned, file), config);
  }

  /**
   * Adds nothing that is not in the text. Half a surrogate pair becomes U+FFFD.
   * @throws {TypeError} it is no text
   */
  encode(text: string, options: EncodeOptions = {}): number[] {
    if (typeof text !== "string") throw new TypeError(`Cannot encode: ${typeof text} found, a text needed`);
    const ids: number[] = [];
    for (const part of options.special === true ? this.splitAdded(text) : [text]) {
      if (typeof part === "number") ids.push(part);
      else this.#encodePlain(part.toWellFormed(), ids);
    }
    return ids;
  }

  /** How many tokens a text has at least: found at once, where `encode` takes a second for megabytes */
  leastTokens(text: string): number {
    return Math.ceil(Buffer.byteLength(text) / this.#file.vocab.longestBytes);
  }

  /** The characters with which added tokens begin or end: text without them holds no such token. */
  get addedTokenEdges(): ReadonlySet<string> {
    return this.#edges ??= new Set(this.#file.addedTokens.flatMap(({ text }) => {
      const characters = [...text];
      return [characters[0], characters[characters.length - 1]];
    }));
  }

  /** The text in order: ids where an added token is written, strings between them. */
  splitAdded(text: string): (string | number)[] {
    let parts: (string | number)[] = [text];
    for (const finder of this.#finders) {
      parts = parts.flatMap((part) => (typeof part === "number" ? part : finder.split(part)));
    }
    return parts;
  }

  /**
   * Bytes that are no UTF-8 become U+FFFD.
   * @throws {RangeError} for an id that is not in the vocabulary
   * @throws {TypeError} it is no list of ids
   */
  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    if (typeof ids !== "object" || ids === null || !(Symbol.iterator in ids)) {
      throw new TypeError(`Cannot decode: ${typeof ids} found, token ids needed`);
    }
    const tokens: Uint8Array[] = [];
    let length = 0;
    for (const id of ids) {
      const bytes = this.#bytesOf(id);
      if (options.skipSpecial === true && this.#special.has(id)) continue;
      tokens.push(bytes);
      length += bytes.length;
    }
    const whole = new Uint8Array(length);
    let at = 0;
    for (const bytes of tokens) {
      whole.set(bytes, at);
      at += bytes.length;
    }
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(whole);
  }

  /** The token of exactly this text, added or ordinary, or null. */
  tokenId(text: string): number | null {
    const added = this.#addedIds.get(text);
    if (added !== undefined) return added;
    if (!text.isWellFormed()) return null;
    const bytes = this.#utf8.encode(text);
    const id = this.#file.vocab.find(bytes, 0, bytes.length);
    return id < 0 ? null : id;
  }

  /** True for tokens that `skipSpecial` leaves out. `<｜User｜>` is an added token, but not one of these. */
  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }

  /**
   * What a token adds to a text; it may be a piece of a character. Empty where no token has the id.
   * @throws {RangeError} for an id that is not in the vocabulary
   */
  tokenBytes(id: number): Uint8Array {
    return this.#bytesOf(id).slice();
  }

  /**
   * The bytes of all tokens, one after the other, and where each of them ends; `control` are those that mean
   * more than their text. An added token of one character is no such.
   */
  vocabulary(): { bytes: Uint8Array<ArrayBuffer>; ends: Int32Array<ArrayBuffer>; control: number[] } {
    const ends = new Int32Array(this.vocabSize);
    for (let id = 0, end = 0; id < this.vocabSize; id++) {
      ends[id] = end += this.#file.vocab.bytesOf(id).length;
    }
    const bytes = new Uint8Array(ends.at(-1) ?? 0);
    for (let id = 0; id < this.vocabSize; id++) {
      bytes.set(this.#file.vocab.bytesOf(id), id === 0 ? 0 : ends[id - 1]);
    }
    const added = [...this.#addedIds].filter(([text]) => [...text].length > 1).map(([, id]) => id);
    return { bytes, ends, control: [...new Set([...added, ...this.#special])] };
  }

  /** A token alone as text, U+FFFD for pieces of characters. @throws {RangeError} as `tokenBytes` */
  tokenText(id: number): string {
    return this.decode([id]);
  }

  #bytesOf(id: number): Uint8Array {
    if (!Number.isInteger(id) || id < 0 || id >= this.vocabSize) {
      throw new RangeError(`Cannot decode token ${id}: ids are 0 to ${this.vocabSize - 1}`);
    }
    return this.#file.vocab.bytesOf(id);
  }

  #encodePlain(text: string, ids: number[]): void {
    this.#file.split(text, 0, text.length, (start, end) => {
      const word = text.slice(start, end);
      let tokens = this.#words.get(word);
      if (tokens === undefined) this.#words.set(word, tokens = this.#encodeWord(word));
      for (const id of tokens) ids.push(id);
    });
  }

  #encodeWord(word: string): readonly number[] {
    const bytes = this.#utf8.encode(word);
    if (this.#file.ignoreMerges) {
      const id = this.#file.vocab.find(bytes, 0, bytes.length);
      if (id >= 0) return [id];
    }
    return this.#pairs.encode(bytes, bytes.length);
  }

  #named(config: TokenizerConfig, which: "bosToken" | "eosToken"): number | null {
    const text = config[which];
    if (text === null) return null;
    const id = this.tokenId(text);
    if (id === null) {
      throw new CheckpointError(config.file, `its token ${JSON.stringify(text)} is not in the vocabulary`);
    }
    this.#special.add(id);
    return id;
  }
}
