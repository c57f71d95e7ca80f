/**
 * Token ids and their bytes, both ways. All bytes lie in one array and the way back is a hash table
 * over them: a vocabulary of 128 000 tokens costs a few large arrays and no strings.
 * @module
 */
import { grown, powerOfTwo, randomSeed } from "./hash_table.ts";

/** More tokens than this, or a greater id, is not a vocabulary that we know how to hold. */
export const maxVocabSize = 1 << 19;

/** FNV-1a from a random start, so that no file can be made in which all tokens meet at one place. */
function hash(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let h = seed;
  for (let i = start; i < end; i++) h = Math.imul(h ^ bytes[i], 0x01000193);
  return h ^ (h >>> 15);
}

/** All that a vocabulary is made of, to be kept and made into one again. */
export interface VocabTables {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly starts: Int32Array<ArrayBuffer>;
  readonly ends: Int32Array<ArrayBuffer>;
  readonly slots: Int32Array<ArrayBuffer>;
  readonly nFindable: number;
  readonly seed: number;
  readonly longestBytes: number;
}

export class Vocab {
  #bytes: Uint8Array<ArrayBuffer>;
  #used = 0;
  /** Where the token of an id begins and ends in `#bytes`; both 0 when the id is free. */
  #starts: Int32Array<ArrayBuffer>;
  #ends: Int32Array<ArrayBuffer>;
  /** id + 1 at a place near the hash of its bytes; 0 is free. At most half full. */
  #slots: Int32Array<ArrayBuffer>;
  #nFindable = 0;
  #seed = randomSeed();
  /** One more than the greatest id. */
  size = 0;
  /** Bytes of the longest token. */
  longestBytes = 0;

  /** @param expected about how many tokens there will be; more may come */
  constructor(expected: number) {
    this.#bytes = new Uint8Array(8 * expected + 1);
    this.#starts = new Int32Array(expected + 1);
    this.#ends = new Int32Array(expected + 1);
    this.#slots = new Int32Array(powerOfTwo(2 * expected + 2));
  }

  /** @param tables of another vocabulary, whose arrays this one goes on with */
  static of({ bytes, starts, ends, slots, nFindable, seed, longestBytes }: VocabTables): Vocab {
    const vocab = new Vocab(0);
    vocab.#bytes = bytes;
    vocab.#used = bytes.length;
    vocab.#starts = starts;
    vocab.#ends = ends;
    vocab.#slots = slots;
    vocab.#nFindable = nFindable;
    vocab.#seed = seed;
    vocab.size = starts.length;
    vocab.longestBytes = longestBytes;
    return vocab;
  }

  /** Views of what is there now. */
  tables(): VocabTables {
    return {
      bytes: this.#bytes.subarray(0, this.#used),
      starts: this.#starts.subarray(0, this.size),
      ends: this.#ends.subarray(0, this.size),
      slots: this.#slots,
      nFindable: this.#nFindable,
      seed: this.#seed,
      longestBytes: this.longestBytes,
    };
  }

  has(id: number): boolean {
    return id < this.size && this.#ends[id] > this.#starts[id];
  }

  /** The bytes of a token, empty where the id is free; a view, not a copy. */
  bytesOf(id: number): Uint8Array {
    return this.#bytes.subarray(this.#starts[id], this.#ends[id]);
  }

  /** @returns the token of exactly these bytes, or -1 */
  find(bytes: Uint8Array, start: number, end: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = hash(bytes, start, end, this.#seed) & mask;; slot = (slot + 1) & mask) {
      const id = this.#slots[slot] - 1;
      if (id < 0 || this.isAt(id, bytes, start, end)) return id;
    }
  }

  /** Whether the token of an id has exactly these bytes. */
  isAt(id: number, bytes: Uint8Array, start: number, end: number): boolean {
    const from = this.#starts[id];
    if (this.#ends[id] - from !== end - start) return false; // also beyond the last id
    for (let i = start; i < end; i++) if (this.#bytes[from + i - start] !== bytes[i]) return false;
    return true;
  }

  /** The caller has seen to it that the id is free and below {@link maxVocabSize}, the bytes not empty. */
  set(id: number, bytes: Uint8Array, start: number, end: number, findable: boolean): void {
    if (this.#used + end - start > this.#bytes.length) {
      this.#bytes = grown(this.#bytes, this.#used + end - start);
    }
    if (id >= this.#starts.length) {
      this.#starts = grown(this.#starts, id + 1);
      this.#ends = grown(this.#ends, id + 1);
    }
    this.#starts[id] = this.#used;
    for (let i = start; i < end; i++) this.#bytes[this.#used++] = bytes[i];
    this.#ends[id] = this.#used;
    this.size = Math.max(this.size, id + 1);
    this.longestBytes = Math.max(this.longestBytes, end - start);
    if (findable) this.#makeFindable(id);
  }

  #makeFindable(id: number): void {
    if (++this.#nFindable * 2 > this.#slots.length) {
      const old = this.#slots;
      this.#slots = new Int32Array(old.length * 4);
      for (const entry of old) if (entry !== 0) this.#insert(entry - 1);
    }
    this.#insert(id);
  }

  #insert(id: number): void {
    const mask = this.#slots.length - 1;
    let slot = hash(this.#bytes, this.#starts[id], this.#ends[id], this.#seed) & mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    this.#slots[slot] = id + 1;
  }
}
