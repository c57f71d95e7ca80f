/**
 * Sets of characters: ascending ranges of code points, without surrogates, which no UTF-8 holds.
 * @module
 */

/** first, last, first, last, …: ascending, neither touching nor overlapping. */
export type CharSet = readonly number[];

const maxCodePoint = 0x10ffff;

/** Every character. */
export const anyChar: CharSet = [0, 0xd7ff, 0xe000, maxCodePoint];

/** @param ranges first, last, …, in any order, also overlapping */
export function charSet(ranges: readonly number[]): CharSet {
  const pairs: [number, number][] = [];
  for (let i = 0; i < ranges.length; i += 2) pairs.push([ranges[i], ranges[i + 1]]);
  pairs.sort(([a], [b]) => a - b);
  const merged: number[] = [];
  for (const [first, last] of pairs) {
    if (merged.length > 0 && first <= merged[merged.length - 1] + 1) {
      merged[merged.length - 1] = Math.max(merged[merged.length - 1], last);
    } else merged.push(first, last);
  }
  return both(merged, anyChar);
}

/** The set of the characters of a text. */
export function charsOf(characters: string): CharSet {
  return charSet([...characters].flatMap((character) => {
    const code = character.codePointAt(0)!;
    return [code, code];
  }));
}

export function either(a: CharSet, b: CharSet): CharSet {
  return charSet([...a, ...b]);
}

/** Puts a set together from many: joining them one after the other would take the square of their number. */
export class CharSetBuilder {
  #ranges: number[] = [];
  /** Ranges are merged once there are so many, as a class may name a large one over and over. */
  #most = 4096;

  add(set: CharSet): void {
    for (const bound of set) this.#ranges.push(bound);
    if (this.#ranges.length <= this.#most) return;
    this.#ranges = [...charSet(this.#ranges)];
    this.#most = 4096 + 2 * this.#ranges.length;
  }

  done(): CharSet {
    return charSet(this.#ranges);
  }
}

export function both(a: CharSet, b: CharSet): CharSet {
  const shared: number[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    const first = Math.max(a[i], b[j]), last = Math.min(a[i + 1], b[j + 1]);
    if (first <= last) shared.push(first, last);
    if (a[i + 1] < b[j + 1]) i += 2;
    else j += 2;
  }
  return shared;
}

export function without(a: CharSet, b: CharSet): CharSet {
  const gaps: number[] = [];
  let next = 0;
  for (let i = 0; i < b.length; i += 2) {
    if (b[i] > next) gaps.push(next, b[i] - 1);
    next = b[i + 1] + 1;
  }
  if (next <= maxCodePoint) gaps.push(next, maxCodePoint);
  return both(a, gaps);
}

export function contains(set: CharSet, code: number): boolean {
  for (let i = 0; i < set.length; i += 2) if (code >= set[i] && code <= set[i + 1]) return true;
  return false;
}
