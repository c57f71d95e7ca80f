/**
 * Rotary embedding (arXiv:2104.09864) and its stretching to longer contexts by YaRN (arXiv:2309.00071).
 * @module
 */
import { CheckpointError, UnsupportedError } from "../errors.ts";
import { atLeastZero, checkJson, finite, object, positive, show, text, truth, whole } from "./json_check.ts";

/** Rotary embedding with YaRN's stretching already in its numbers. */
export interface RopeConfig {
  /** ropeDim / 2 angular frequencies, in f32 as the official network rounds them. */
  readonly frequencies: Float32Array;
  /** Factor on cosine and sine: m(mscale) / m(mscaleAllDim). */
  readonly magnitude: number;
  /** Pairs lie side by side in the weights; otherwise in halves. */
  readonly interleaved: boolean;
}

/** Keys of `rope_scaling`, or of `rope_parameters` since transformers 5. */
const schema = object({
  rope_type: text().nullish(),
  type: text().nullish(),
  rope_theta: positive().nullish(),
  partial_rotary_factor: finite().nullish(),
  factor: positive().nullish(),
  original_max_position_embeddings: whole(1).nullish(),
  attention_factor: positive().nullish(),
  // The official network takes 0 for "not given" in these four.
  beta_fast: atLeastZero().nullish(),
  beta_slow: atLeastZero().nullish(),
  mscale: finite().nullish(),
  mscale_all_dim: finite().nullish(),
  truncate: truth().nullish(),
});

/**
 * @param json `rope_scaling` or `rope_parameters`, null for plain rotary embedding
 * @param theta `rope_theta` beside it, where older files have it
 * @returns the embedding, and the factor m(mscale_all_dim)² on the softmax scale
 * @throws {CheckpointError} {UnsupportedError}
 */
export function parseRope(
  json: unknown,
  options: { ropeDim: number; theta: number; maxPositions: number; interleaved: boolean; file: string },
): { rope: RopeConfig; softmaxFactor: number } {
  const { ropeDim, maxPositions, interleaved, file } = options;
  const keys = checkJson(schema, json ?? {}, file, "rope_scaling");
  const theta = keys.rope_theta ?? options.theta;
  // At 1 all frequencies are equal, and the logarithm that YaRN divides by is 0.
  if (theta <= 1) throw new CheckpointError(file, `rope_theta is ${theta}, a number above 1 is needed`);
  if ((keys.partial_rotary_factor ?? 1) !== 1) {
    throw new UnsupportedError(
      `Cannot use ${file}: partial_rotary_factor is ${keys.partial_rotary_factor}, supported: 1`,
    );
  }
  const type = keys.rope_type ?? keys.type ?? "default";
  if (type === "default") {
    const frequencies = periods(theta, ropeDim).map((period) => 1 / period);
    return { rope: { frequencies, magnitude: 1, interleaved }, softmaxFactor: 1 };
  }
  if (type !== "yarn") {
    throw new UnsupportedError(`Cannot use ${file}: rope_type is ${show(type)}, supported: default, yarn`);
  }
  const originalPositions = keys.original_max_position_embeddings ?? maxPositions;
  const factor = keys.factor ?? maxPositions / originalPositions;
  const { mscale, mscale_all_dim: mscaleAllDim } = keys;
  const frequencies = yarnFrequencies(theta, ropeDim, factor, [
    correctionDim(keys.beta_fast || 32, ropeDim, theta, originalPositions),
    correctionDim(keys.beta_slow || 1, ropeDim, theta, originalPositions),
  ], keys.truncate ?? true);
  const magnitude = keys.attention_factor ??
    (mscale && mscaleAllDim
      ? temperature(factor, mscale) / temperature(factor, mscaleAllDim)
      : temperature(factor, 1));
  const softmaxFactor = mscaleAllDim ? temperature(factor, mscaleAllDim) ** 2 : 1;
  if (
    !frequencies.every(Number.isFinite) || ![magnitude, softmaxFactor].every((m) => m > 0 && m < Infinity)
  ) {
    throw new CheckpointError(file, "the numbers of its rope_scaling give no finite rotation");
  }
  return { rope: { frequencies, magnitude, interleaved }, softmaxFactor };
}

/** m(s) = 0.1 s ln(factor) + 1 (YaRN, eq. 22, with DeepSeek's weight s on the logarithm). */
function temperature(factor: number, weight: number): number {
  return factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1;
}

/** theta^(2i / ropeDim), rounded to f32 where the official network rounds: Float32Array.from rounds too. */
function periods(theta: number, ropeDim: number): Float32Array {
  const base = Math.fround(theta);
  return Float32Array.from({ length: ropeDim / 2 }, (_, i) => base ** Math.fround((2 * i) / ropeDim));
}

/** Dimension whose wave turns `rotations` times over the original context (YaRN, eq. 17-18 solved for it). */
function correctionDim(rotations: number, ropeDim: number, theta: number, originalPositions: number): number {
  return (ropeDim * Math.log(originalPositions / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
}

/**
 * Fast waves stay, slow ones are stretched by `factor`, and a ramp lies between (YaRN, eq. 23). Each
 * step is rounded to f32: positions of 100,000 turn a last bit into a visible angle.
 */
function yarnFrequencies(
  theta: number,
  ropeDim: number,
  factor: number,
  [fastDim, slowDim]: [number, number],
  truncate: boolean,
): Float32Array {
  const low = Math.max(truncate ? Math.floor(fastDim) : fastDim, 0);
  let high = Math.min(truncate ? Math.ceil(slowDim) : slowDim, ropeDim - 1);
  if (low === high) high += 0.001; // the official network's way round 0 / 0
  const f32 = Math.fround;
  return periods(theta, ropeDim).map((period, i) => {
    const ramp = Math.min(Math.max(f32(f32(i - f32(low)) / f32(high - low)), 0), 1);
    const kept = f32(1 - ramp);
    const stretched = f32(1 / f32(f32(factor) * period));
    return f32(stretched * f32(1 - kept)) + f32(f32(1 / period) * kept);
  });
}
