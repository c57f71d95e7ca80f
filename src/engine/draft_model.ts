/**
 * Guesses by another, smaller model with the same vocabulary (arXiv:2211.17192). It has a cache of its own,
 * of which a sequence takes blocks as it goes; where they run out there is no guess, and nothing waits for
 * one.
 * @module
 */
import { blockTokens, type LatentCache, type Run } from "../backend/backend.ts";
import { blocksFor, KvBlocks } from "./kv_blocks.ts";
import { PrefixCache } from "./prefix_cache.ts";
import type { Sequence } from "./sequence.ts";
import type { StepModel } from "./step.ts";

/** Bounds of a draft model. */
export interface DraftLimits {
  /** Longest sequence that it follows. */
  readonly contextLength: number;
  /** Tokens that it computes in a step beside its guesses. */
  readonly chunkTokens: number;
}

/** Guesses that a sequence asks for. */
export interface DraftAsk {
  readonly sequence: Sequence;
  /** 0 only reads on. */
  readonly most: number;
}

/** How far a sequence is read. */
interface Reading {
  readonly blocks: number[];
  /** Tokens in the cache, the guesses made last among them. */
  computed: number;
  /** Length of the sequence when they were made, and what they were. */
  length: number;
  guesses: number[];
  /** A guess was made and showed all values before it to be finite. */
  isFinite: boolean;
}

/** A sequence that is read or guesses in a pass. */
interface Pass {
  readonly reading: Reading;
  readonly runs: readonly Run[];
  readonly tokens: ArrayLike<number>;
  readonly wantsGuess: boolean;
}

/** The other model, and what it knows of each sequence. */
export class DraftModel {
  readonly #model: StepModel;
  readonly #cache: LatentCache;
  readonly #limits: DraftLimits;
  readonly #blocks: KvBlocks;
  readonly #prefixes: PrefixCache;
  readonly #readings = new Map<Sequence, Reading>();

  constructor(model: StepModel, cache: LatentCache, limits: DraftLimits) {
    this.#model = model;
    this.#cache = cache;
    this.#limits = limits;
    this.#blocks = new KvBlocks(cache.nBlocks);
    this.#prefixes = new PrefixCache(this.#blocks);
  }

  /**
   * Reads on, at most a chunk of tokens in all, and guesses where everything is read. Begins a new step of
   * the backend: earlier tensors are gone.
   * @returns the guesses of each ask
   */
  guess(asks: readonly DraftAsk[]): (readonly number[])[] {
    try {
      return this.#guess(asks);
    } catch (error) {
      for (const { sequence } of asks) this.#drop(sequence); // who was read how far is not known any more
      throw error;
    }
  }

  #guess(asks: readonly DraftAsk[]): (readonly number[])[] {
    let budget = this.#limits.chunkTokens;
    let passes: Pass[] = [];
    const mostOf = new Map<Reading, number>();
    const readings = asks.map(({ sequence, most }) => {
      const reading = this.#reading(sequence);
      const first = reading.computed;
      const count = Math.min(budget, sequence.length - first);
      if (count <= 0 || !this.#grow(reading, first + count)) return reading;
      budget -= count;
      reading.computed += count;
      const wantsGuess = most > 0 && reading.computed === sequence.length;
      if (wantsGuess) mostOf.set(reading, most);
      const runs = runsOf(reading.blocks, first, count, sequence.nPrompt);
      passes.push({ reading, runs, tokens: sequence.tokens(first, count), wantsGuess });
      return reading;
    });
    while (passes.length > 0) {
      this.#compute(passes);
      passes = passes.flatMap(({ reading, wantsGuess }) => {
        const { guesses, blocks, computed: firstPosition } = reading;
        const last = guesses[guesses.length - 1];
        const goesOn = wantsGuess && last >= 0 && guesses.length < mostOf.get(reading)! &&
          this.#grow(reading, firstPosition + 1);
        if (!goesOn) return [];
        reading.computed++;
        const runs = [{ firstPosition, count: 1, isPrompt: false, blocks }];
        return [{ reading, runs, tokens: [last], wantsGuess }];
      });
    }
    return readings.map(({ guesses }) => guesses);
  }

  /** A sequence has ended; what was read of its prompt stays for others that begin alike. */
  forget(sequence: Sequence): void {
    const reading = this.#readings.get(sequence);
    if (reading === undefined) return;
    const { blocks, computed, isFinite } = reading;
    const read = Math.min(computed, sequence.nPrompt);
    if (isFinite) this.#prefixes.keep(sequence, read - read % blockTokens, blocks);
    this.#drop(sequence);
  }

  #drop(sequence: Sequence): void {
    const reading = this.#readings.get(sequence);
    this.#readings.delete(sequence);
    const freed = this.#blocks.release(reading?.blocks ?? []);
    this.#model.backend.clearBlocks(this.#cache, freed); // they may hold NaN that nobody has seen
  }

  /** Where a sequence is read up to, without the guesses that were wrong. */
  #reading(sequence: Sequence): Reading {
    let reading = this.#readings.get(sequence);
    if (reading === undefined) {
      const { blocks, tail } = this.#prefixes.take(sequence, sequence.nPrompt - 1);
      if (tail !== null) this.#blocks.release([tail.block]);
      reading = { blocks, computed: blocks.length * blockTokens, length: 0, guesses: [], isFinite: false };
      this.#readings.set(sequence, reading);
    }
    const { guesses, length } = reading;
    let right = 0;
    while (length + right < sequence.length && sequence.tokens(length + right, 1)[0] === guesses[right]) {
      right++;
    }
    if (guesses.length > 0) reading.computed = Math.min(reading.computed, length + right);
    reading.guesses = [];
    reading.length = sequence.length;
    return reading;
  }

  /** @returns whether the reading has blocks for so many tokens */
  #grow({ blocks }: Reading, nTokens: number): boolean {
    if (nTokens > this.#limits.contextLength) return false;
    const missing = blocksFor(nTokens) - blocks.length;
    if (missing <= 0) return true;
    const tooFew = missing - this.#blocks.free;
    if (tooFew > 0 && this.#prefixes.evict(tooFew) < tooFew) return false;
    blocks.push(...this.#blocks.take(missing)!);
    return true;
  }

  #compute(passes: readonly Pass[]): void {
    const tokens = passes.flatMap((pass) => Array.from(pass.tokens));
    const wanted: number[] = [];
    let end = 0;
    for (const pass of passes) {
      end += pass.tokens.length;
      if (pass.wantsGuess) wanted.push(end - 1);
    }
    const runs = passes.flatMap((pass) => pass.runs);
    const { best } = this.#model.predict(
      this.#cache,
      runs,
      Int32Array.from(tokens),
      Int32Array.from(wanted),
      [...wanted.keys()],
    );
    for (const [i, { reading }] of passes.filter(({ wantsGuess }) => wantsGuess).entries()) {
      reading.guesses.push(best[i]);
      reading.isFinite = best[i] >= 0;
    }
  }
}

/** Tokens of the prompt and generated ones are different runs, as in any model. */
function runsOf(blocks: readonly number[], firstPosition: number, count: number, nPrompt: number): Run[] {
  const nOfPrompt = Math.min(count, Math.max(0, nPrompt - firstPosition));
  const runs: Run[] = [];
  if (nOfPrompt > 0) runs.push({ firstPosition, count: nOfPrompt, isPrompt: true, blocks });
  if (nOfPrompt < count) {
    runs.push({
      firstPosition: firstPosition + nOfPrompt,
      count: count - nOfPrompt,
      isPrompt: false,
      blocks,
    });
  }
  return runs;
}
