/**
 * A model with its matrices in another weight format: made once, so that loading maps the files and
 * repacks nothing. Written shard by shard, a layer each, from strips of a few MB.
 * @module
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import { attempt } from "./checkpoint/write_safetensors.ts";
import { parseConfig, quantisationKeys } from "./model/config.ts";
import { openModel } from "./model/open_model.ts";
import {
  type KeepablePart,
  type Packer,
  planTensors,
  type TargetFormat,
  type TensorPlan,
} from "./model/quantized_tensors.ts";
import { headName } from "./model/weights.ts";
import { publish, type ShardProgress, writeConfigJson, writeShards, writeTexts } from "./new_model.ts";

/** Options of {@linkcode quantize}. */
export interface QuantizeOptions {
  readonly format: TargetFormat;
  /** Every backend's packer makes the same bytes, at its own speed. */
  readonly packer: Packer;
  readonly keep?: readonly KeepablePart[];
  /** Gives up; nothing is left behind. */
  readonly signal?: AbortSignal;
  /** Told how far the work is, in bytes of the result. */
  readonly onProgress?: (progress: ShardProgress) => void;
}

/** Bytes of all tensors, before and after. */
export interface QuantizeResult {
  readonly sourceBytes: number;
  readonly bytes: number;
}

/**
 * Writes the folder `out`: it is there whole or not at all. Its matrices are, byte for byte, what loading the
 * source with this weight format makes.
 * @param source a model in any format that loads
 * @throws {CheckpointError | UnsupportedError} for a source that cannot be read, or has the format already
 * @throws {Error} for a result that cannot be written, or is there already
 */
export async function quantize(
  source: string,
  out: string,
  options: QuantizeOptions,
): Promise<QuantizeResult> {
  const { format, packer, keep = [], signal, onProgress } = options;
  signal?.throwIfAborted();
  const checkpoint = openModel(source, { widens: true });
  try {
    const config = parseConfig(checkpoint.config, checkpoint.configFile ?? join(source, "config.json"));
    const plan = planTensors(checkpoint, config, { format, keep, packer });
    return await publish(out, async (folder) => {
      attempt(out, () => mkdirSync(folder));
      const bytes = await writeShards(folder, plan.tensors, (progress) => {
        signal?.throwIfAborted();
        onProgress?.(progress);
      });
      writeConfig(folder, checkpoint, plan, format);
      writeTexts(source, folder);
      signal?.throwIfAborted();
      return { sourceBytes: checkpoint.sizeBytes, bytes };
    });
  } finally {
    checkpoint.close();
  }
}

function writeConfig(folder: string, checkpoint: Checkpoint, plan: TensorPlan, format: TargetFormat): void {
  const hasHead = plan.tensors.some(({ name }) => name === `${headName}.weight`);
  const { quantization_config: _, ...config } = checkpoint.config as Record<string, unknown>;
  writeConfigJson(folder, {
    ...config,
    ...(hasHead ? { tie_word_embeddings: false } : {}),
    ...(format === "bf16" ? { ["dtype" in config ? "dtype" : "torch_dtype"]: "bfloat16" } : {
      quantization_config: {
        ...quantisationKeys(format),
        // Readers other than ours expect fp8 in all matrices of the layers that are not named.
        ...(format === "fp8" && plan.kept.length > 0
          ? { modules_to_not_convert: plan.kept.map((name) => name.replace(/\.weight$/, "")) }
          : {}),
      },
    }),
  });
}
