/**
 * A strict reader of JSON (RFC 8259) as its bytes lie in a file: one expected thing after the other, so
 * that a vocabulary of 128 000 tokens or the table of as many tensors never becomes a tree of values.
 * `JSON.parse` keeps the last of two equal keys in silence and rounds 2^53 + 1: both let a file show one
 * table to whoever checks it and another to whoever loads it.
 * @module
 */

/** Where and why bytes are no JSON, or not the JSON that was expected. */
export class JsonSyntaxError extends Error {
  override readonly name = "JsonSyntaxError";
}

/** Nesting that is followed; the reference reader of safetensors stops there too. */
const maxDepth = 128;
/** Values that become objects here, unless told otherwise. */
const maxValues = 200_000;
/** Keys that are held against each other in one object. */
const maxKeys = 1 << 20;
/** Strings up to this are remembered: tables of tensors have the same few over and over. */
const wordBytes = 16;

const quote = 0x22, backslash = 0x5c, comma = 0x2c, colon = 0x3a;
const openBrace = 0x7b, closeBrace = 0x7d, openBracket = 0x5b, closeBracket = 0x5d;
const literal = /^(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)$/;
/** Bytes of numbers and names; neither ends before another one of them. */
const isWordByte = Uint8Array.from({ length: 256 }, (_, byte) => {
  return /[-+.\w]/.test(String.fromCharCode(byte)) ? 1 : 0;
});

/** Reads bytes from their start to their end. Every method throws JsonSyntaxError for what is not there. */
export class JsonScanner {
  readonly #bytes: Uint8Array;
  readonly #utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  /** Short strings that were decoded, each at a place that its ends give. */
  readonly #words: ({ readonly bytes: Uint8Array; readonly text: string } | undefined)[] = new Array(64);
  #at = 0;
  #depth = 0;
  /** Values that `skip` may still pass. */
  #nLeft = Infinity;

