/**
 * Blocks that outlive their sequence, found again by what they hold: a prompt that begins as another
 * one did takes its blocks and computes only the rest.
 *
 * A block's name is a hash over its tokens and the name of the block before, so that equal names mean
 * equal beginnings. A beginning that ends inside a block is found by its tokens, and the block is copied
 * before anybody writes into it. Only prompt tokens are kept: generated tokens are summed by another
 * form of attention, and a reply must not depend on what the cache happens to hold. Tenants never share,
 * or the time of an answer would tell one what another asked.
 * @module
 */
import { blockTokens } from "../backend/backend.ts";
import type { BlockStore } from "./block_store.ts";
import type { KvBlocks } from "./kv_blocks.ts";
import { sha256 } from "./sha256.ts";

/** The names of the whole blocks of a prompt, in order. */
export type BlockNames = readonly string[];

/** A prompt as it is looked for. */
export interface Beginning {
  /** Stands for the name of the block before the first; null where the cache may not be used. */
  readonly root: string | null;
  readonly names: BlockNames;
  tokens(first: number, count: number): Int32Array;
}

/** What the cache has of a prompt, with a reference to each block for the caller. */
export interface Found {
  /** Whole blocks: to be read, never written. */
  readonly blocks: number[];
  /** A block whose first `count` positions are the next ones: to be copied, then given back. */
  readonly tail: { readonly block: number; readonly count: number } | null;
  /** Positions in all. */
  readonly nTokens: number;
}

/** A block that is kept. */
interface Kept {
  readonly parent: string;
  /** Those of its positions that are kept, 1 to 64. */
  readonly tokens: Int32Array;
  readonly block: number;
}

/**
 * @param withMtp the blocks hold latents of the layer for multi-token prediction too, and only whoever needs
 *   these computes them
 * @param model what fixes the bits of its latents, where blocks may meet those of other models
 * @returns the name before the first block: who shares it may share blocks
 */
export function rootName(tenant: string, withMtp = false, model = ""): string {
  const bytes = (text: string) => new TextEncoder().encode(text);
  return sha256(sha256(bytes(model)), sha256(bytes(tenant)), bytes(withMtp ? "mtp" : "")).toBase64();
}

/** @returns the name of a block, or of its beginning, after `parent` */
export function blockName(parent: string, tokens: Int32Array): string {
  const bytes = new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength);
  return sha256(Uint8Array.fromBase64(parent), bytes).toBase64();
}

/** @returns the names of `tokens`' whole blocks */
export function blockNames(tokens: Int32Array, root: string): BlockNames {
  let name = root;
  return Array.from(
    { length: Math.floor(tokens.length / blockTokens) },
    (_, i) => name = blockName(name, tokens.subarray(i * blockTokens, (i + 1) * blockTokens)),
  );
}

/** What the cache holds, with a reference to each block. */
export class PrefixCache {
  hitTokens = 0;
  evictedBlocks = 0;
  readonly #blocks: KvBlocks;
  /** The block used longest ago first. */
  readonly #kept = new Map<string, Kept>();
  /** The names of what follows a block. */
  readonly #children = new Map<string, Set<string>>();
  readonly #store: BlockStore | null;
  /** Those that no file holds yet. */
  readonly #unstored = new Set<string>();

  /** @param store where blocks go on living when they must make room, or null */
  constructor(blocks: KvBlocks, store: BlockStore | null = null) {
    this.#blocks = blocks;
    this.#store = store;
  }

  has(name: string): boolean {
    return this.#kept.has(name);
  }

  /** @returns how many of the first `most` tokens of a prompt are here */
  count(prompt: Beginning, most: number): number {
    return this.#find(prompt, most).nTokens;
  }

