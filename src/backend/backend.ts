/**
 * What a device offers to the network: about fifteen coarse operations on f32 activations.
 * `reference/` says what each one means; every other implementation agrees with it on `test/ops/`.
 *
 * Two promises hold everywhere. Results of a row never depend on which other rows share the batch,
 * on how a prompt is cut into chunks, or on the number of threads: the order of every reduction is
 * fixed by the row alone. And no call reads or writes outside what it is given: a wrong shape throws.
 * @module
 */
import type { CacheDtype, Dtype, WeightFormat } from "../tensor/dtype.ts";
import type { BlockFormat } from "../tensor/block_format.ts";
import type { PackedFormat } from "../tensor/packed_format.ts";

/** A matrix (rows, width) of f32 activations on the device. It lives until the next `beginStep`. */
export interface Tensor {
  readonly rows: number;
  readonly width: number;
}

/** A vector of f32 on the device that lives as long as the backend: norm weights, router bias. */
export interface Vector {
  readonly length: number;
}

/** A weight matrix (rows, width) = (outputs, inputs), in the format that the device reads. */
export interface Weight {
  readonly format: WeightFormat;
  readonly rows: number;
  readonly width: number;
  readonly sizeBytes: number;
}

/** A gated feed-forward network: down(silu(gate x) * up x). */
export interface MlpWeights {
  /** (intermediate, hidden) */
  readonly gate: Weight;
  /** (intermediate, hidden) */
  readonly up: Weight;
  /** (hidden, intermediate) */
  readonly down: Weight;
}

/** Feed-forward networks of equal shape, bound together so that a device can run them as one product. */
export interface Experts {
  readonly nExperts: number;
  readonly hidden: number;
  readonly intermediate: number;
}

/** Which experts each token of a batch goes to, and with what weight: (tokens, nExpertsPerToken). */
export interface Routes {
  readonly rows: number;
  readonly nExpertsPerToken: number;
}

/** How a router turns scores into experts (DeepSeek-V2 report, §2.2; DeepSeek-V3 report, §2.1.2). */
export interface Routing {
  readonly nExperts: number;
  readonly nExpertsPerToken: number;
  readonly scoring: "softmax" | "sigmoid";
  /** Groups that experts are split into; 1 when routing is not limited by group. */
  readonly nGroups: number;
  /** Best groups that a token may choose from. */
  readonly nGroupsPerToken: number;
  /** A group's score: its best expert, or the sum of its two best. */
  readonly groupScore: "max" | "top2";
  /** Divide the chosen weights by (their sum + 1e-20). */
  readonly normalise: boolean;
  /** Factor on the weights, after normalisation. */
  readonly scale: number;
}

/** Sizes of one layer's attention; names are those of DeepSeek's configuration. */
export interface AttentionShape {
  readonly nHeads: number;
  readonly qkNopeHeadDim: number;
  readonly qkRopeHeadDim: number;
  readonly vHeadDim: number;
  readonly kvLoraRank: number;
  readonly softmaxScale: number;
}

/** Positions a cache block holds. Position p of a sequence lies in its block ⌊p / 64⌋. */
export const blockTokens = 64;

/** Sizes of a paged latent cache. */
export interface CacheShape {
  readonly nLayers: number;
  readonly nBlocks: number;
  readonly kvLoraRank: number;
  readonly qkRopeHeadDim: number;
  readonly dtype: CacheDtype;
}

/** Normalised latents and rotated keys of all layers, in blocks of 64 positions. */
export interface LatentCache extends CacheShape {
  readonly sizeBytes: number;
}

/**
 * Consecutive tokens of one sequence in a batch. Tokens of the prompt attend over expanded keys and
 * values, generated ones over the latents themselves: the two are different sums, so which one a
 * token uses depends on the token alone (`isPrompt`), also when it is computed again later.
 */
export interface Run {
  /** Position of the run's first token in its sequence. */
  readonly firstPosition: number;
  /** Tokens in the run, at least 1. */
  readonly count: number;
  readonly isPrompt: boolean;
  /** The sequence's cache blocks, in order; they cover position firstPosition + count - 1. */
  readonly blocks: readonly number[];
}

/** The runs of a step as the device holds them; tokens of run 0 come first. */
export interface Batch {
  readonly nTokens: number;
  readonly runs: readonly Run[];
}

