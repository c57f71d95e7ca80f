/**
 * Sets of tokens.
 * @module
 */

/** A set of tokens: a few ids, ascending, or a bit for each id. It is shared, and never changed. */
export type TokenSet =
  | { readonly ids: Int32Array; readonly words: null }
  | { readonly ids: null; readonly words: Uint32Array };

/** Beyond this a set is kept as bits. */
export const mostIds = 512;

export function hasToken({ ids, words }: TokenSet, id: number): boolean {
  if (words !== null) return (words[id >>> 5] & (1 << (id & 31))) !== 0; // beyond the last word: undefined is 0
  return ids.includes(id);
}

/** What a set takes to keep. */
export function sizeBytesOf({ ids, words }: TokenSet): number {
  return words === null ? ids.byteLength + 64 : words.byteLength;
}

/** @param size one more than the greatest id of the vocabulary */
export function tokenSet(ids: Int32Array, size: number): TokenSet {
  if (ids.length <= mostIds) return { ids: Int32Array.from(new Set(ids)).sort(), words: null };
  const words = new Uint32Array(Math.ceil(size / 32));
  for (let i = 0; i < ids.length; i++) words[ids[i] >>> 5] |= 1 << (ids[i] & 31);
  return { ids: null, words };
}

/** A set and some tokens more. */
export function withTokens(set: TokenSet, more: readonly number[], size: number): TokenSet {
  if (more.length === 0) return set;
  if (set.ids !== null) return tokenSet(Int32Array.of(...set.ids, ...more), size);
  const words = set.words.slice();
  for (const id of more) words[id >>> 5] |= 1 << (id & 31);
  return { ids: null, words };
}