  /** After {@link scanString}: UTF-8 of the string lies in `source` from `start` to `end`. */
  source: Uint8Array;
  start = 0;
  end = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = this.source = bytes;
  }

  /** Byte offset of the next value; set it to come back to one that was skipped. */
  get position(): number {
    return this.#at;
  }
  set position(offset: number) {
    this.#at = offset;
  }

  /** Reads an object; `member` must read the value of each key. No key may come twice, however it is escaped. */
  object(what: string, member: (key: string) => void): void {
    const seen = new Set<string>();
    this.entries(what, () => {
      const key = this.text();
      if (seen.has(key)) throw new JsonSyntaxError(`${what} has the key ${shown(key)} twice`);
      if (seen.size === maxKeys) throw new JsonSyntaxError(`${what} has more than ${maxKeys} keys`);
      seen.add(key);
      member(key);
    });
  }

  /** Reads an object whose keys the caller holds against each other: each lies where `scanString` puts it. */
  entries(what: string, entry: () => void): void {
    this.#enter(openBrace, what, "an object");
    if (this.#peek() !== closeBrace) {
      do {
        this.scanString("a key");
        if (!this.#follows(colon)) throw this.#wrong(`':' after the key ${shown(this.text())}`);
        entry();
      } while (this.#follows(comma));
    }
    this.#leave(closeBrace, what, "'}'");
  }

  /** Reads an array; `item` must read each of its values. */
  array(what: string, item: () => void): void {
    this.#enter(openBracket, what, "an array");
    if (this.#peek() !== closeBracket) {
      do item(); while (this.#follows(comma));
    }
    this.#leave(closeBracket, what, "']'");
  }

  /** Whether an array comes next; reads nothing of it. */
  isArray(): boolean {
    return this.#peek() === openBracket;
  }

  /** Reads a string. Half a surrogate pair is refused: no UTF-8 can hold it. */
  string(what: string): string {
    this.scanString(what);
    return this.text();
  }

  /** Reads a string and leaves it in `source`, `start`, `end`. */
  scanString(what: string): void {
    if (!this.#follows(quote)) throw this.#wrong(`a string for ${what}`);
    const bytes = this.#bytes;
    const start = this.#at;
    let at = start;
    let isEscaped = false;
    for (; bytes[at] !== quote; at++) {
      // Past the end this comparison fails as for control characters.
      if (!(bytes[at] >= 0x20)) {
        this.#at = at;
        throw this.#wrong(`a closed string for ${what}`);
      }
      if (bytes[at] === backslash) {
        isEscaped = true;
        at++;
      }
    }
    this.#at = at + 1;
    this.source = bytes;
    this.start = start;
    this.end = at;
    if (!isEscaped) return;
    this.source = new TextEncoder().encode(unescape(this.text(), what));
    this.start = 0;
    this.end = this.source.length;
  }

  /** The string that was scanned last. */
  text(): string {
    return this.#decoded(this.source, this.start, this.end);
  }

  /** Reads a whole number up to 2^53 - 1 that is written as one: 1.0, 1e3 and -0 are none. */
  size(what: string): number {
    const first = this.#peek();
    const bytes = this.#bytes;
    const start = this.#at;
    let at = start;
    let value = 0;
    for (; bytes[at] >= 0x30 && bytes[at] <= 0x39; at++) value = value * 10 + (bytes[at] - 0x30);
    const isWritten = at > start && (first !== 0x30 || at === start + 1) && isWordByte[bytes[at]] !== 1;
    if (!isWritten || !Number.isSafeInteger(value)) {
      throw this.#wrong(`a whole number from 0 to 2^53 - 1 for ${what}`);
    }
    this.#at = at;
    return value;
  }

  /**
   * Reads any value, as `JSON.parse` gives it.
   * @param mostValues in it altogether: a few bytes of text can stand for an object of many
   */
  value(what: string, mostValues = maxValues): unknown {
    this.#peek();
    const start = this.#at;
    this.#nLeft = mostValues;
    this.skip(what);
    this.#nLeft = Infinity;
    return JSON.parse(this.#decoded(this.#bytes, start, this.#at));
  }

  /** Reads any value and forgets it. */
  skip(what: string): void {
    if (--this.#nLeft < 0) throw new JsonSyntaxError(`${what} holds too many values`);
    const next = this.#peek();
    if (next === openBrace) return this.object(what, () => this.skip(what));
    if (next === openBracket) return this.array(what, () => this.skip(what));
    if (next === quote) return void this.string(what);
    let at = this.#at;
    while (isWordByte[this.#bytes[at]] === 1) at++;
    if (!literal.test(this.#decoded(this.#bytes, this.#at, at))) throw this.#wrong(`a value for ${what}`);
    this.#at = at;
  }

  /** Nothing but white space may follow. */
  finish(): void {
    if (this.#peek() !== undefined) throw this.#wrong("the end");
  }

  #enter(bracket: number, what: string, kind: string): void {
    if (!this.#follows(bracket)) throw this.#wrong(`${kind} for ${what}`);
    if (++this.#depth > maxDepth) {
      throw new JsonSyntaxError(`${what} is nested deeper than ${maxDepth} levels`);
    }
  }

  #leave(bracket: number, what: string, kind: string): void {
    if (!this.#follows(bracket)) throw this.#wrong(`',' or ${kind} in ${what}`);
    this.#depth--;
  }

  /** The byte after white space, undefined at the end. */
  #peek(): number | undefined {
    const bytes = this.#bytes;
    let at = this.#at, byte = bytes[at];
    while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++at];
    this.#at = at;
    return byte;
  }

  #follows(byte: number): boolean {
    if (this.#peek() !== byte) return false;
    this.#at++;
    return true;
  }

  #decoded(bytes: Uint8Array, start: number, end: number): string {
    const size = end - start;
    const place = size > 0 && size <= wordBytes ? (size + 5 * bytes[start] + 3 * bytes[end - 1]) & 63 : -1;
    const word = place < 0 ? undefined : this.#words[place];
    if (word !== undefined && word.bytes.length === size) {
      let i = 0;
      while (i < size && word.bytes[i] === bytes[start + i]) i++;
      if (i === size) return word.text;
    }
    const taken = bytes.subarray(start, end);
    try {
      const text = this.#utf8.decode(taken);
      if (place >= 0) this.#words[place] = { bytes: taken.slice(), text };
      return text;
    } catch {
      throw new JsonSyntaxError(`a string before byte ${this.#at} is not UTF-8`);
    }
  }

  #wrong(needed: string): JsonSyntaxError {
    const rest = this.#bytes.subarray(this.#at, this.#at + 12);
    const found = rest.length > 0 ? shown(new TextDecoder().decode(rest)) : "the end";
    return new JsonSyntaxError(`found ${found} at byte ${this.#at}, needed ${needed}`);
  }
}

function unescape(raw: string, what: string): string {
  let value: string;
  try {
    value = JSON.parse(`"${raw}"`);
  } catch {
    throw new JsonSyntaxError(`${what} has a wrong escape: ${shown(raw)}`);
  }
  if (!value.isWellFormed()) throw new JsonSyntaxError(`${what} has half a surrogate pair: ${shown(raw)}`);
  return value;
}

/**
 * Parses a whole text, in which no key may come twice in an object.
 * @throws {JsonSyntaxError}
 */
export function parseJson(text: Uint8Array | string, mostValues?: number): unknown {
  const scanner = new JsonScanner(typeof text === "string" ? new TextEncoder().encode(text) : text);
  const value = scanner.value("the file", mostValues);
  scanner.finish();
  return value;
}

/** A text from a file, quoted for a message: escaped, and cut when long. */
export function shown(text: string): string {
  return JSON.stringify(text.length <= 80 ? text : text.slice(0, 77) + "...");
}
