/**
 * A reply that goes on where the context is full: the first tokens stay, half of the others go, and what is
 * left moves down, its keys turned on to their new positions (as in arXiv:2309.17453, which also says why the
 * first tokens have to stay). The latents go on knowing what was dropped, so they cannot be computed anew
 * from the tokens that are left: such a sequence is copied out of the cache where it must give way, and none
 * of it is kept for others.
 * @module
 */
import { type Backend, blockTokens, type LatentCache } from "../backend/backend.ts";
import type { Network } from "../model/network.ts";
import type { BlockMover } from "./allotment.ts";
import { blocksFor, type KvBlocks } from "./kv_blocks.ts";
import type { PrefixCache } from "./prefix_cache.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";

/** What shifting needs of a network. */
export interface ShiftModel extends Pick<Network, "moveTokens"> {
  readonly backend: Pick<Backend, "copyBlock" | "blockBytes" | "readBlock" | "writeBlock">;
}

/** @returns how many tokens go of those after the first `keep`: half of them, at least one */
export function droppedTokens(length: number, keep: number): number {
  return Math.max(1, Math.floor((length - keep) / 2));
}

/** Moves sequences within one cache, out of it and back. */
export class Shifting implements BlockMover {
  shifts = 0;
  droppedTokens = 0;
  readonly #model: ShiftModel;
  readonly #cache: LatentCache;
  readonly #blocks: KvBlocks;
  readonly #prefixes: PrefixCache;

  constructor(model: ShiftModel, cache: LatentCache, blocks: KvBlocks, prefixes: PrefixCache) {
    this.#model = model;
    this.#cache = cache;
    this.#blocks = blocks;
    this.#prefixes = prefixes;
  }

  /** Makes room in the context for replies that fill it and are to go on. */
  shiftFull(scheduler: Scheduler, contextLength: number): void {
    const full = scheduler.running.filter(({ keepTokens, length, remaining }) =>
      keepTokens !== null && length >= contextLength && remaining === 1
    );
    for (const sequence of full) {
      if (sequence.blocks.length > 0) this.shift(sequence, sequence.keepTokens!, scheduler);
    }
  }

  /**
   * Drops tokens of a sequence whose last token alone is not computed.
   * @param keep first tokens that stay, at least two fewer than there are
   */
  shift(sequence: Sequence, keep: number, scheduler: Scheduler): void {
    const { length, computed, blocks: from } = sequence;
    const dropped = droppedTokens(length, keep);
    const first = Math.floor(keep / blockTokens), nBlocks = blocksFor(computed - dropped);
    const to = from.slice(0, nBlocks);
    for (let i = first; i < nBlocks; i++) {
      if (this.#blocks.isShared(from[i])) to[i] = this.#ownBlock(sequence, from[i], scheduler);
    }
    if (to[first] !== from[first]) this.copyBlock(from[first], to[first]);
    const place = (blocks: readonly number[], position: number) =>
      blocks[Math.floor(position / blockTokens)] * blockTokens + position % blockTokens;
    const places = new Int32Array(2 * (computed - keep - dropped));
    for (let i = 0, position = keep + dropped; position < computed; position++) {
      places[i++] = place(from, position);
      places[i++] = place(to, position - dropped);
    }
    this.#model.moveTokens(this.#cache, places, -dropped);
    this.#blocks.release(from.filter((block, i) => block !== to[i]));
    sequence.blocks = to;
    sequence.drop(keep, dropped);
    this.shifts++;
    this.droppedTokens += dropped;
  }

  copyBlock(from: number, to: number): void {
    this.#model.backend.copyBlock(this.#cache, from, to);
  }

  /** @returns the sequence's blocks as bytes */
  copyOut(sequence: Sequence): Uint8Array[] {
    const { backend } = this.#model;
    return sequence.blocks.slice(0, blocksFor(sequence.computed)).map((block) => {
      const bytes = new Uint8Array(backend.blockBytes(this.#cache));
      backend.readBlock(this.#cache, block, bytes);
      return bytes;
    });
  }

  /** Puts them into the blocks that the sequence has now. */
  copyIn(sequence: Sequence, copies: readonly Uint8Array[]): void {
    for (const [i, bytes] of copies.entries()) {
      this.#model.backend.writeBlock(this.#cache, sequence.blocks[i], bytes);
    }
  }

  /** @returns a block to write in place of one that others read too; it may be that one, when they gave way */
  #ownBlock(sequence: Sequence, block: number, scheduler: Scheduler): number {
    const taken = this.#blocks.take(1) ?? (this.#prefixes.evict(1) === 1 ? this.#blocks.take(1) : null);
    if (taken !== null) return taken[0];
    this.#prefixes.forget(block);
    for (const other of scheduler.running.toReversed()) {
      if (other !== sequence && other.blocks.includes(block)) scheduler.preempt(other);
    }
    return block;
  }
}
