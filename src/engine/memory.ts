/**
 * How much memory serving takes, decided before anything is allocated: weights, activations of a
 * step, and a latent cache in what is left.
 * @module
 */
import { blockTokens, recordedRows } from "../backend/backend.ts";
import { MemoryError } from "../errors.ts";
import type { ModelConfig } from "../model/config.ts";
import { stepBytes } from "../model/network.ts";
import { checkedProduct, roundUp } from "../tensor/checked.ts";
import type { CacheDtype } from "../tensor/dtype.ts";
import { blocksFor } from "./kv_blocks.ts";
import type { OpenOptions } from "./protocol.ts";
import { guessingRows } from "./scheduler.ts";

/** What there is to divide. */
export interface MemoryNeeds {
  readonly config: ModelConfig;
  readonly weightBytes: number;
  /** The layer for multi-token prediction is loaded. */
  readonly mtp?: boolean;
  /** Bytes that the process can still take, or null when the system does not say. */
  readonly availableBytes: number | null;
  readonly options: Pick<
    OpenOptions,
    "cacheDtype" | "cacheBytes" | "contextLength" | "maxSequences" | "chunkTokens" | "hugePages"
  >;
}

/** Who gets what. */
export interface MemoryPlan {
  readonly activationBytes: number;
  readonly cacheBytes: number;
  readonly nBlocks: number;
  readonly contextLength: number;
  /** Rows of logits in one step, for requests that want those of every token. */
  readonly logitRows: number;
  /** Of weight files that may exist twice, in the system's cache and in huge pages. */
  readonly movableBytes: number;
}

/** Kernels' own working memory on top of a step's tensors; they make do with less. */
const scratchBytes = 64 * 2 ** 20;
/** Logits of a request that wants those of every token are computed in slices of about this size. */
const logitSliceBytes = 64 * 2 ** 20;
/** Share of the memory left over that the cache takes unless told otherwise: others want to live too. */
const cacheShare = 1 / 4;
/** Taken for what is left over when the system does not say. */
const unknownBytes = 4 * 2 ** 30;

/**
 * @throws {MemoryError} weights, activations and the smallest useful cache do not fit
 * @throws {RangeError} a context longer than the model was made for
 */
export function planMemory(needs: MemoryNeeds): MemoryPlan {
  const { config, weightBytes, mtp = false, availableBytes, options } = needs;
  const { maxSequences, chunkTokens, cacheDtype } = options;
  const wanted = options.contextLength ?? config.maxPositions;
  if (wanted > config.maxPositions) {
    throw new RangeError(
      `Cannot use a context of ${wanted} tokens: the model was made for at most ${config.maxPositions}`,
    );
  }
  const sliceRows = Math.floor(logitSliceBytes / (4 * config.vocabSize));
  const logitRows = Math.max(maxSequences, Math.min(chunkTokens, sliceRows));
  const nGenerated = Math.max(maxSequences, guessingRows);
  // Recorded steps keep their rows. Those of the head exist twice where some of them are gathered to be read.
  const activationBytes = roundUp(
    stepBytes(
      config,
      chunkTokens + nGenerated + recordedRows,
      2 * (logitRows + nGenerated) + recordedRows,
      mtp ? maxSequences : 0,
    ) +
      scratchBytes,
    4096,
  );
  const fixedBytes = weightBytes + activationBytes;
  const leftBytes = availableBytes === null ? unknownBytes : availableBytes - fixedBytes;

  const blockBytes = bytesOfBlock(config, cacheDtype, mtp);
  const mostBlocks = checkedProduct([blocksFor(wanted), maxSequences], "cache blocks");
  const leastBlocks = options.contextLength === null ? 1 : blocksFor(wanted);
  let nBlocks = Math.min(mostBlocks, Math.max(leastBlocks, Math.floor(leftBytes * cacheShare / blockBytes)));
  if (options.cacheBytes !== null) {
    // Blocks beyond those of all sequences would never be used.
    nBlocks = Math.min(mostBlocks, Math.floor(options.cacheBytes / blockBytes));
    if (nBlocks < leastBlocks) {
      const what = `a cache for ${leastBlocks * blockTokens} tokens in its share of memory`;
      throw new MemoryError(what, leastBlocks * blockBytes, options.cacheBytes);
    }
  }
  const cacheBytes = nBlocks * blockBytes;
  if (availableBytes !== null && fixedBytes + cacheBytes > availableBytes) {
    throw new MemoryError(
      "the model, its activations and its cache",
      fixedBytes + cacheBytes,
      availableBytes,
    );
  }
  const contextLength = Math.min(wanted, nBlocks * blockTokens);
  // Half of what is left stays for others, and for the files of theirs that the system keeps at hand.
  const spareBytes = availableBytes === null ? 0 : (availableBytes - fixedBytes - cacheBytes) / 2;
  const movableBytes = options.hugePages && weightBytes <= spareBytes ? Math.floor(spareBytes) : 0;
  return { activationBytes, cacheBytes, nBlocks, contextLength, logitRows, movableBytes };
}

/**
 * Bytes of a block over all layers, as kernels/cpu/cache.h lays it out.
 * @param mtp with the layer for multi-token prediction
 */
export function bytesOfBlock(config: ModelConfig, dtype: CacheDtype, mtp = false): number {
  const { kvLoraRank, qkRopeHeadDim } = config.attention;
  const values = roundUp(kvLoraRank, 16) + roundUp(qkRopeHeadDim, 16);
  const factors = dtype === "int8" ? Math.ceil(kvLoraRank / 64) + Math.ceil(qkRopeHeadDim / 64) : 0;
  const valueBytes = { f32: 4, bf16: 2, f16: 2, int8: 1 }[dtype];
  return (config.nLayers + (mtp ? 1 : 0)) * blockTokens * (values * valueBytes + factors * 4);
}
