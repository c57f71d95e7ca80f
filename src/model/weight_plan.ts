/**
 * What loading makes of each matrix of a checkpoint, found out before anything is loaded.
 * @module
 */
import type { Experts, MlpWeights, StoredMatrix, Vector, Weight } from "../backend/backend.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { UnsupportedError } from "../errors.ts";
import { checkedSum } from "../tensor/checked.ts";
import type { Dtype, WeightFormat } from "../tensor/dtype.ts";
import { isPackedFormat, weightBytes } from "../tensor/packed_format.ts";
import type { ModelConfig } from "./config.ts";
import type { WeightLoader } from "./weight_source.ts";
import { loadWeights } from "./weights.ts";

/** A matrix of the network. */
export interface PlannedMatrix {
  readonly stored: StoredMatrix;
  readonly storedFormat: WeightFormat;
  /** The format that it is used in. */
  readonly format: WeightFormat;
}

/**
 * @param format "auto" keeps each matrix as it is stored
 * @param mtp with the layer for multi-token prediction, where there is one
 * @returns the matrices in the order of loading; the embedding comes twice where it becomes a head too
 * @throws {CheckpointError} for a tensor that is missing, or of another shape than config.json says
 * @throws {UnsupportedError} for a format that cannot be made of what is stored
 */
export function planWeights(
  checkpoint: Checkpoint,
  config: ModelConfig,
  format: "auto" | WeightFormat,
  mtp = false,
): PlannedMatrix[] {
  if (format !== "auto" && format !== config.quantisation) refuseRounded(checkpoint, config, format);
  const matrices: PlannedMatrix[] = [];
  const onlooker: WeightLoader = {
    loadWeight(stored, wanted): Weight {
      const storedFormat = storedFormatOf(stored);
      const format = wanted === "auto" ? storedFormat : wanted;
      const { rows, width } = stored;
      matrices.push({ stored, storedFormat, format });
      return { format, rows, width, sizeBytes: weightBytes(format, rows, width) };
    },
    loadVector: ({ length }): Vector => ({ length }),
    bindExperts: (experts: readonly MlpWeights[]): Experts => {
      const { rows: intermediate, width: hidden } = experts[0].gate;
      return { nExperts: experts.length, hidden, intermediate };
    },
  };
  loadWeights(checkpoint, config, onlooker, format, { mtp });
  return matrices;
}

/** Bytes of the matrices in each format that occurs, the most first. */
export type BytesByFormat = Readonly<Partial<Record<WeightFormat, number>>>;

/** @returns what the matrices take once they are loaded */
export function bytesByFormat(matrices: readonly PlannedMatrix[]): BytesByFormat {
  const bytes = [...Map.groupBy(matrices, ({ format }) => format)].map(([format, group]) => {
    const sizes = group.map(({ stored }) => weightBytes(format, stored.rows, stored.width));
    return [format, checkedSum(sizes, format)] as const;
  });
  return Object.fromEntries(bytes.sort(([, a], [, b]) => b - a));
}

/**
 * @returns bytes of the matrices that loading makes anew, the most first, by what they are made from and to:
 *   "Q5_0 to int8"; all others are used as their files have them
 */
export function repackedBytes(matrices: readonly PlannedMatrix[]): Readonly<Record<string, number>> {
  const bytes = new Map<string, number>();
  for (const { stored, storedFormat, format } of matrices) {
    const from = stored.madeFrom ?? storedFormat;
    if (from.toLowerCase() === format) continue;
    const act = `${from} to ${format}`;
    const size = weightBytes(format, stored.rows, stored.width);
    bytes.set(act, checkedSum([bytes.get(act) ?? 0, size], act));
  }
  return Object.fromEntries([...bytes].sort(([, a], [, b]) => b - a));
}

/** Number types whose values are a format by themselves. */
const plainFormats: Partial<Record<Dtype, WeightFormat>> = {
  F32: "f32",
  BF16: "bf16",
  F16: "f16",
  F8_E4M3: "fp8",
};

/** @returns the format that a matrix of the network has in its file. @throws {UnsupportedError} for none */
export function storedFormatOf({ name, dtype, packed, blocks }: StoredMatrix): WeightFormat {
  const format = packed ?? blocks ?? plainFormats[dtype];
  if (format !== undefined) return format;
  throw new UnsupportedError(`Cannot use ${name}: ${dtype} found, F32, BF16, F16 or F8_E4M3 needed`);
}

/**
 * What was rounded away cannot be had back: making something else of it would only add to the loss.
 * @param wanted what it would be made into, in a word
 * @throws {UnsupportedError} for a model in one of hadal's own formats
 */
export function refuseRounded(
  { folder }: Pick<Checkpoint, "folder">,
  { quantisation }: Pick<ModelConfig, "quantisation">,
  wanted: string,
): void {
  if (!isPackedFormat(quantisation)) return;
  throw new UnsupportedError(
    `Cannot make ${wanted} of ${folder}: its matrices are rounded to ${quantisation} already, ` +
      "the model that it was made of is needed",
  );
}
