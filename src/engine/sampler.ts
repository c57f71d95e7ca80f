/**
 * From logits to a token. The order is fixed: penalties and bias (penalties.ts), the grammar (masking.ts),
 * temperature, top-k, top-p, min-p, typical-p, then one draw; each filter sees the distribution that the one
 * before left. No step sorts the vocabulary, and the exponential runs only over tokens that could be drawn: a
 * vocabulary of 129 000 tokens would otherwise cost a tenth of a small model's time.
 * @module
 */
import { DeviceError, RequestError } from "../errors.ts";
import { decay } from "./decay.ts";
import { type Guide, maskLogits, permits } from "./masking.ts";
import { reachOfMass } from "./nearest.ts";
import { adjustLogits, needsAdjusting, type TokenCounts } from "./penalties.ts";
import type { Sampling } from "./protocol.ts";
import type { Random } from "./random.ts";

/** Below e^-40 of the likeliest, a token weighs less than the last bit of a draw. */
const maxDistance = 40;

/** Draws tokens from rows of one width; its scratch memory serves all sequences in turn. */
export class Sampler {
  readonly #adjusted: Float32Array<ArrayBuffer>;
  // The candidates left, in order of id.
  #n = 0;
  readonly #ids: Int32Array;
  /** (best logit - logit) / temperature: ln of how many times likelier the best one is. */
  readonly #distances: Float32Array<ArrayBuffer>;
  readonly #masses: Float64Array;
  readonly #surprises: Float32Array<ArrayBuffer>;

  constructor(vocabSize: number) {
    this.#adjusted = new Float32Array(vocabSize);
    this.#ids = new Int32Array(vocabSize);
    this.#distances = new Float32Array(vocabSize);
    this.#masses = new Float64Array(vocabSize);
    this.#surprises = new Float32Array(vocabSize);
  }

  /**
   * @param logits (vocab), not changed
   * @param counts the sequence's tokens, or null where `needsCounts` is false
   * @param nGenerated tokens of the reply so far
   * @param likeliest index of the largest logit, from a device that found all of them finite; null to look
   *   here
   * @param guide what the sequence's grammar allows, or null
   * @returns the id of the token drawn
   * @throws {DeviceError} a logit is NaN or infinite
   * @throws {RequestError} what the caller asks for leaves no token
   */
  sample(
    logits: Float32Array,
    sampling: Sampling,
    counts: TokenCounts | null,
    nGenerated: number,
    random: Random,
    likeliest: number | null = null,
    guide: Guide | null = null,
  ): number {
    const isBest = likeliest !== null && sampling.temperature === 0 && !needsAdjusting(sampling, nGenerated);
    if (isBest && (guide === null || permits(guide, likeliest, sampling.stopIds))) return likeliest;
    const adjusted = this.#adjust(logits, sampling, counts, nGenerated, likeliest !== null, guide);
    const best = adjusted === logits ? likeliest ?? largest(logits, sampling) : largest(adjusted, sampling);
    if (sampling.temperature === 0) return best;
    this.#filter(adjusted, adjusted[best], sampling);
    // Ids ascend, so the same draw finds the same token whatever the filters did in between.
    const masses = this.#masses;
    let left = random.next() * this.#totalMass();
    for (let i = 0; i < this.#n; i++) {
      left -= masses[i];
      if (left < 0) return this.#ids[i];
    }
    return best; // the masses summed up to a rounding less than their total
  }