  /** Takes the longest beginning that is here, at most `most` tokens. */
  take(prompt: Beginning, most: number): Found {
    const { whole, tail, nTokens } = this.#find(prompt, most);
    const names = prompt.names.slice(0, whole);
    const blocks = names.map((name) => this.#kept.get(name)!.block);
    const tailBlock = tail && this.#kept.get(tail.name)!.block;
    this.#blocks.share(tailBlock === null ? blocks : [...blocks, tailBlock]);
    this.#touch(tail === null ? names : [...names, tail.name]);
    return { blocks, tail: tailBlock === null ? null : { block: tailBlock, count: tail!.count }, nTokens };
  }

  /**
   * Keeps the first `nTokens` of a prompt; blocks whose name is known already stay the caller's alone.
   * Nobody may write to those positions any more.
   */
  keep(prompt: Beginning, nTokens: number, blocks: readonly number[]): void {
    if (prompt.root === null) return;
    const whole = Math.floor(nTokens / blockTokens), names = prompt.names.slice(0, whole);
    let parent = prompt.root;
    for (const [i, name] of names.entries()) {
      this.#add(name, parent, prompt.tokens(i * blockTokens, blockTokens), blocks[i]);
      parent = name;
    }
    const rest = prompt.tokens(whole * blockTokens, nTokens % blockTokens);
    this.#touch(rest.length === 0 ? names : [...names, ...this.#addTail(parent, rest, blocks[whole])]);
  }

  /** Gives up blocks that no sequence uses, the oldest first. @returns how many, at most `most` */
  evict(most: number): number {
    let evicted = 0;
    for (const [name, { block }] of this.#kept) {
      if (evicted === most) break;
      if (this.#blocks.isShared(block)) continue;
      if (this.#unstored.has(name)) this.#save(name);
      this.#remove(name);
      evicted++;
    }
    this.evictedBlocks += evicted;
    return evicted;
  }

  /** Gives up what a block holds, though a sequence uses it. */
  forget(block: number): void {
    for (const [name, kept] of this.#kept) {
      if (kept.block !== block) continue;
      if (this.#unstored.has(name)) this.#save(name);
      this.#remove(name);
    }
  }

  get hasUnstored(): boolean {
    return this.#unstored.size > 0;
  }

  /** Puts one more block into a file. */
  storeNext(): void {
    for (const name of this.#unstored) return this.#save(name);
  }

  /**
   * Brings blocks of a prompt back from files, as many as may be loaded at once, where there is room.
   * @returns false if more are to come
   */
  restore(prompt: Beginning, most: number): boolean {
    const { root, names } = prompt;
    if (this.#store === null || root === null) return true;
    const held: number[] = []; // what was found does not make room for what comes after it
    try {
      let whole = 0, parent = root;
      for (let nLoaded = 0; whole < names.length && whole * blockTokens < most; whole++) {
        const name = names[whole];
        if (!this.#kept.has(name)) {
          if (!this.#store.files.has(name)) break;
          if (nLoaded++ === this.#store.nAtOnce) return false;
          if (!this.#load(name, parent, prompt.tokens(whole * blockTokens, blockTokens))) return true;
        }
        const { block } = this.#kept.get(name)!;
        this.#blocks.share([block]);
        held.push(block);
        parent = name;
      }
      this.#restoreTail(prompt, whole, parent, most);
      return true;
    } finally {
      this.#blocks.release(held);
    }
  }

  /** The longest beginning of the next block that a file holds. */
  #restoreTail(prompt: Beginning, whole: number, parent: string, most: number): void {
    const begin = whole * blockTokens;
    const rest = prompt.tokens(begin, Math.max(0, Math.min(blockTokens - 1, most - begin)));
    const known = this.#find(prompt, most).nTokens - begin;
    for (let count = rest.length; count > known; count--) {
      const tokens = rest.subarray(0, count), name = blockName(parent, tokens);
      if (!this.#store!.files.has(name)) continue;
      if (!this.#kept.has(name)) this.#load(name, parent, tokens);
      return;
    }
  }

  /** @returns false where there is no room, or the file is not what its name says */
  #load(name: string, parent: string, tokens: Int32Array): boolean {
    if (this.#blocks.free === 0 && this.evict(1) === 0) return false;
    const taken = this.#blocks.take(1)!;
    const isLoaded = this.#store!.load(name, tokens.length, taken[0]);
    if (isLoaded) {
      this.#add(name, parent, tokens, taken[0]);
      this.#unstored.delete(name);
    }
    this.#blocks.release(taken);
    return isLoaded;
  }

  #save(name: string): void {
    this.#unstored.delete(name);
    const { tokens, block } = this.#kept.get(name)!;
    this.#store!.save(name, tokens.length, block);
  }

  #find(prompt: Beginning, most: number) {
    const { root, names } = prompt;
    if (root === null || most <= 0) return { whole: 0, tail: null, nTokens: 0 };
    let whole = 0;
    while ((whole + 1) * blockTokens <= most && whole < names.length && this.#kept.has(names[whole])) whole++;
    const begin = whole * blockTokens;
    const rest = prompt.tokens(begin, Math.min(blockTokens, most - begin));
    let tail: { name: string; count: number } | null = null;
    for (const name of this.#children.get(whole === 0 ? root : names[whole - 1]) ?? []) {
      const count = nAlike(this.#kept.get(name)!.tokens, rest);
      if (count > (tail?.count ?? 0)) tail = { name, count };
    }
    return { whole, tail, nTokens: begin + (tail?.count ?? 0) };
  }

  #add(name: string, parent: string, tokens: Int32Array, block: number): void {
    if (this.#kept.has(name)) return;
    const siblings = this.#children.get(parent) ?? new Set();
    for (const sibling of siblings) { // a shorter beginning of the same says nothing more
      const known = this.#kept.get(sibling)!.tokens;
      if (known.length < tokens.length && nAlike(known, tokens) === known.length) this.#remove(sibling);
    }
    this.#blocks.share([block]);
    this.#kept.set(name, { parent, tokens: tokens.slice(), block });
    this.#children.set(parent, siblings.add(name));
    if (this.#store !== null) this.#unstored.add(name);
  }

  /** @returns the name of the block that holds these tokens now, in a list */
  #addTail(parent: string, tokens: Int32Array, block: number): string[] {
    for (const name of this.#children.get(parent) ?? []) {
      if (nAlike(this.#kept.get(name)!.tokens, tokens) === tokens.length) return [name];
    }
    const name = blockName(parent, tokens);
    this.#add(name, parent, tokens, block);
    return [name];
  }

  #remove(name: string): void {
    const { parent, block } = this.#kept.get(name)!;
    this.#kept.delete(name);
    this.#unstored.delete(name);
    const siblings = this.#children.get(parent)!;
    siblings.delete(name);
    if (siblings.size === 0) this.#children.delete(parent);
    this.#blocks.release([block]);
  }

  /** The end of a beginning goes before the beginning itself, without which it cannot be found. */
  #touch(names: BlockNames): void {
    for (const name of names.toReversed()) {
      const kept = this.#kept.get(name)!;
      this.#kept.delete(name);
      this.#kept.set(name, kept);
    }
  }
}

/** @returns how many tokens two lists begin with alike */
function nAlike(a: Int32Array, b: Int32Array): number {
  const most = Math.min(a.length, b.length);
  let count = 0;
  while (count < most && a[count] === b[count]) count++;
  return count;
}
