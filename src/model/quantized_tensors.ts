/**
 * The tensors of a checkpoint in another weight format: which matrices are made anew, and how each is
 * made strip by strip.
 * @module
 */
import type { Backend, StoredMatrix } from "../backend/backend.ts";
import type { Checkpoint, StoredTensor } from "../checkpoint/checkpoint.ts";
import { isFloatDtype } from "../checkpoint/decode.ts";
import type { NewTensor } from "../checkpoint/write_safetensors.ts";
import { UnsupportedError } from "../errors.ts";
import { checkedProduct } from "../tensor/checked.ts";
import { dtypeBits, fp8Block } from "../tensor/dtype.ts";
import { type PackedFormat, packedShape } from "../tensor/packed_format.ts";
import type { ModelConfig } from "./config.ts";
import { decoded } from "./coded_weights.ts";
import { plainTensor } from "./plain_tensor.ts";
import { type PlannedMatrix, planWeights, storedFormatOf } from "./weight_plan.ts";
import { embeddingName, headName, layerOf } from "./weights.ts";

/** A format that a checkpoint can be written in. */
export type TargetFormat = PackedFormat | "fp8" | "bf16";

/** Who computes the new bytes. */
export type Packer = Pick<Backend, "packWeight">;

/** Parts of a network that may keep their stored type. Router, norms, biases and embedding always do. */
export const keepable = {
  head: /^lm_head\.|\.shared_head\.head\./,
  attention: /\.self_attn\./,
  dense: /\.mlp\.(gate|up|down)_proj\./,
  shared: /\.mlp\.shared_experts\./,
  routed: /\.mlp\.experts\./,
} as const;

/** A part that may be kept. */
export type KeepablePart = keyof typeof keepable;

/** A matrix that is made anew, under the name that it gets. */
interface NewMatrix {
  readonly name: string;
  readonly stored: StoredMatrix;
}

/** The tensors of a result. */
export interface TensorPlan {
  readonly tensors: readonly NewTensor[];
  /** Names of matrices that would have been made anew, were they not kept. */
  readonly kept: readonly string[];
}

/** Copied at once. */
const pieceBytes = 1 << 22;

/**
 * @param keep parts that stay as they are stored
 * @returns the tensors of the result, in an order that leaves each aligned
 * @throws {CheckpointError | UnsupportedError} for a checkpoint that would not load, or has the format
 */
export function planTensors(
  checkpoint: Checkpoint,
  config: ModelConfig,
  target: { readonly format: TargetFormat; readonly keep: readonly KeepablePart[]; readonly packer: Packer },
): TensorPlan {
  const { format, keep, packer } = target;
  const replaced = new Set<string>();
  if (config.tiedEmbedding) replaced.add(`${headName}.weight`); // one that is stored all the same is not used
  const made: NewTensor[] = [];
  const kept: string[] = [];
  for (const { name, stored } of matricesToMake(checkpoint, config, format)) {
    if (keep.some((part) => keepable[part].test(name))) {
      kept.push(name);
      refuseMixture(name, stored, format);
      continue;
    }
    made.push(...madeTensors(stored, name, format, packer));
    replaced.add(name);
    // A head that was the embedding: that one keeps its type, and its factors.
    if (stored.scale && stored.name === name) replaced.add(stored.scale.name);
  }
  if (made.length === 0 && kept.length === 0) {
    throw new UnsupportedError(`Cannot quantize ${checkpoint.folder}: it is in ${format} already`);
  }
  // Whatever the network does not use stays as it is stored, or comes nearest to it.
  const copied = [...checkpoint.tensors.values()].filter(({ name }) => !replaced.has(name))
    .map((tensor) => copiedTensor(checkpoint, tensor));
  const plain = [...checkpoint.coded?.keys() ?? []].filter((name) => !replaced.has(name))
    .map((name) => plainTensor(checkpoint, name, "auto"));
  return { tensors: aligned([...made, ...copied, ...plain]), kept };
}

/** A checkpoint that says nothing of fp8 must hold none, or others would take its bytes for values. */
function refuseMixture(name: string, stored: StoredMatrix, format: TargetFormat): void {
  if (format !== "bf16" || stored.dtype !== "F8_E4M3") return;
  throw new UnsupportedError(`Cannot keep ${name}: it is in fp8, which a checkpoint in bf16 cannot hold`);
}

/** Whole lines of 64 bytes come first, then the widest numbers: all lie aligned. */
function aligned(tensors: readonly NewTensor[]): NewTensor[] {
  const isLines = ({ sizeBytes }: NewTensor) => sizeBytes % 64 === 0;
  const rest = tensors.filter((tensor) => !isLines(tensor));
  return [...tensors.filter(isLines), ...rest.sort((a, b) => dtypeBits[b.dtype] - dtypeBits[a.dtype])];
}