/** Where a matrix of a checkpoint lies. */
export interface StoredMatrix {
  /** Tensor name, for messages. */
  readonly name: string;
  readonly file: string;
  /** First byte in the file. */
  readonly offset: number;
  readonly sizeBytes: number;
  readonly dtype: Dtype;
  /** Outputs. */
  readonly rows: number;
  /** Inputs. */
  readonly width: number;
  /** For U8: the format whose bytes these are. */
  readonly packed?: PackedFormat;
  /** The same, for blocks of a GGUF file. */
  readonly blocks?: BlockFormat;
  /** What the file calls its format, where that is one of another program: "Q5_K". */
  readonly madeFrom?: string;
  /** For F8_E4M3: f32 (⌈rows / 128⌉, ⌈width / 128⌉), the factor of each block. */
  readonly scale?: StoredMatrix;
  /**
   * The bytes of some rows, in the order of the file, where the file has them only in another form; the
   * matrix is then read from here, and its offset says nothing.
   */
  pieces?(row: number, count: number): Iterable<Uint8Array>;
}

/** A matrix, or some rows of one, as a file holds it. */
export interface PackedBytes {
  readonly data: Uint8Array;
  /** For fp8: f32 (⌈rows / 128⌉, ⌈width / 128⌉), the factor of each block. */
  readonly scales: Uint8Array | null;
}

/** The operations, in the order that a token meets them. */
export interface Ops {
  /** Forgets all tensors, batches and routes made since the last call. */
  beginStep(): void;
  /** The point to which `release` goes back. */
  mark(): number;
  /** Forgets all tensors, batches and routes made since `mark`: each layer reuses the memory of the one before. */
  release(mark: number): void;
  /** @returns (values.length / width, width) */
  upload(values: Float32Array, width: number): Tensor;
  /** Copies a tensor out. @returns `into` where given, which has a place for each value */
  read(x: Tensor, into?: Float32Array): Float32Array;
  /** Copies a routing out: ids and weights are (tokens, nExpertsPerToken), ids ascending in each row. */
  readRoutes(routes: Routes): { ids: Int32Array; weights: Float32Array };
  /** Puts the runs of a step on the device. */
  batch(runs: readonly Run[]): Batch;

  /** @returns (tokens, width): row `tokens[i]` of the embedding, widened to f32 */
  embed(embedding: Weight, tokens: Int32Array): Tensor;
  /** RMSNorm (arXiv:1910.07467). @returns (rows, width): `out` where given, which may be `x` */
  rmsNorm(x: Tensor, weight: Vector, eps: number, out?: Tensor): Tensor;
  /** x += delta in place. @returns rmsNorm of the sum: `out` where given, which may be `delta` */
  addRmsNorm(x: Tensor, delta: Tensor, weight: Vector, eps: number, out?: Tensor): Tensor;
  /** x += delta, in place. */
  add(x: Tensor, delta: Tensor): void;
  /** @returns (rows, w.rows): x wᵀ, accumulated in f32 */
  linear(x: Tensor, w: Weight): Tensor;
  /** @returns the rows named, in that order */
  gatherRows(x: Tensor, rows: Int32Array): Tensor;
  /**
   * Rotates the last `angles.width` values of each head, in place (arXiv:2104.09864).
   * @param x (tokens, nHeads * headDim)
   * @param angles (tokens, ropeDim): ropeDim / 2 cosines, then ropeDim / 2 sines; the rotated part
   *   of a head is its last ropeDim values
   * @param interleaved pairs are (0,1),(2,3),… and stay so; otherwise (0,d/2),(1,d/2+1),…
   */
  rope(x: Tensor, angles: Tensor, nHeads: number, interleaved: boolean): void;
  /**
   * Writes latent and key of each token into its place in the cache.
   * @param kv (tokens, kvLoraRank + qkRopeHeadDim): latents before their norm, keys before rotation
   */
  appendLatent(
    cache: LatentCache,
    layer: number,
    batch: Batch,
    kv: Tensor,
    norm: Vector,
    eps: number,
    angles: Tensor,
    interleaved: boolean,
  ): void;
  /**
   * Copies what the cache holds of some tokens to other places, in every layer, in the order given: a place
   * may be written after it was read. Latents stay bit for bit; so do keys without angles.
   * @param places pairs of from and to, each block * 64 + position in the block
   * @param angles (1, ropeDim): turns each key on by them, then rounds it to the cache's number type; null
   *   for none
   */
  moveLatents(cache: LatentCache, places: Int32Array, angles: Tensor | null, interleaved: boolean): void;
  /**
   * Multi-head latent attention (DeepSeek-V2 report, eq. 9-19), causal within each sequence. The
   * batch's own tokens must have been appended to `layer` before.
   * @param query (tokens, nHeads * (qkNopeHeadDim + qkRopeHeadDim)), rotated
   * @param kvUp (nHeads * (qkNopeHeadDim + vHeadDim), kvLoraRank): per head the key rows, then the value rows
   * @returns (tokens, nHeads * vHeadDim)
   */
  latentAttention(
    cache: LatentCache,
    layer: number,
    batch: Batch,
    query: Tensor,
    kvUp: Weight,
    shape: AttentionShape,
  ): Tensor;
  /** @returns (rows, hidden): expert 0 of `w` applied to every row */
  mlp(x: Tensor, w: Experts): Tensor;
  /**
   * @param gate (nExperts, hidden)
   * @param bias (nExperts), added to the scores for the choice only; null for none
   */
  routeExperts(x: Tensor, gate: Weight, bias: Vector | null, routing: Routing): Routes;
  /** @returns (tokens, hidden): the weighted sum over each token's experts, ascending, plus `shared` */
  experts(x: Tensor, routes: Routes, experts: Experts, shared: Experts | null): Tensor;
  /** @returns for each row the first index of its largest value, or -1 if any value is NaN or infinite */
  argmax(x: Tensor): Int32Array;
}

