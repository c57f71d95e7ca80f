/**
 * Who computes what in the next step: continuous batching (Orca, OSDI 2022) with chunked prefill
 * (Sarathi-Serve, arXiv:2403.02310). Generated tokens go first, one a sequence and with it what was guessed
 * of the next ones; then prompts share `chunkTokens` fairly. Of that, up to a half goes to the further
 * hypotheses of sequences that have several; those for which it does not suffice are computed in the next
 * step. When the cache is full, the sequence that came last gives its blocks back and is computed again
 * later.
 *
 * Sequences are admitted in order of arrival, and the youngest gives way first: so whoever runs came
 * before whoever waits, and the oldest always makes progress.
 * @module
 */
import { blockTokens } from "../backend/backend.ts";
import { BusyError } from "../errors.ts";
import { Allotment, type BlockMover } from "./allotment.ts";
import { blocksFor, type KvBlocks } from "./kv_blocks.ts";
import type { PrefixCache } from "./prefix_cache.ts";
import { sharePrompts } from "./prompt_shares.ts";
import type { Sequence } from "./sequence.ts";

/** Bounds of a step and of the queue. */
export interface Limits {
  /** Sequences computed at once. */
  readonly maxSequences: number;
  /** Sequences that may wait besides. */
  readonly maxQueue: number;
  /** Tokens of prompts in a step. */
  readonly chunkTokens: number;
  /** Longest sequence. */
  readonly contextLength?: number;
  /** Rows of logits in a step for requests that want those of every token, at least maxSequences. */
  readonly logitRows: number;
}

/** The next `count` tokens of a sequence or of one of its hypotheses, computed in this step. */
export interface Part {
  readonly sequence: Sequence;
  readonly count: number;
  /** Guesses among them, the last ones: they may turn out to be no tokens of the sequence. */
  readonly drafts: readonly number[];
}

/**
 * Guesses fill a step up to so many rows of generated tokens. Few rows cost little more than one, since the
 * weights are read once for all; beyond that each takes the time of a token, which nobody gives for a guess
 * (minnow, AVX2, one thread: 0.80 ms for 1 row, 1.01 for 2, 1.32 for 4, 2.38 for 8), and sequences that guess
 * nothing would wait for those that do.
 */
export const guessingRows = 8;

/** Plans steps. `release` is how a sequence's blocks are given back, here and by the engine. */
export class Scheduler {
  /** In order of arrival, as `waiting`. */
  readonly running: Sequence[] = [];
  readonly waiting: Sequence[] = [];
  preemptions = 0;
  readonly #limits: Limits;
  readonly #blocks: KvBlocks;
  readonly #release: (sequence: Sequence) => void;
  readonly #mover: BlockMover;
  readonly #allotment: Allotment;

  constructor(
    limits: Limits,
    blocks: KvBlocks,
    prefixes: PrefixCache,
    release: (sequence: Sequence) => void,
    mover: BlockMover,
  ) {
    this.#limits = limits;
    this.#blocks = blocks;
    this.#release = release;
    this.#mover = mover;
    this.#allotment = new Allotment(this, blocks, prefixes, mover);
  }

  /**
   * Accepts the sequences of a request, or none of them.
   * @throws {BusyError} the queue is full
   */
  submit(...sequences: readonly Sequence[]): void {
    const { maxSequences, maxQueue } = this.#limits;
    const accepted = nRequests(this.running) + nRequests(this.waiting);
    if (nRequests(sequences) > 0 && accepted + sequences.length > maxSequences + maxQueue) {
      throw new BusyError(`Cannot queue the request: ${accepted} others run or wait, no more are accepted`);
    }
    this.waiting.push(...sequences);
  }

  /** Lets one in right before another, which waits. */
  submitBefore(sequence: Sequence, other: Sequence): void {
    this.waiting.splice(this.waiting.indexOf(other), 0, sequence);
  }

  get isEmpty(): boolean {
    return this.running.length === 0 && this.waiting.length === 0;
  }

  /** @returns whether it was here; its blocks are free then */
  remove(sequence: Sequence): boolean {
    for (const list of [this.running, this.waiting]) {
      const at = list.indexOf(sequence);
      if (at < 0) continue;
      list.splice(at, 1);
      this.#release(sequence);
      sequence.family?.unborn.delete(sequence);
      this.#allotment.takeHeritage(sequence);
      return true;
    }
    return false;
  }

