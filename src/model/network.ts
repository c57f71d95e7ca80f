/**
 * DeepSeek's network, from token ids to the last hidden states and logits: V2, V3 and their kin
 * differ only in numbers and in features that the configuration declares. A layer is `layer.ts`, its two
 * halves are `attention.ts` and `feed_forward.ts`; what an op means says `backend/reference/`.
 * @module
 */
import {
  type Backend,
  type LatentCache,
  type Ops,
  type Prediction,
  recordedRows,
  type Recording,
  type Routes,
  type Run,
  type Tensor,
  type Vector,
  type Weight,
} from "../backend/backend.ts";
import { remember } from "./attention.ts";
import type { ModelConfig } from "./config.ts";
import { type LayerWeights, passLayer, pickRows, type Residual } from "./layer.ts";
import { Mtp, type MtpWeights } from "./mtp.ts";
import { place } from "./placed.ts";
import { rotaryAngles, turningAngles } from "./rotary.ts";

/** All weights of a network. */
export interface NetworkWeights {
  /** (vocab, hidden) */
  readonly embedding: Weight;
  readonly layers: readonly LayerWeights[];
  /** (hidden) */
  readonly finalNorm: Vector;
  /** (vocab, hidden) */
  readonly head: Weight;
  /** The layer that looks further; null where the checkpoint has none, or it was not asked for. */
  readonly mtp: MtpWeights | null;
}

/** Someone who looks on: for tests against the official network, and for counting expert load. */
export interface Observer {
  /** `layer` is -1 for the embedding; (rows, hidden), valid only during the call. */
  onHidden?(layer: number, hidden: Tensor): void;
  onRoutes?(layer: number, routes: Routes): void;
}

/** What follows the tokens of a step: of all that were asked for the states, of some the logits. */
export interface Predicted extends Pick<Prediction, "hidden" | "best"> {
  /** Null where no row meets the head. */
  readonly logits: Tensor | null;
}

/** A network whose weights are on a device. */
export class Network {
  readonly config: ModelConfig;
  readonly backend: Backend;
  /** Looks one token further; null where it is not loaded. */
  readonly mtp: Mtp | null;
  readonly #weights: NetworkWeights;
  /** Steps of few tokens, by their number. */
  readonly #recordings: WeakMap<LatentCache, (Recording | undefined)[]> = new WeakMap();

  constructor(config: ModelConfig, weights: NetworkWeights, backend: Backend) {
    this.config = config;
    this.backend = backend;
    this.#weights = weights;
    this.mtp = weights.mtp && new Mtp(config, weights.mtp, backend);
  }

  /** A cache for `nBlocks` blocks of 64 positions; the layer that looks further keeps its latents in them too. */
  createCache(nBlocks: number, dtype: LatentCache["dtype"]): LatentCache {
    const { kvLoraRank, qkRopeHeadDim } = this.config.attention;
    return this.backend.createCache({
      nLayers: this.config.nLayers + (this.mtp === null ? 0 : 1),
      nBlocks,
      kvLoraRank,
      qkRopeHeadDim,
      dtype,
    });
  }

  /**
   * One step. Begins a new step of the backend: earlier tensors are gone.
   * @param runs where the tokens stand in their sequences
   * @param tokens (tokens), those of all runs in order
   * @param wanted rows of `tokens` whose final hidden state is asked for, ascending
   * @returns (wanted.length, hidden), after the final norm
   */
  forward(
    cache: LatentCache,
    runs: readonly Run[],
    tokens: Int32Array,
    wanted: Int32Array,
    observer?: Observer,
  ): Tensor {
    this.backend.beginStep();
    return this.#pass(this.backend, cache, runs, tokens, wanted, observer);
  }

  /**
   * One step, and what follows: as `forward`, `logits` and `argmax` one after the other.
   * @param heads rows of `wanted` that meet the head, ascending
   */
  predict(
    cache: LatentCache,
    runs: readonly Run[],
    tokens: Int32Array,
    wanted: Int32Array,
    heads: readonly number[],
    observer?: Observer,
  ): Predicted {
    // Where all rows meet the head, as in decoding, a step differs from another of as many tokens in these alone.
    if (heads.length === tokens.length && tokens.length <= recordedRows && observer === undefined) {
      const recording = this.#recording(cache, runs, tokens, wanted);
      if (recording !== null) {
        this.backend.beginStep();
        return recording.run(tokens, runs, rotaryAngles(this.config.rope, runs));
      }
    }
    const hidden = this.forward(cache, runs, tokens, wanted, observer);
    if (heads.length === 0) return { hidden, logits: null, best: new Int32Array() };
    const logits = this.logits(
      heads.length === hidden.rows ? hidden : this.backend.gatherRows(hidden, Int32Array.from(heads)),
    );
    return { hidden, logits, best: this.backend.argmax(logits) };
  }

