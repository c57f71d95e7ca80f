/**
 * Opens a draft model beside the model that it guesses for, on the same device.
 * @module
 */
import type { Backend } from "../backend/backend.ts";
import { MemoryError, UnsupportedError } from "../errors.ts";
import { type ModelConfig, parseConfig } from "../model/config.ts";
import { stepBytes } from "../model/network.ts";
import { openLazily } from "../model/open_lazily.ts";
import { bytesByFormat, planWeights } from "../model/weight_plan.ts";
import { loadNetwork } from "../model/weights.ts";
import { availableMemory } from "../runtime.ts";
import { checkedSum } from "../tensor/checked.ts";
import { DraftModel } from "./draft_model.ts";
import { bytesOfBlock, type MemoryPlan, planMemory } from "./memory.ts";
import type { OpenOptions } from "./protocol.ts";

/** What it is opened beside. */
export interface DraftedModel {
  readonly backend: Backend;
  readonly config: ModelConfig;
  readonly plan: MemoryPlan;
  readonly options: OpenOptions;
}

/** @throws {CheckpointError | UnsupportedError | MemoryError} why it cannot be used */
export async function openDraft(
  folder: string,
  { backend, config, plan, options }: DraftedModel,
): Promise<DraftModel> {
  const { maxSequences, cacheDtype, validation, activations } = options;
  const checkpoint = await openLazily(folder, { validation, widens: activations === "f32" });
  try {
    const draft = parseConfig(checkpoint.config, checkpoint.configFile ?? `${folder}/config.json`);
    if (draft.vocabSize !== config.vocabSize) {
      const found = `its vocabulary has ${draft.vocabSize} tokens`;
      throw new UnsupportedError(
        `Cannot use ${folder} as draft model: ${found}, ${config.vocabSize} needed`,
      );
    }
    const matrices = planWeights(checkpoint, draft, "auto");
    const weightBytes = checkedSum(Object.values(bytesByFormat(matrices)), folder);
    const { nBlocks, contextLength } = planMemory({
      config: draft,
      weightBytes,
      availableBytes: availableMemory(),
      options: {
        ...options,
        contextLength: null,
        cacheBytes: plan.nBlocks * bytesOfBlock(draft, cacheDtype),
        hugePages: false,
      },
    });
    const chunkTokens = chunkThatFits(draft, options, plan, folder);
    const network = loadNetwork(checkpoint, draft, backend, "auto", {
      copies: matrices.some(({ storedFormat, format }) => storedFormat !== format),
    });
    return new DraftModel(network, network.createCache(nBlocks, cacheDtype), {
      contextLength: Math.min(contextLength, draft.maxPositions),
      chunkTokens: Math.max(chunkTokens, maxSequences),
    });
  } finally {
    checkpoint.close();
  }
}

/** It computes in the memory that was set aside for steps of the other model. */
function chunkThatFits(
  draft: ModelConfig,
  { chunkTokens, maxSequences }: OpenOptions,
  { activationBytes }: MemoryPlan,
  folder: string,
): number {
  for (let chunk = chunkTokens; chunk >= Math.min(chunkTokens, maxSequences); chunk = Math.floor(chunk / 2)) {
    if (stepBytes(draft, chunk + maxSequences, maxSequences) <= activationBytes) return chunk;
  }
  const needed = stepBytes(draft, 2 * maxSequences, maxSequences);
  throw new MemoryError(`the activations of the draft model ${folder}`, needed, activationBytes);
}
