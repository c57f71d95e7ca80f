/**
 * Checkpoints of Hugging Face whose matrices other programs have quantised: GPTQ, AWQ, compressed-tensors,
 * bitsandbytes. Their matrices become coded ones under the network's names, and the rest is as it was.
 * @module
 */
import { awqMatrix } from "../checkpoint/awq.ts";
import { eightBitMatrix, fourBitMatrix, stateEnd } from "../checkpoint/bitsandbytes.ts";
import type { Checkpoint, StoredTensor } from "../checkpoint/checkpoint.ts";
import type { CodedMatrix } from "../checkpoint/coded.ts";
import { byteMatrix, floatMatrix, packedMatrix } from "../checkpoint/compressed_tensors.ts";
import { gptqMatrix } from "../checkpoint/gptq.ts";
import { UnsupportedError } from "../errors.ts";
import {
  anything,
  checkJson,
  largestSize,
  numberWhere,
  object,
  show,
  text,
  truth,
  whole,
} from "./json_check.ts";

/** How a method makes a matrix of one of its tensors; null for tensors that are none of its own. */
type MakeMatrix = (tensor: StoredTensor, name: string) => CodedMatrix | null;

const groupSize = numberWhere(
  (size) => size === -1 || (Number.isInteger(size) && size >= 1 && size <= largestSize),
  "-1 or a whole number from 1 is needed",
);
const gptqSchema = object({
  bits: whole(2, 8),
  group_size: groupSize,
  checkpoint_format: text().nullish(),
});
const awqSchema = object({
  bits: whole(4, 4),
  group_size: groupSize,
  version: text().nullish(),
  zero_point: truth().nullish(),
});
const compressedSchema = object({ format: text(), sparsity_config: anything() });

/** Parts of matrices by the ends of their names: once the matrix is made they are no tensors of their own. */
const partName =
  /\.weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.\w+)$|\.(SCB|weight_format|qweight|qzeros|scales|g_idx|weight_packed|weight_scale|weight_zero_point|weight_shape|weight_g_idx)$/;

/**
 * @param file path of config.json, for messages
 * @returns the same checkpoint when it is quantised by no such method
 * @throws {CheckpointError | UnsupportedError} for a method's variant that is not read, or parts that do not
 *   fit
 */
export function withCodedMatrices(checkpoint: Checkpoint, file: string): Checkpoint {
  if (typeof checkpoint.config !== "object" || checkpoint.config === null) return checkpoint; // refused later
  const { quantization_config: settings, ...config } = checkpoint.config as Record<string, unknown>;
  const make = methodOf(checkpoint, settings, file);
  if (make === null) return checkpoint;
  const coded = new Map<string, CodedMatrix>();
  const tensors = new Map<string, StoredTensor>();
  for (const tensor of checkpoint.tensors.values()) {
    const name = tensor.name.replace(/\.(qweight|weight_packed)$/, ".weight");
    const matrix = make(tensor, name);
    if (matrix !== null) coded.set(name, matrix);
    else if (!partName.test(tensor.name)) tensors.set(tensor.name, tensor);
  }
  return { ...checkpoint, config, tensors, coded };
}

function methodOf(checkpoint: Checkpoint, settings: unknown, file: string): MakeMatrix | null {
  const method = (settings as { quant_method?: unknown } | null)?.quant_method;
  if (method === "gptq") return gptq(checkpoint, settings, file);
  if (method === "awq") return awq(checkpoint, settings, file);
  if (method === "bitsandbytes") return bitsandbytes(checkpoint);
  if (method === "compressed-tensors") return compressed(checkpoint, settings, file);
  return null;
}

const under = "quantization_config";

function gptq(checkpoint: Checkpoint, settings: unknown, file: string): MakeMatrix {
  const { bits, group_size: groupSize, checkpoint_format: format } = checkJson(
    gptqSchema,
    settings,
    file,
    under,
  );
  if (![null, undefined, "gptq", "gptq_v2"].includes(format)) {
    throw unsupported(file, `checkpoint_format ${show(format)}`, "gptq, gptq_v2");
  }
  if (![2, 3, 4, 8].includes(bits)) throw unsupported(file, `bits ${bits}`, "2, 3, 4, 8");
  const options = { bits, groupSize, storesZeroLessOne: format !== "gptq_v2" };
  return (tensor, name) =>
    tensor.name.endsWith(".qweight") ? gptqMatrix(checkpoint, tensor, name, options) : null;
}

function awq(checkpoint: Checkpoint, settings: unknown, file: string): MakeMatrix {
  const { group_size: groupSize, version } = checkJson(awqSchema, settings, file, under);
  if (version !== null && version !== undefined && version.toLowerCase() !== "gemm") {
    throw unsupported(file, `version ${show(version)}`, "gemm");
  }
  return (tensor, name) =>
    tensor.name.endsWith(".qweight") ? awqMatrix(checkpoint, tensor, name, groupSize) : null;
}

function compressed(checkpoint: Checkpoint, settings: unknown, file: string): MakeMatrix {
  const { format } = checkJson(compressedSchema, settings, file, under);
  const formats = ["pack-quantized", "int-quantized", "float-quantized", "naive-quantized"];
  if (!formats.includes(format)) throw unsupported(file, `format ${show(format)}`, formats.join(", "));
  return (tensor, name) => {
    if (tensor.name.endsWith(".weight_packed")) return packedMatrix(checkpoint, tensor, name);
    if (!tensor.name.endsWith(".weight") || !checkpoint.tensors.has(`${tensor.name}_scale`)) return null;
    if (tensor.dtype === "I8") return byteMatrix(checkpoint, tensor);
    return tensor.dtype === "F8_E4M3" ? floatMatrix(checkpoint, tensor) : null;
  };
}

/** Its settings are about making such a checkpoint: the tensors say what they are. */
function bitsandbytes(checkpoint: Checkpoint): MakeMatrix {
  const states = new Map<string, StoredTensor>();
  for (const tensor of checkpoint.tensors.values()) {
    if (stateEnd.test(tensor.name)) states.set(tensor.name.replace(stateEnd, ""), tensor);
  }
  return (tensor, name) => {
    const state = states.get(name);
    if (state !== undefined) return fourBitMatrix(checkpoint, tensor, state);
    const magnitudes = checkpoint.tensors.get(name.replace(/\.weight$/, ".SCB"));
    return tensor.dtype === "I8" && magnitudes !== undefined
      ? eightBitMatrix(checkpoint, tensor, magnitudes)
      : null;
  };
}

function unsupported(file: string, found: string, supported: string): UnsupportedError {
  return new UnsupportedError(
    `Cannot use ${file}: quantization_config has ${found}, supported: ${supported}`,
  );
}