  /** @returns a step of so many tokens on this cache, recorded; null where the backend does not */
  #recording(
    cache: LatentCache,
    runs: readonly Run[],
    tokens: Int32Array,
    wanted: Int32Array,
  ): Recording | null {
    if (this.backend.record === undefined || tokens.length === 0) return null;
    if (!this.#recordings.has(cache)) this.#recordings.set(cache, []);
    const compute = (ops: Ops) => {
      const hidden = this.#pass(ops, cache, runs, tokens, wanted);
      return { hidden, logits: ops.linear(hidden, this.#weights.head) };
    };
    return this.#recordings.get(cache)![tokens.length] ??= this.backend.record(tokens.length, compute);
  }

  /** From embedding to final norm. */
  #pass(
    ops: Ops,
    cache: LatentCache,
    runs: readonly Run[],
    tokens: Int32Array,
    wanted: Int32Array,
    observer?: Observer,
  ): Tensor {
    const { config } = this;
    const { embedding, layers, finalNorm } = this.#weights;
    const embedded = ops.embed(embedding, tokens);
    observer?.onHidden?.(-1, embedded);
    let residual: Residual = {
      hidden: embedded,
      normed: ops.rmsNorm(embedded, layers[0].attentionNorm, config.normEps),
      placed: place(ops, config, runs),
    };
    for (const [layer, w] of layers.entries()) {
      const mark = ops.mark();
      const isLast = layer === layers.length - 1;
      remember(ops, config, w.attention, cache, layer, residual.normed, residual.placed);
      if (isLast && wanted.length === 0) return ops.gatherRows(residual.normed, wanted);
      if (isLast) residual = pickRows(ops, config, residual, runs, wanted);
      const nextNorm = isLast ? finalNorm : layers[layer + 1].attentionNorm;
      const onRoutes = (routes: Routes) => observer?.onRoutes?.(layer, routes);
      passLayer(ops, config, w, cache, layer, residual, nextNorm, onRoutes);
      observer?.onHidden?.(layer, residual.hidden);
      if (!isLast) ops.release(mark);
    }
    return residual.normed;
  }

  /**
   * Moves what the cache holds of tokens to other positions. Begins a new step of the backend.
   * @param places pairs of from and to, as in `moveLatents`
   * @param by positions that each token moves
   */
  moveTokens(cache: LatentCache, places: Int32Array, by: number): void {
    const { backend: ops, config: { rope, attention } } = this;
    ops.beginStep();
    const angles = ops.upload(turningAngles(rope, by), attention.qkRopeHeadDim);
    ops.moveLatents(cache, places, angles, rope.interleaved);
  }

  /**
   * @param hidden (rows, hidden), what `forward` returned
   * @returns (rows, vocab)
   */
  logits(hidden: Tensor): Tensor {
    return this.backend.linear(hidden, this.#weights.head);
  }
}

/**
 * @param nGuessing rows in which the layer that looks further is asked, where it is loaded
 * @returns an upper bound on the bytes that tensors of a step take, kernels' scratch not counted
 */
export function stepBytes(config: ModelConfig, nTokens: number, nWanted: number, nGuessing = 0): number {
  const { hidden, vocabSize, qLoraRank, routing, nSharedExperts, intermediate, moeIntermediate } = config;
  const { nHeads, qkNopeHeadDim, qkRopeHeadDim, vHeadDim, kvLoraRank } = config.attention;
  const query = nHeads * (qkNopeHeadDim + qkRopeHeadDim) + 2 * (qLoraRank ?? 0);
  const attention = kvLoraRank + 2 * qkRopeHeadDim + query + nHeads * vHeadDim;
  const inner = Math.max(
    intermediate,
    moeIntermediate * (nSharedExperts + (routing?.nExpertsPerToken ?? 0)),
  );
  // Residual, norm, both additions and the gathered rows of the last layer.
  const layer = 8 * hidden + attention + 4 * inner;
  // Of all rows: embedding, state, both joined, residual and norm, and what becomes the latent.
  const further = nTokens * (8 * hidden + kvLoraRank + 2 * qkRopeHeadDim) + nGuessing * (layer + vocabSize);
  return 4 * (nTokens * layer + nWanted * vocabSize + (nGuessing > 0 ? further : 0));
}