/** Rows of the largest step that is worth recording: in larger ones, what passes between ops is next to nothing. */
export const recordedRows = 16;

/** The ops of a step, noted once to be run with one call: what other devices know as a graph. */
export interface Recording {
  /**
   * Runs the ops on other tokens, as many as it was recorded for.
   * @param runs where they stand, the same number of tokens in any cut
   * @param angles (tokens, ropeDim)
   * @returns what `compute` returned when it was recorded, and `best` of it; all lives until the next run
   */
  run(tokens: Int32Array, runs: readonly Run[], angles: Float32Array): Prediction;
}

/** What follows each token of a step. */
export interface Prediction {
  /** (rows, hidden), after the final norm */
  readonly hidden: Tensor;
  /** (rows, vocab) */
  readonly logits: Tensor;
  /** (rows): `argmax` of the logits */
  readonly best: Int32Array;
}

/** What a backend is and chose, for `model.info`. */
export interface BackendInfo {
  readonly name: string;
  /** Instruction set, device name, BLAS library, …: words for a person. */
  readonly kernels: string;
  readonly threads: number;
  /** Changes with whatever changes a bit of its results. */
  readonly build: string;
}

/** What a backend holds, in bytes. */
export interface BackendMemory {
  /** Without mapped files. */
  readonly allocatedBytes: number;
  readonly mappedBytes: number;
  /** Of the mapped ones: copied into huge pages, which are read faster than small ones. */
  readonly movedBytes: number;
  /** Of the mapped ones: those that may still be copied so. */
  readonly pendingBytes: number;
  /** The most that the activations of a step have taken. */
  readonly stepPeakBytes: number;
}

/** A device: the operations, and the things that outlive a step. */
export interface Backend extends Ops {
  readonly info: BackendInfo;
  /**
   * Makes a matrix of a checkpoint usable. Nothing is copied where the device can read the stored
   * bytes. Any stored float can be repacked into bf16, fp8 and the packed formats.
   */
  loadWeight(stored: StoredMatrix, format: "auto" | WeightFormat): Weight;
  /**
   * Makes a matrix in another format for a file; the device keeps nothing of it.
   * @returns strips of a few MB: one after the other they are the whole matrix
   * @throws {CheckpointError} for NaN, infinity and what the format cannot hold, naming row and column
   */
  packWeight(stored: StoredMatrix, format: WeightFormat): Iterable<PackedBytes>;
  loadVector(values: Float32Array): Vector;
  bindExperts(experts: readonly MlpWeights[]): Experts;
  createCache(shape: CacheShape): LatentCache;
  /** Fills blocks of all layers with zeros: 0 × NaN is NaN, so a failed request's values must not stay. */
  clearBlocks(cache: LatentCache, blocks: readonly number[]): void;
  /** Copies all layers of a block over another, so that two sequences can go on from one beginning. */
  copyBlock(cache: LatentCache, from: number, to: number): void;
  /** Bytes of a block of all layers as `readBlock` gives them. */
  blockBytes(cache: LatentCache): number;
  /** Copies a block of all layers out of the cache; `writeBlock` of a cache of this shape and backend takes it. */
  readBlock(cache: LatentCache, block: number, into: Uint8Array): void;
  /** @throws {Error} and writes nothing where a value is NaN or infinite */
  writeBlock(cache: LatentCache, block: number, from: Uint8Array): void;
  /**
   * Notes the ops of a step without running them; left out where a device gains nothing by it. What a run of
   * them computes is bit for bit what the ops themselves do.
   * @param nTokens at most `recordedRows`, the rows of every tensor in it
   * @param compute embeds the step's tokens, then puts its runs and its angles on the device, once each; all
   *   else that it uses outlives a step
   */
  record?(nTokens: number, compute: (ops: Ops) => Omit<Prediction, "best">): Recording;
  memory(): BackendMemory;
  close(): void;
}
