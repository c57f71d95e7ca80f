/**
 * Where tokens go on behind the end of what was read: by the byte that they go on with, since few of them can come.
 * @module
 */
import type { Vocabulary } from "./vocabulary.ts";

/** Nodes of a vocabulary's trie, those of one byte together. */
export interface Across {
  /** The bytes that come next, ascending. */
  readonly bytes: Uint8Array;
  /** Where the nodes of each of them end. */
  readonly ends: Int32Array;
  readonly nodes: Int32Array;
}

/** What lies below nodes at which something may end. */
export function acrossOf({ byteOf, endOf }: Vocabulary, tops: readonly number[]): Across {
  const counts = new Int32Array(256);
  const children: number[] = [];
  for (const top of tops) {
    for (let node = top + 1; node < endOf[top]; node = endOf[node]) {
      counts[byteOf[node]]++;
      children.push(node);
    }
  }
  const bytes = [...counts.keys()].filter((byte) => counts[byte] > 0);
  const places = new Int32Array(256), ends = new Int32Array(bytes.length);
  let end = 0;
  bytes.forEach((byte, i) => {
    places[byte] = end;
    ends[i] = end += counts[byte];
  });
  const nodes = new Int32Array(children.length);
  for (const node of children) nodes[places[byteOf[node]]++] = node;
  return { bytes: Uint8Array.from(bytes), ends, nodes };
}

export const sizeBytesOfAcross = ({ bytes, nodes }: Across): number => 5 * bytes.length + 4 * nodes.length;