  /** @returns (vocab): the probability with which `sample` draws each token */
  distribution(
    logits: Float32Array,
    sampling: Sampling,
    counts: TokenCounts | null,
    nGenerated: number,
    guide: Guide | null = null,
  ): Float64Array {
    const adjusted = this.#adjust(logits, sampling, counts, nGenerated, false, guide);
    const probabilities = new Float64Array(logits.length);
    const best = largest(adjusted, sampling);
    if (sampling.temperature === 0) {
      probabilities[best] = 1;
      return probabilities;
    }
    this.#filter(adjusted, adjusted[best], sampling);
    const total = this.#totalMass();
    for (let i = 0; i < this.#n; i++) probabilities[this.#ids[i]] = this.#masses[i] / total;
    return probabilities;
  }

  #adjust(
    logits: Float32Array,
    sampling: Sampling,
    counts: TokenCounts | null,
    nGenerated: number,
    areFinite: boolean,
    guide: Guide | null,
  ): Float32Array {
    if (!areFinite && !allFinite(logits)) {
      throw new DeviceError("Cannot sample: the model's logits hold NaN or infinity");
    }
    if (guide === null && !needsAdjusting(sampling, nGenerated)) return logits;
    this.#adjusted.set(logits);
    adjustLogits(this.#adjusted, sampling, counts, nGenerated);
    if (guide !== null) maskLogits(this.#adjusted, guide, sampling.stopIds);
    return this.#adjusted;
  }

  /** Fills the candidates with what all filters leave. */
  #filter(logits: Float32Array, best: number, sampling: Sampling): void {
    const { temperature, topK, topP, minP, typicalP } = sampling;
    const isCut = topK > 0 && topK < logits.length;
    const total = isCut
      ? this.#takeNearest(logits, best, temperature, topK)
      : this.#takeAll(logits, best, sampling);
    if (topP < 1) {
      const reach = reachOfMass(this.#distances, this.#masses, this.#n, topP * total);
      this.#keepWithin(this.#distances, reach);
    }
    if (minP > 0) this.#keepWithin(this.#distances, -Math.log(minP));
    if (typicalP < 1) this.#keepTypical(typicalP);
  }

  /**
   * Fills the candidates with all tokens that could be drawn, but for those that top-p or min-p would drop
   * whatever the others weigh. @returns what they weigh together, those left out included
   */
  #takeAll(logits: Float32Array, best: number, { temperature, topP, minP }: Sampling): number {
    // The tokens that weigh less than (1 - p) / n of the total weigh less than 1 - p of it together, so the
    // others hold p; and the total is at least the 1 of the likeliest.
    const reachOfTopP = Math.log(logits.length / (1 - topP)) + 1e-3;
    const kept = topP < 1 ? reachOfTopP : minP > 0 ? -Math.log(minP) + 1e-3 : maxDistance;
    const counted = topP < 1 ? maxDistance : Math.min(maxDistance, kept);
    const lowest = lowestWithin(counted, best, temperature);
    const ids = this.#ids, distances = this.#distances, masses = this.#masses;
    let n = 0, total = 0;
    for (let id = 0; id < logits.length; id++) {
      const logit = logits[id];
      if (!(logit >= lowest)) continue;
      const distance = Math.fround((best - logit) / temperature);
      if (!(distance <= counted)) continue;
      const mass = decay(distance);
      total += mass;
      if (distance > kept) continue;
      ids[n] = id;
      distances[n] = distance;
      masses[n++] = mass;
    }
    this.#n = n;
    return total;
  }

  /** Fills the candidates with the `topK` likeliest and their equals. @returns what they weigh together */
  #takeNearest(logits: Float32Array, best: number, temperature: number, topK: number): number {
    const ids = this.#ids, distances = this.#distances;
    let n = 0;
    let reach = maxDistance;
    let lowest = lowestWithin(reach, best, temperature);
    let room = Math.max(1024, 4 * topK);
    for (let id = 0; id < logits.length; id++) {
      const logit = logits[id];
      if (!(logit >= lowest)) continue;
      const distance = Math.fround((best - logit) / temperature);
      if (!(distance <= reach)) continue;
      ids[n] = id;
      distances[n++] = distance;
      if (n < room) continue;
      // Who is not among the nearest so far will not be later: from here on most tokens cost one comparison.
      reach = this.#keepNearest(n, topK);
      n = this.#n;
      lowest = lowestWithin(reach, best, temperature);
      room = Math.max(room, 2 * n); // many equals
    }
    this.#keepNearest(n, topK);
    for (let i = 0; i < this.#n; i++) this.#masses[i] = decay(distances[i]);
    return this.#totalMass();
  }

  /** Drops all but the `topK` nearest of `n` candidates, and their equals. @returns how far they reach */
  #keepNearest(n: number, topK: number): number {
    const reach = reachOfMass(this.#distances, null, n, topK);
    this.#n = n;
    this.#keepWithin(this.#distances, reach);
    return reach;
  }

  /**
   * Locally typical sampling (arXiv:2202.00666): keeps the tokens whose surprise, -ln p, is nearest
   * to the mean surprise.
   */
  #keepTypical(typicalP: number): void {
    const total = this.#totalMass();
    let entropy = 0; // less ln(total), which each surprise lacks as well
    for (let i = 0; i < this.#n; i++) entropy += this.#masses[i] / total * this.#distances[i];
    for (let i = 0; i < this.#n; i++) this.#surprises[i] = Math.abs(this.#distances[i] - entropy);
    this.#keepWithin(
      this.#surprises,
      reachOfMass(this.#surprises, this.#masses, this.#n, typicalP * total),
    );
  }

  #keepWithin(by: Float32Array, reach: number): void {
    const ids = this.#ids, distances = this.#distances, masses = this.#masses;
    let n = 0;
    for (let i = 0; i < this.#n; i++) {
      if (by[i] > reach) continue;
      ids[n] = ids[i];
      distances[n] = distances[i];
      masses[n++] = masses[i];
    }
    this.#n = n;
  }

  #totalMass(): number {
    const masses = this.#masses;
    let total = 0;
    for (let i = 0; i < this.#n; i++) total += masses[i];
    return total;
  }
}

/** @returns a bound below which no logit is within `distance` of the best, roundings included */
function lowestWithin(distance: number, best: number, temperature: number): number {
  return best - distance * temperature * (1 + 1e-6);
}

/** Whether no value is NaN or infinite. */
export function allFinite(values: Float32Array): boolean {
  let sum = 0;
  // 0 × NaN and 0 × ∞ are NaN, and NaN stays: one branch for a whole row.
  for (let i = 0; i < values.length; i++) sum += values[i] * 0;
  return sum === 0;
}

/** @returns the first index of the largest value. @throws {RequestError} all are -∞ */
function largest(logits: Float32Array, { allowedIds, badWords }: Sampling): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id] > logits[best]) best = id;
  if (logits[best] === -Infinity) {
    const param = allowedIds !== null
      ? "allowed_token_ids"
      : badWords.length > 0
      ? "bad_words"
      : "min_tokens";
    throw new RequestError(`Cannot sample: ${param} bans every token that could be drawn`, { param });
  }
  return best;
}
