/**
 * A network for tests of scheduling: its next token is a hash of all tokens that it finds in the
 * sequence's cache blocks, so that a wrong block, position or kind of run changes every later token.
 * @module
 */
import assert from "node:assert/strict";
import { blockTokens, type LatentCache, type Run, type Tensor } from "../../src/backend/backend.ts";
import { Engine, type EngineLimits, type EngineModel } from "../../src/engine/engine.ts";
import type { Finish, PromptLogprob, Sampling, TokenEvent } from "../../src/engine/protocol.ts";
import { resolveSampling, type SamplingOptions } from "../../src/engine/sampling_options.ts";
import type { Task } from "../../src/engine/sequence.ts";
import type { Predicted } from "../../src/model/network.ts";

export const vocabSize = 97;
const hidden = 2;
/** Its latent is NaN, and so is everything that attends to it. */
export const poisonToken = 13;
/** A step that computes it throws. */
export const throwingToken = 14;

interface Values extends Tensor {
  readonly values: Float32Array;
}
const valuesOf = (x: Tensor): Float32Array => (x as Values).values;

function likeliest(x: Tensor): Int32Array {
  return Int32Array.from({ length: x.rows }, (_, row) => {
    const values = valuesOf(x).subarray(row * x.width, (row + 1) * x.width);
    return values.every(Number.isFinite) ? values.indexOf(Math.max(...values)) : -1;
  });
}

/** What happened in one call of `predict`. */
export interface FakeStep {
  readonly runs: readonly Run[];
  readonly nWanted: number;
}

export class FakeModel implements EngineModel {
  readonly config = { vocabSize, hidden, routing: null };
  readonly steps: FakeStep[] = [];
  /** What its layer for multi-token prediction expects after a token; null for a model without one. */
  guess: ((token: number) => number) | null = null;
  /**
   * Positions that that layer need not have looked at: the last ones of cached prompts, whose next token was
   * not known.
   */
  mostHoles = 0;
  readonly #latents: Float64Array;
  /** Of that layer: 1 more than the token that follows a position. */
  readonly #further: Float64Array;

  constructor(nBlocks: number) {
    this.#latents = new Float64Array(nBlocks * blockTokens);
    this.#further = new Float64Array(nBlocks * blockTokens);
  }

