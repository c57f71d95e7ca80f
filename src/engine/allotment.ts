/**
 * Which blocks of the cache a sequence gets, and with them what is computed of its prompt already: by another
 * sequence of its request, by an earlier request, in files, or by itself before it gave way.
 * @module
 */
import { blockTokens } from "../backend/backend.ts";
import type { Family } from "./family.ts";
import { blocksFor, type KvBlocks } from "./kv_blocks.ts";
import type { PrefixCache } from "./prefix_cache.ts";
import type { Sequence } from "./sequence.ts";

/** Carries the contents of blocks. */
export interface BlockMover {
  copyBlock(from: number, to: number): void;
  /** @returns the contents of a sequence's blocks */
  copyOut(sequence: Sequence): readonly Uint8Array[];
  copyIn(sequence: Sequence, copies: readonly Uint8Array[]): void;
}

/** Sequences that have blocks, and those that wait for theirs. */
export interface Queues {
  readonly running: readonly Sequence[];
  readonly waiting: readonly Sequence[];
}

/** Gives blocks to sequences. */
export class Allotment {
  readonly #queues: Queues;
  readonly #blocks: KvBlocks;
  readonly #prefixes: PrefixCache;
  readonly #mover: BlockMover;

  constructor(queues: Queues, blocks: KvBlocks, prefixes: PrefixCache, mover: BlockMover) {
    this.#queues = queues;
    this.#blocks = blocks;
    this.#prefixes = prefixes;
    this.#mover = mover;
  }

  /** Whether a sequence would compute what another is about to have, or a file has. */
  mustWait(sequence: Sequence): boolean {
    return this.#isBeingComputed(sequence) || !this.#isRestored(sequence);
  }

  /** Gives a sequence all its blocks. @returns false if too few are free */
  allot(sequence: Sequence): boolean {
    if (this.#inherit(sequence)) return true;
    return sequence.copies === null ? this.#giveKept(sequence) : this.#bringBack(sequence, sequence.copies);
  }

  /**
   * Takes blocks where `headroom` more are free, if need be from the prefix cache and from prompts held.
   * @returns null where there are too few
   */
  take(count: number, headroom = 0): number[] | null {
    const missing = () => count + headroom - this.#blocks.free;
    if (missing() > 0) this.#prefixes.evict(missing());
    for (const { family } of missing() > 0 ? this.#queues.waiting : []) {
      if (family !== null) this.#disinherit(family);
    }
    return missing() > 0 ? null : this.#blocks.take(count);
  }

  /** The prompt's blocks are held as long as someone waits for them. */
  takeHeritage(sequence: Sequence): void {
    const { family } = sequence;
    if (family?.heirs.delete(sequence) && family.heirs.size === 0) this.#disinherit(family);
  }

  #disinherit(family: Family<Sequence>): void {
    if (family.blocks !== null) this.#blocks.release(family.blocks);
    family.blocks = null;
  }

  /** Gives a sequence the prompt's blocks, where another of its request has computed them. */
  #inherit(sequence: Sequence): boolean {
    const { family, nPrompt, length } = sequence;
    if (family === null || family.blocks === null) return false;
    const known = [...family.blocks];
    this.#blocks.share(known);
    // The last block may have to be copied at once.
    const others = this.take(blocksFor(length) - known.length, nPrompt % blockTokens > 0 ? 1 : 0);
    if (others === null) {
      this.#blocks.release(known);
      return false;
    }
    sequence.blocks = [...known, ...others];
    sequence.computed = sequence.proven = nPrompt;
    return true;
  }

  /** What files hold of a prompt is brought back before it is computed, a part before each step. */
  #isRestored(sequence: Sequence): boolean {
    // Others may need its blocks meanwhile: as often as it has blocks is often enough.
    if (sequence.nRestores > sequence.names.length) return true;
    const isDone = this.#prefixes.restore(sequence, sequence.nTakeable);
    sequence.nRestores = isDone ? Infinity : sequence.nRestores + 1;
    return isDone;
  }

  /** Gives a sequence what it had when it gave way, where that cannot be computed anew. */
  #bringBack(sequence: Sequence, copies: readonly Uint8Array[]): boolean {
    const taken = this.take(blocksFor(sequence.length));
    if (taken === null) return false;
    sequence.blocks = taken;
    sequence.computed = sequence.proven = sequence.length - 1;
    this.#mover.copyIn(sequence, copies);
    sequence.copies = null;
    return true;
  }

  /** Gives a sequence what the prefix cache knows of its prompt, and free blocks for the rest. */
  #giveKept(sequence: Sequence): boolean {
    const { blocks: known, tail, nTokens } = this.#prefixes.take(sequence, sequence.nTakeable);
    const missing = blocksFor(sequence.length) - known.length;
    const headroom = headroomOf(sequence);
    let others = this.take(missing, headroom), computed = nTokens;
    if (tail !== null) {
      if (others !== null) this.#mover.copyBlock(tail.block, others[0]);
      this.#blocks.release([tail.block]);
      if (others === null) { // the block to copy may be the very one that is missing
        others = this.take(missing, headroom);
        computed = known.length * blockTokens;
      }
    }
    if (others === null) {
      this.#blocks.release(known);
      return false;
    }
    sequence.blocks = [...known, ...others];
    sequence.computed = sequence.proven = computed;
    sequence.cachedTokens ??= computed;
    this.#prefixes.hitTokens += computed;
    return true;
  }

  /** What the cache lacks of a prompt is being computed by another sequence: waiting for that costs less. */
  #isBeingComputed(sequence: Sequence): boolean {
    const { after, family } = sequence;
    const { running, waiting } = this.#queues;
    if (after !== null && (running.includes(after) || waiting.includes(after))) return true;
    if (family?.unborn.has(sequence) && running.some((other) => family.unborn.has(other))) return true;
    const names = sequence.names.slice(0, Math.floor(sequence.nTakeable / blockTokens));
    const missing = names.findIndex((name) => !this.#prefixes.has(name));
    if (missing < 0) return false;
    const name = names[missing];
    return running.some((other) => other.names[missing] === name && other.computed < other.nPrompt);
  }
}

/** @returns blocks that must be free besides: a sequence without them would give way again at once */
function headroomOf({ nPrompt, branches, task }: Sequence): number {
  if (task.kind !== "generate" || task.sampling.beam === null) return 0;
  const { beam, maxTokens } = task.sampling;
  const lengths = branches.length > 0
    ? branches.map((branch) => branch.length)
    : new Array<number>(maxTokens > 1 ? beam.width : 0).fill(nPrompt + 1);
  const whole = Math.floor(nPrompt / blockTokens);
  const wanted = lengths.reduce((sum, each) => sum + blocksFor(each) - whole, 0);
  return Math.max(0, wanted - (blocksFor(nPrompt) - whole)); // one of them goes on in the prompt's last block
}
