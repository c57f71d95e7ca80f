/**
 * One layer of the network: attention, then feed-forward, each behind its norm and added to the residual
 * (DeepSeek-V2 report, figure 2).
 * @module
 */
import type { LatentCache, Ops, Routes, Run, Tensor, Vector } from "../backend/backend.ts";
import { attend, type AttentionWeights, type Placed } from "./attention.ts";
import type { ModelConfig } from "./config.ts";
import { feedForward, type FeedForwardWeights } from "./feed_forward.ts";
import { pick, place } from "./placed.ts";

/** Weights of a layer. */
export interface LayerWeights {
  /** (hidden) */
  readonly attentionNorm: Vector;
  readonly attention: AttentionWeights;
  /** (hidden) */
  readonly feedForwardNorm: Vector;
  readonly feedForward: FeedForwardWeights;
}

/** Tokens on their way through the layers, which write into both tensors. */
export interface Residual {
  /** (tokens, hidden): what each layer adds to */
  readonly hidden: Tensor;
  /** (tokens, hidden): the same behind the norm of what comes next */
  readonly normed: Tensor;
  readonly placed: Placed;
}

/**
 * What a layer makes of tokens that `remember` has seen.
 * @param layer its plane of the cache
 * @param nextNorm (hidden), of what comes after it
 * @param onRoutes is shown which experts were chosen
 */
export function passLayer(
  ops: Ops,
  config: ModelConfig,
  w: LayerWeights,
  cache: LatentCache,
  layer: number,
  { hidden, normed, placed }: Residual,
  nextNorm: Vector,
  onRoutes?: (routes: Routes) => void,
): void {
  const fromAttention = attend(ops, config, w.attention, cache, layer, normed, placed);
  ops.addRmsNorm(hidden, fromAttention, w.feedForwardNorm, config.normEps, normed);
  const fromFeedForward = feedForward(ops, w.feedForward, normed, onRoutes);
  ops.addRmsNorm(hidden, fromFeedForward, nextNorm, config.normEps, normed);
}

/**
 * @param runs where all the tokens stand
 * @param wanted rows, ascending
 * @returns these rows alone: nobody reads what the last layer makes of the others
 */
export function pickRows(
  ops: Ops,
  config: ModelConfig,
  all: Residual,
  runs: readonly Run[],
  wanted: Int32Array,
): Residual {
  if (wanted.length === all.hidden.rows) return all;
  return {
    hidden: ops.gatherRows(all.hidden, wanted),
    normed: ops.gatherRows(all.normed, wanted),
    placed: place(ops, config, pick(runs, wanted)),
  };
}