  get mtp(): EngineModel["mtp"] {
    const { guess } = this;
    return guess &&
      { expect: (_, runs, tokens, states, wanted) => this.#expect(guess, runs, tokens, states, wanted) };
  }

  #expect(
    guess: (token: number) => number,
    runs: readonly Run[],
    tokens: Int32Array,
    states: Tensor | Float32Array,
    wanted: Int32Array,
  ): { best: Int32Array; states: Float32Array } {
    const values = states instanceof Float32Array ? states : valuesOf(states);
    assert.equal(values.length, hidden * tokens.length);
    let row = 0;
    const best: number[] = [];
    for (const { firstPosition, count, blocks } of runs) {
      for (let i = 0; i < count; i++, row++) {
        this.#further[placeOf(blocks, firstPosition + i)] = 1 + tokens[row];
        if (!wanted.includes(row)) continue;
        let holes = 0;
        for (let p = 0; p <= firstPosition + i; p++) if (this.#further[placeOf(blocks, p)] === 0) holes++;
        assert(holes <= this.mostHoles, `${holes} positions were never looked at`);
        best.push(guess(tokens[row]));
      }
    }
    assert.equal(row, tokens.length);
    return { best: Int32Array.from(best), states: new Float32Array(hidden * best.length) };
  }

  readonly backend: EngineModel["backend"] = {
    gatherRows: (x, rows) => {
      const values = [...rows].flatMap((
        row,
      ) => [...valuesOf(x).subarray(row * x.width, (row + 1) * x.width)]);
      return { rows: rows.length, width: x.width, values: Float32Array.from(values) } as Values;
    },
    read: (x) => valuesOf(x).slice(),
    readRoutes: () => assert.fail("there are no experts"),
    clearBlocks: (_, blocks) => {
      for (const latents of [this.#latents, this.#further]) {
        for (const block of blocks) latents.fill(0, block * blockTokens, (block + 1) * blockTokens);
      }
    },
    copyBlock: (_, from, to) => {
      for (const latents of [this.#latents, this.#further]) {
        latents.copyWithin(to * blockTokens, from * blockTokens, (from + 1) * blockTokens);
      }
    },
    blockBytes: () => blockTokens * 8,
    readBlock: (_, block, into) =>
      into.set(new Uint8Array(this.#latents.buffer, block * blockTokens * 8, blockTokens * 8)),
    writeBlock: (_, block, from) => {
      const values = new Float64Array(from.slice().buffer);
      assert.ok(values.every(Number.isFinite), "a value is not finite");
      this.#latents.set(values, block * blockTokens);
    },
    memory: () => ({ allocatedBytes: 0, mappedBytes: 0, movedBytes: 0, pendingBytes: 0, stepPeakBytes: 0 }),
  };

  predict(
    _: LatentCache,
    runs: readonly Run[],
    tokens: Int32Array,
    wanted: Int32Array,
    heads: readonly number[],
  ): Predicted {
    const hidden = this.#forward(runs, tokens, wanted);
    if (heads.length === 0) return { hidden, logits: null, best: new Int32Array() };
    const logits = this.#logits(this.backend.gatherRows(hidden, Int32Array.from(heads)));
    return { hidden, logits, best: likeliest(logits) };
  }

  #forward(runs: readonly Run[], tokens: Int32Array, wanted: Int32Array): Tensor {
    this.steps.push({ runs, nWanted: wanted.length });
    assert.equal(runs.reduce((sum, { count }) => sum + count, 0), tokens.length);
    checkBlocks(runs);
    const states: number[] = [];
    let row = 0;
    // As a network does: all latents of the step are written before any is read.
    for (const { firstPosition, count, isPrompt, blocks } of runs) {
      for (let i = 0; i < count; i++, row++) {
        if (tokens[row] === throwingToken) throw new Error("the device does not like 14");
        const latent = tokens[row] === poisonToken ? NaN : tokens[row] + (isPrompt ? 1 : 1000);
        this.#latents[placeOf(blocks, firstPosition + i)] = latent;
      }
    }
    row = 0;
    for (const { firstPosition, count, blocks } of runs) {
      for (let i = 0; i < count; i++, row++) {
        if (wanted.includes(row)) states.push(...this.#attend(blocks, firstPosition + i));
      }
    }
    return { rows: wanted.length, width: hidden, values: Float32Array.from(states) } as Values;
  }

  /** Of what a token left here only the place matters. */
  moveTokens(_: LatentCache, places: Int32Array): void {
    for (let i = 0; i < places.length; i += 2) this.#latents[places[i + 1]] = this.#latents[places[i]];
  }

  #logits(x: Tensor): Tensor {
    const values = new Float32Array(x.rows * vocabSize);
    for (let row = 0; row < x.rows; row++) {
      const [state, poison] = valuesOf(x).subarray(row * hidden, (row + 1) * hidden);
      for (let id = 0; id < vocabSize; id++) {
        const isSpecial = id === poisonToken || id === throwingToken;
        values[row * vocabSize + id] = isSpecial ? -50 + poison : (state * (id + 7)) % 61 / 7 + poison;
      }
    }
    return { rows: x.rows, width: vocabSize, values } as Values;
  }

  /** Reads whole blocks, masked positions times 0: NaN left behind by another sequence would show. */
  #attend(blocks: readonly number[], position: number): [number, number] {
    let state = 1;
    let poison = 0;
    for (let p = 0; p < (Math.floor(position / blockTokens) + 1) * blockTokens; p++) {
      const latent = this.#latents[placeOf(blocks, p)];
      if (p <= position) {
        assert.notEqual(latent, 0, `position ${p} was never computed`);
        state = (state * 31 + latent * (p + 1)) % 65_521;
      }
      poison += 0 * latent;
    }
    return [state, poison];
  }
}

function placeOf(blocks: readonly number[], position: number): number {
  return blocks[Math.floor(position / blockTokens)] * blockTokens + position % blockTokens;
}

/** Runs of one sequence share its list of blocks; a block that is written is in no other list. */
function checkBlocks(runs: readonly Run[]): void {
  for (const { firstPosition, count, blocks } of runs) {
    const written = blocks.slice(
      Math.floor(firstPosition / blockTokens),
      Math.ceil((firstPosition + count) / blockTokens),
    );
    const others = runs.filter((run) => run.blocks !== blocks).flatMap((run) => [...run.blocks]);
    assert(written.every((block) => !others.includes(block)), "a block that others hold is written");
  }
  for (const { firstPosition, count, blocks } of runs) {
    assert.ok(count >= 1);
    assert.ok(firstPosition + count <= blocks.length * blockTokens, "the blocks do not cover the run");
  }
}

/** What became of a request. */
export interface Outcome {
  readonly tokens: number[];
  readonly events: TokenEvent[];
  rows: number[];
  readonly prompt: PromptLogprob[];
  finish: Finish | null;
  error: unknown;
}

/** An engine over a fake model, and all that it reported. */
export class Harness {
  readonly model: FakeModel;
  readonly engine: Engine;
  readonly outcomes: Map<number, Outcome> = new Map();
  #nextId = 1;

  constructor(limits: Partial<EngineLimits> & { nBlocks?: number } = {}) {
    const { nBlocks = 32, ...given } = limits;
    this.model = new FakeModel(nBlocks);
    const ended = (id: number) => {
      const outcome = this.outcomes.get(id);
      assert.ok(outcome, `request ${id} is not known`);
      assert.ok(outcome.finish === null && outcome.error === null, `request ${id} had ended before`);
      return outcome;
    };
    this.engine = new Engine(
      this.model,
      { nLayers: 1, nBlocks, kvLoraRank: 1, qkRopeHeadDim: 0, dtype: "f32", sizeBytes: 0 },
      {
        maxSequences: 4,
        maxQueue: 100,
        chunkTokens: 64,
        logitRows: 16,
        contextLength: nBlocks * blockTokens,
        prefixCache: true,
        ...given,
      },
      {
        tokens: (events) => {
          for (const { id, event } of events) {
            ended(id).tokens.push(event.token);
            ended(id).events.push(event);
          }
        },
        rows: (id, firstRow, values) => {
          const { rows } = ended(id);
          assert.equal(rows.length % values.length === 0 || rows.length === firstRow * vocabSize, true);
          rows.push(...values);
        },
        prompt: (id, logprobs) => ended(id).prompt.push(...logprobs),
        finished: (id, finish) => ended(id).finish = finish,
        failed: (id, error) => ended(id).error = error,
      },
    );
  }

  submit(tokens: readonly number[], task: Task, tenant = ""): number {
    const id = this.#nextId;
    this.#nextId += task.kind === "generate" ? task.sampling.n : 1;
    this.engine.submit(id, Int32Array.from(tokens), task, tenant);
    for (let each = id; each < this.#nextId; each++) {
      this.outcomes.set(each, { tokens: [], events: [], rows: [], prompt: [], finish: null, error: null });
    }
    return id;
  }

  generate(tokens: readonly number[], options: SamplingOptions = {}, tenant = ""): number {
    return this.submit(tokens, { kind: "generate", sampling: samplingOf(options) }, tenant);
  }

  /** Steps until all requests have ended. */
  run(): void {
    for (let steps = 0; this.engine.hasWork; steps++) {
      assert.ok(steps < 20_000, "the engine makes no progress");
      this.engine.step();
    }
  }

  /** Does all that the engine does while nobody asks for anything. */
  rest(): void {
    for (let steps = 0; this.engine.hasIdleWork; steps++) {
      assert.ok(steps < 20_000, "the engine does not come to rest");
      assert.ok(!this.engine.hasWork);
      this.engine.idleStep();
    }
  }

  /** Steps until all have ended. @returns what became of a request */
  result(id: number): Outcome {
    this.run();
    return this.outcomes.get(id)!;
  }

  isEnded(id: number): boolean {
    const { finish, error } = this.outcomes.get(id)!;
    return finish !== null || error !== null;
  }
}

/** Greedy and 10 tokens unless told otherwise. */
export function samplingOf(options: SamplingOptions = {}): Sampling {
  return resolveSampling({ maxTokens: 10, temperature: 0, seed: 1, ...options }, { vocabSize, eosIds: [] });
}

/** @returns `count` tokens without the special ones */
export function prompt(count: number, seed = 1): number[] {
  return Array.from({ length: count }, (_, i) => 15 + (seed * 7919 + i * i * 31 + i) % (vocabSize - 15));
}
