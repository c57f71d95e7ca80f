/**
 * Multi-token prediction (DeepSeek-V3 report, §2.2; equation numbers are the report's): a further layer that
 * looks one token beyond the network's own prediction. Given the last hidden state of position i and the
 * token that came at i + 1, it says what it expects at i + 2.
 * @module
 */
import type { Backend, LatentCache, Ops, Run, Tensor, Vector, Weight } from "../backend/backend.ts";
import { checkedProduct } from "../tensor/checked.ts";
import { remember } from "./attention.ts";
import type { ModelConfig } from "./config.ts";
import { type LayerWeights, passLayer, pickRows, type Residual } from "./layer.ts";
import { place } from "./placed.ts";

/** Weights of the layer. */
export interface MtpWeights {
  /** (vocab, hidden), the network's own */
  readonly embedding: Weight;
  /** (hidden) */
  readonly embeddingNorm: Vector;
  /** (hidden) */
  readonly hiddenNorm: Vector;
  /** (hidden, 2 hidden): of a token's embedding, then of the hidden state before it */
  readonly join: Weight;
  readonly layer: LayerWeights;
  /** (hidden) */
  readonly finalNorm: Vector;
  /** (vocab, hidden): its own, or the network's */
  readonly head: Weight;
}

/** What the layer expects after some rows. */
export interface Expectation {
  /** (rows): the likeliest token; -1 where values are not finite. */
  readonly best: Int32Array;
  /** (rows, hidden): what takes the place of the network's hidden states to look yet another token further. */
  readonly states: Float32Array;
}

/** The layer on its device; it works within the step of the forward pass whose states it is given. */
export class Mtp {
  readonly #config: ModelConfig;
  readonly #weights: MtpWeights;
  readonly #backend: Backend;

  constructor(config: ModelConfig, weights: MtpWeights, backend: Backend) {
    this.#config = config;
    this.#weights = weights;
    this.#backend = backend;
  }

  /**
   * @param runs where the states stand; the layer's latents are kept in the cache's last layer
   * @param tokens (rows): of each state, the token that follows
   * @param states (rows, hidden), after the network's final norm, or those of an expectation
   * @param wanted rows of which the expectation is asked for, ascending
   */
  expect(
    cache: LatentCache,
    runs: readonly Run[],
    tokens: Int32Array,
    states: Tensor | Float32Array,
    wanted: Int32Array,
  ): Expectation {
    const ops = this.#backend;
    const mark = ops.mark();
    const x = states instanceof Float32Array ? ops.upload(states, this.#config.hidden) : states;
    const normed = this.forward(cache, runs, tokens, x, wanted);
    const expectation = normed === null ? { best: new Int32Array(), states: new Float32Array() } : {
      best: ops.argmax(this.logits(normed)),
      states: ops.read(normed),
    };
    ops.release(mark);
    return expectation;
  }

  /**
   * @param states (rows, hidden)
   * @param onHidden told of the layer's residual, for tests against the official network
   * @returns (wanted.length, hidden), after the layer's norm; null where nothing is wanted
   */
  forward(
    cache: LatentCache,
    runs: readonly Run[],
    tokens: Int32Array,
    states: Tensor,
    wanted: Int32Array,
    onHidden?: (hidden: Tensor) => void,
  ): Tensor | null {
    const ops = this.#backend, config = this.#config;
    const { embedding, embeddingNorm, hiddenNorm, join, layer: w, finalNorm } = this.#weights;
    const plane = config.nLayers;
    const embedded = ops.embed(embedding, tokens);
    const joined = sideBySide( // eq. 21
      ops,
      ops.rmsNorm(embedded, embeddingNorm, config.normEps, embedded),
      ops.rmsNorm(states, hiddenNorm, config.normEps),
    );
    const hidden = ops.linear(joined, join);
    const all: Residual = {
      hidden,
      normed: ops.rmsNorm(hidden, w.attentionNorm, config.normEps),
      placed: place(ops, config, runs),
    };
    remember(ops, config, w.attention, cache, plane, all.normed, all.placed);
    if (wanted.length === 0) return null; // of the other rows only their latents are ever looked at
    const residual = pickRows(ops, config, all, runs, wanted);
    passLayer(ops, config, w, cache, plane, residual, finalNorm); // eq. 22
    onHidden?.(residual.hidden);
    return residual.normed;
  }

  /** @returns (rows, vocab) (eq. 23) */
  logits(normed: Tensor): Tensor {
    return this.#backend.linear(normed, this.#weights.head);
  }
}

/** By way of the host: no device has an op for it, and joining is little beside the layer that follows. */
function sideBySide(ops: Ops, left: Tensor, right: Tensor): Tensor {
  const { rows, width } = left;
  const joined = new Float32Array(checkedProduct([rows, 2, width], "states and embeddings"));
  const [a, b] = [ops.read(left), ops.read(right)];
  for (let row = 0; row < rows; row++) {
    joined.set(a.subarray(row * width, (row + 1) * width), 2 * row * width);
    joined.set(b.subarray(row * width, (row + 1) * width), (2 * row + 1) * width);
  }
  return ops.upload(joined, 2 * width);
}