  /** @returns the parts of the next step; none if no sequence is here, or all wait for files */
  plan(): Part[] {
    const { chunkTokens, logitRows, contextLength = Infinity } = this.#limits;
    const most = Math.floor(Math.min(chunkTokens, logitRows) / 2);
    let extra = most; // for hypotheses beyond the first of each sequence
    const generated: Part[] = [];
    const later: Sequence[] = [];
    // Whoever gives way is younger than the sequence at hand, or that one itself: never one with a part.
    for (let i = 0; i < this.running.length; i++) {
      const sequence = this.running[i];
      const turn = sequence.strands.filter(({ remaining }) => remaining > 0).slice(0, 1 + extra);
      if (!turn.every((strand) => this.#grow(strand, sequence))) continue;
      extra -= Math.max(0, turn.length - 1);
      for (const strand of turn) {
        if (strand.isDecoding) generated.push({ sequence: strand, count: 1, drafts: [] });
        else later.push(strand);
      }
    }
    const withDrafts = this.#addDrafts(generated);
    for (const sequence of this.#admit()) later.push(sequence);
    if (later.length === 0) return withDrafts;
    const nExtra = most - extra;
    const shares = sharePrompts(later, chunkTokens - nExtra, logitRows - nExtra, contextLength);
    return withDrafts.concat(shares.map(({ sequence, count }) => ({ sequence, count, drafts: [] })));
  }

  /**
   * The first guess of each, then the second, …. Nobody gives way for one: where blocks are missing it is
   * dropped.
   */
  #addDrafts(parts: Part[]): Part[] {
    if (parts.every(({ sequence }) => sequence.drafts.length === 0)) return parts;
    const shares = new Map<Sequence, number>();
    for (let left = guessingRows - parts.length, depth = 1; left > 0; depth++) {
      const asking = parts.filter(({ sequence }) => sequence.drafts.length >= depth).slice(0, left);
      if (asking.length === 0) break;
      for (const { sequence } of asking) shares.set(sequence, depth);
      left -= asking.length;
    }
    return parts.map((part) => {
      const { sequence } = part;
      const drafts = sequence.drafts.slice(0, shares.get(sequence) ?? 0);
      if (drafts.length === 0) return part;
      const missing = blocksFor(sequence.length + drafts.length) - sequence.blocks.length;
      const taken = missing > 0 ? this.#allotment.take(missing) : [];
      if (taken === null) return part;
      sequence.blocks.push(...taken);
      return { sequence, count: 1 + drafts.length, drafts };
    });
  }

  /** Gives a sequence's blocks back; it is computed anew when its turn comes. */
  preempt(sequence: Sequence): void {
    this.running.splice(this.running.indexOf(sequence), 1);
    if (sequence.nDropped > 0) sequence.copies = this.#mover.copyOut(sequence);
    this.#release(sequence);
    this.waiting.unshift(sequence);
    this.preemptions++;
  }

  /**
   * Gives a strand of a sequence the blocks that it writes into, alone: what others read as well is copied.
   * @returns false if the sequence had to give way itself
   */
  #grow(strand: Sequence, sequence: Sequence): boolean {
    const at = Math.floor(strand.computed / blockTokens); // of those after it none is shared
    while (true) {
      const isShared = at < strand.blocks.length && this.#blocks.isShared(strand.blocks[at]);
      if (!isShared && strand.blocks.length >= blocksFor(strand.length)) return true;
      const taken = this.#allotment.take(1);
      if (taken === null) {
        const youngest = this.running[this.running.length - 1];
        this.preempt(youngest);
        if (youngest === sequence) return false;
      } else if (isShared) {
        this.#mover.copyBlock(strand.blocks[at], taken[0]);
        this.#blocks.release([strand.blocks[at]]);
        strand.blocks[at] = taken[0];
      } else {
        strand.blocks.push(...taken);
      }
    }
  }

  /** @returns those who run from now on */
  #admit(): Sequence[] {
    const admitted: Sequence[] = [];
    while (this.waiting.length > 0 && this.running.length < this.#limits.maxSequences) {
      const [sequence] = this.waiting;
      // Nobody overtakes: a long prompt would wait for ever.
      if (this.#allotment.mustWait(sequence) || !this.#allotment.allot(sequence)) break;
      this.waiting.shift();
      this.running.push(sequence);
      this.#allotment.takeHeritage(sequence);
      this.#grow(sequence, sequence);
      admitted.push(sequence);
    }
    return admitted;
  }
}

/** Those of a list that somebody waits for. */
export function nRequests(sequences: readonly Sequence[]): number {
  return sequences.reduce((sum, { isOwn }) => sum + (isOwn ? 0 : 1), 0);
}
