/**
 * From options to an engine that can serve: checkpoint, backend, weights, cache, each after its
 * memory is known to suffice.
 * @module
 */
import type { BackendInfo, LatentCache } from "../backend/backend.ts";
import { openBackend } from "../backend/open.ts";
import { parseConfig } from "../model/config.ts";
import { openLazily } from "../model/open_lazily.ts";
import { countParameters } from "../model/parameters.ts";
import { bytesByFormat, planWeights, repackedBytes } from "../model/weight_plan.ts";
import { hasMtp, loadNetwork } from "../model/weights.ts";
import { availableMemory } from "../runtime.ts";
import { checkedSum } from "../tensor/checked.ts";
import type { WeightFormat } from "../tensor/dtype.ts";
import { weightBytes as bytesOf } from "../tensor/packed_format.ts";
import type { CacheKind } from "./conversation_file.ts";
import { Engine, type Report } from "./engine.ts";
import { planMemory } from "./memory.ts";
import type { EngineInfo, OpenOptions } from "./protocol.ts";

/** To be raised when src/model/ computes other bits. */
const networkBuild = 1;

/** Told how far opening is; may throw to give up. */
export type OnProgress = (stage: string, done: number, total: number) => void;

/** An engine, and what it stands on. */
export interface OpenEngine {
  readonly engine: Engine;
  readonly info: EngineInfo;
  /** Opens a model that guesses for this one. @throws {CheckpointError | UnsupportedError | MemoryError} */
  openDraft(folder: string): Promise<void>;
  /** What files of conversations must have been made with. */
  cacheKind(): Promise<CacheKind>;
  /** Frees the device. */
  close(): void;
}

/**
 * @throws {CheckpointError | UnsupportedError | DeviceError | MemoryError | RangeError} why it cannot be
 *   opened; nothing stays open then
 */
export async function openEngine(
  options: OpenOptions,
  report: Report,
  onProgress: OnProgress,
): Promise<OpenEngine> {
  onProgress("checkpoint", 0, 1);
  const checkpoint = await openLazily(options.folder, {
    validation: options.validation,
    widens: options.activations === "f32",
    onProgress: (done, total) => onProgress("checkpoint", done, total),
  });
  try {
    const config = parseConfig(
      checkpoint.config,
      checkpoint.configFile ?? `${options.folder}/config.json`,
    );
    const matrices = planWeights(checkpoint, config, options.weights, options.mtp);
    const weightFormats = bytesByFormat(matrices);
    const weightBytes = checkedSum(Object.values(weightFormats), options.folder);
    const mtp = options.mtp && hasMtp(checkpoint, config);
    const plan = planMemory({ config, weightBytes, mtp, availableBytes: availableMemory(), options });
    onProgress("backend", 0, 1);
    const { backend, passedOver } = await openBackend({
      backend: options.backend,
      isa: options.isa,
      library: options.library,
      threads: options.threads,
      exact: options.activations === "f32",
      arenaBytes: plan.activationBytes,
      movableBytes: plan.movableBytes,
      build: { compiler: options.compiler },
    });
    try {
      onProgress("weights", 0, weightBytes);
      const network = loadNetwork(checkpoint, config, backend, options.weights, {
        onWeight: weightProgress(weightBytes, onProgress),
        mtp,
        copies: matrices.some(({ storedFormat, format }) => storedFormat !== format),
      });
      const cache = network.createCache(plan.nBlocks, options.cacheDtype);
      const { maxSequences, maxQueue, chunkTokens, prefixCache } = options;
      const { contextLength, logitRows } = plan;
      const fingerprint = async () =>
        (await import("../checkpoint/fingerprint.ts")).fingerprintOf(checkpoint);
      const kept = options.cacheFolder === null || !prefixCache ? {} : {
        files: new (await import("./block_files.ts")).BlockFiles(
          options.cacheFolder,
          options.cacheFolderBytes,
          backend.blockBytes(cache),
          (sentence) => console.error(sentence),
        ),
        identity: cacheIdentity((await fingerprint()).place, weightFormats, cache, backend.info),
      };
      const limits = { maxSequences, maxQueue, chunkTokens, contextLength, logitRows, prefixCache, ...kept };
      const engine = new Engine(network, cache, limits, report);
      return {
        engine,
        cacheKind: async () => ({
          model: (await fingerprint()).content,
          weights: JSON.stringify(weightFormats),
          cache: JSON.stringify([cache.dtype, cache.nLayers, cache.kvLoraRank, cache.qkRopeHeadDim]),
          computing: JSON.stringify([
            networkBuild,
            backend.info.name,
            backend.info.kernels,
            backend.info.build,
          ]),
        }),
        openDraft: async (folder) => {
          const { openDraft } = await import("./open_draft.ts");
          engine.useDraftModel(await openDraft(folder, { backend, config, plan, options }));
        },
        info: {
          architecture: config.architecture,
          vocabSize: config.vocabSize,
          hidden: config.hidden,
          contextLength,
          maxSequences,
          parameters: countParameters(config),
          weightFormats,
          repacked: repackedBytes(matrices),
          bytes: { weights: weightBytes, cache: cache.sizeBytes, activations: plan.activationBytes },
          backend: backend.info.name,
          kernels: backend.info.kernels,
          threads: backend.info.threads,
          passedOver,
          eosIds: config.eosIds,
          bosId: config.bosId,
          draftKinds: mtp ? ["mtp", "ngram"] : ["ngram"],
        },
        close: () => backend.close(),
      };
    } catch (error) {
      backend.close();
      throw error;
    }
  } finally {
    checkpoint.close();
  }
}

/** What two caches must have in common for the blocks of one to have the bits of the other's. */
function cacheIdentity(
  model: string,
  weights: Readonly<Partial<Record<WeightFormat, number>>>,
  { dtype, nLayers, kvLoraRank, qkRopeHeadDim }: LatentCache,
  { name, kernels, build }: BackendInfo,
): string {
  return JSON.stringify([
    networkBuild,
    model,
    weights,
    [dtype, nLayers, kvLoraRank, qkRopeHeadDim],
    [name, kernels, build],
  ]);
}

/** Matrices can be many and small: what they add up to is told about a hundred times. */
function weightProgress(
  totalBytes: number,
  onProgress: OnProgress,
): (weight: { readonly format: WeightFormat; readonly rows: number; readonly width: number }) => void {
  let doneBytes = 0, toldBytes = 0;
  return ({ format, rows, width }) => {
    doneBytes += bytesOf(format, rows, width);
    if (doneBytes < totalBytes && doneBytes - toldBytes < totalBytes / 100) return;
    toldBytes = doneBytes;
    onProgress("weights", doneBytes, totalBytes);
  };
}