/** @returns the matrices that loading with this format would repack, and those beyond the last layer */
function matricesToMake(checkpoint: Checkpoint, config: ModelConfig, format: TargetFormat): NewMatrix[] {
  // The first one is the embedding, which keeps its type; where it is the head too it comes once more.
  const [, ...matrices] = planWeights(checkpoint, config, format);
  const isNew = ({ stored, storedFormat, format: used }: PlannedMatrix) =>
    used === format && (storedFormat !== format || isDecoded(stored)) && !router.test(stored.name);
  const main = matrices.filter(isNew).map(({ stored }) => {
    // A head that is the embedding becomes a matrix of its own.
    const isTiedHead = stored.name === `${embeddingName}.weight`;
    return { name: isTiedHead ? `${headName}.weight` : stored.name, stored };
  });
  const further = mtpMatrices(checkpoint, config, format);
  return [...main, ...further.map((stored) => ({ name: stored.name, stored }))];
}

const router = /\.mlp\.gate\.weight$/;

/** Matrices of other programs' formats that one of ours holds as they are come in it already. */
function isDecoded({ pieces }: StoredMatrix): boolean {
  return pieces !== undefined;
}

/** Matrices of a layer for multi-token prediction; the last two are its own (DeepSeek-V3 report, §2.2). */
const layerMatrix =
  /\.(self_attn\.\w+_proj(_with_mqa)?|mlp\.((shared_experts|experts\.\d+)\.)?(gate|up|down)_proj)\.weight$/;
const mtpMatrix = /\.(eh_proj|shared_head\.head)\.weight$/;

function mtpMatrices(checkpoint: Checkpoint, config: ModelConfig, format: TargetFormat): StoredMatrix[] {
  // In fp8 the last two stay, as in DeepSeek's own files.
  const isOne = (name: string) =>
    (layerOf(name) ?? -1) >= config.nLayers &&
    (layerMatrix.test(name) || (mtpMatrix.test(name) && format !== "fp8"));
  const matrices: StoredMatrix[] = [];
  for (const tensor of checkpoint.tensors.values()) {
    const { name, shape, dtype } = tensor;
    if (!isOne(name) || shape.length !== 2 || !isFloatDtype(dtype)) continue;
    const factors = dtype === "F8_E4M3" ? checkpoint.tensors.get(`${name}_scale_inv`) : undefined;
    const scale = factors && { ...factors, rows: factors.shape[0], width: factors.shape[1] };
    const matrix = { ...tensor, rows: shape[0], width: shape[1], ...(scale && { scale }) };
    if (storedFormatOf(matrix) !== format) matrices.push(matrix);
  }
  for (const [name, matrix] of checkpoint.coded ?? []) {
    if (isOne(name)) matrices.push(decoded(matrix, format, true).stored);
  }
  return matrices;
}

function copiedTensor(checkpoint: Checkpoint, tensor: StoredTensor): NewTensor {
  const { name, dtype, shape, sizeBytes, offset } = tensor;
  return {
    name,
    dtype,
    shape,
    sizeBytes,
    *pieces() {
      for (let done = 0; done < sizeBytes; done += pieceBytes) {
        const size = Math.min(pieceBytes, sizeBytes - done);
        yield checkpoint.read({ ...tensor, offset: offset + done, sizeBytes: size });
      }
    },
  };
}

/** @returns the matrix in its new format; in fp8 also its factors, which come out of the same strips */
function madeTensors(
  stored: StoredMatrix,
  name: string,
  format: TargetFormat,
  packer: Packer,
): NewTensor[] {
  const { rows, width } = stored;
  const scales: Uint8Array[] = [];
  function* pieces(): Iterable<Uint8Array> {
    if (storedFormatOf(stored) === format) return yield* stored.pieces!(0, rows);
    for (const strip of packer.packWeight(stored, format)) {
      if (strip.scales) scales.push(strip.scales);
      yield strip.data;
    }
  }
  if (format !== "fp8" && format !== "bf16") {
    const shape = packedShape(format, rows, width);
    return [{ name, dtype: "U8", shape, sizeBytes: checkedProduct(shape, name), pieces }];
  }
  const shape = [rows, width];
  if (format === "bf16") {
    return [{ name, dtype: "BF16", shape, sizeBytes: checkedProduct([...shape, 2], name), pieces }];
  }
  const factors = shape.map((size) => Math.ceil(size / fp8Block));
  return [
    { name, dtype: "F8_E4M3", shape, sizeBytes: checkedProduct(shape, name), pieces },
    {
      name: `${name}_scale_inv`,
      dtype: "F32",
      shape: factors,
      sizeBytes: checkedProduct([...factors, 4], name),
      isMadeLast: true,
      *pieces() {
        yield* scales;
      },
    },
  ];
}
