/**
 * A configuration from the weights alone, for a folder that lost its config.json. Shapes tell the
 * network's sizes exactly. They do not tell how experts are chosen or how positions are stretched:
 * that is taken from the published model of the same sizes, or from what most models have, and said so.
 * @module
 */
import { CheckpointError } from "../errors.ts";
import type { Dtype } from "../tensor/dtype.ts";
import { layerOf } from "./weights.ts";

/** A configuration, and how much of it is known. */
export interface InferredConfig {
  /** Keys and values as config.json would have them. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Keys that the shapes prove. */
  readonly proved: readonly string[];
  /** Keys that no shape tells. */
  readonly assumed: readonly string[];
  /** The published model that the assumed values are those of, or null. */
  readonly like: string | null;
}

/** What is looked at of a tensor. */
type Shaped = ReadonlyMap<string, { readonly shape: readonly number[]; readonly dtype: Dtype }>;

/**
 * @param name of the folder, for messages
 * @throws {CheckpointError} a tensor that is needed is missing, or shapes contradict each other
 */
export function inferConfig(tensors: Shaped, name: string): InferredConfig {
  const proved = { ...sizesOf(tensors, name), ...expertsOf(tensors, name), ...quantisationOf(tensors) };
  const isV3 = proved.model_type === "deepseek_v3";
  const published = publishedModels.find(({ sizes }) =>
    Object.entries(sizes).every(([key, value]) => (proved as Record<string, unknown>)[key] === value)
  );
  const common = isV3 ? commonV3 : commonV2;
  const most = (proved as { n_routed_experts?: number | null }).n_routed_experts ??
    common.num_experts_per_tok;
  const assumed = published?.keys ??
    { ...common, num_experts_per_tok: Math.min(common.num_experts_per_tok, most) };
  return {
    config: { ...assumed, ...proved },
    proved: Object.keys(proved),
    assumed: Object.keys(assumed).filter((key) => !Object.hasOwn(proved, key)),
    like: published?.name ?? null,
  };
}

function sizesOf(tensors: Shaped, name: string) {
  const shape = (tensor: string) => shapeOf(tensors, tensor, name);
  const rows = (tensor: string) => shape(tensor)[0];
  const layers = new Set([...tensors.keys()].map(layerOf).filter((layer) => layer !== null));
  // A layer for multi-token prediction joins two inputs, which no other layer does.
  const nMtpLayers =
    [...layers].filter((layer) => tensors.has(`model.layers.${layer}.eh_proj.weight`)).length;
  const [vocabSize, hidden] = shape("model.embed_tokens.weight");
  const attention = "model.layers.0.self_attn";
  const hasQueryRank = tensors.has(`${attention}.q_a_proj.weight`);
  const kvLoraRank = rows(`${attention}.kv_a_layernorm.weight`);
  const rope = rows(`${attention}.kv_a_proj_with_mqa.weight`) - kvLoraRank;
  // H heads: queries have H (n + r) rows, keys and values H (n + v), the output H v columns.
  const query = rows(`${attention}.${hasQueryRank ? "q_b_proj" : "q_proj"}.weight`);
  const keyValue = rows(`${attention}.kv_b_proj.weight`);
  const value = shape(`${attention}.o_proj.weight`)[1];
  const nHeads = (query - keyValue + value) / rope;
  const [qkNope, vHead] = [query / nHeads - rope, value / nHeads];
  if (![nHeads, qkNope, vHead].every((size) => Number.isSafeInteger(size) && size > 0)) {
    throw new CheckpointError(
      name,
      `its attention has ${query}, ${keyValue} and ${value} rows, which no number of heads gives`,
    );
  }
  return {
    vocab_size: vocabSize,
    hidden_size: hidden,
    num_hidden_layers: layers.size - nMtpLayers,
    num_nextn_predict_layers: nMtpLayers,
    num_attention_heads: nHeads,
    num_key_value_heads: nHeads,
    q_lora_rank: hasQueryRank ? rows(`${attention}.q_a_proj.weight`) : null,
    kv_lora_rank: kvLoraRank,
    qk_nope_head_dim: qkNope,
    qk_rope_head_dim: rope,
    v_head_dim: vHead,
    tie_word_embeddings: !tensors.has("lm_head.weight"),
  };
}

function expertsOf(tensors: Shaped, name: string) {
  const rows = (tensor: string) => shapeOf(tensors, tensor, name)[0];
  const router = /^model\.layers\.(\d{1,9})\.mlp\.gate\.weight$/;
  const all = new Set([...tensors.keys()].map(layerOf).filter((layer) => layer !== null));
  const main = [...all].filter((layer) => !tensors.has(`model.layers.${layer}.eh_proj.weight`));
  const withExperts = main.filter((layer) => tensors.has(`model.layers.${layer}.mlp.gate.weight`)).sort((
    a,
    b,
  ) => a - b);
  const dense = main.find((layer) => tensors.has(`model.layers.${layer}.mlp.gate_proj.weight`));
  const denseKeys = dense === undefined
    ? {}
    : { intermediate_size: rows(`model.layers.${dense}.mlp.gate_proj.weight`) };
  const [first] = withExperts;
  if (first === undefined) {
    return {
      model_type: "deepseek_v2",
      ...denseKeys,
      n_routed_experts: null,
      first_k_dense_replace: main.length,
    };
  }
  const mlp = `model.layers.${first}.mlp`;
  const nExperts = rows(`${mlp}.gate.weight`);
  const width = rows(`${mlp}.experts.0.gate_proj.weight`);
  const shared = tensors.get(`${mlp}.shared_experts.gate_proj.weight`)?.shape[0] ?? 0;
  const hasBias = [...tensors.keys()].some((key) =>
    router.test(key) && tensors.has(key.replace("weight", "e_score_correction_bias"))
  );
  return {
    model_type: hasBias ? "deepseek_v3" : "deepseek_v2",
    ...denseKeys,
    moe_intermediate_size: width,
    n_routed_experts: nExperts,
    n_shared_experts: shared === 0 ? null : shared / width,
    first_k_dense_replace: first,
    moe_layer_freq: frequencyOf(withExperts, main.length),
    ...(hasBias ? { topk_method: "noaux_tc", scoring_func: "sigmoid" } : { scoring_func: "softmax" }),
  };
}

/** The least number that divides the layers with experts, and no other after the first of them. */
function frequencyOf(withExperts: readonly number[], nLayers: number): number {
  const [first] = withExperts;
  for (let frequency = 1; frequency < nLayers; frequency++) {
    let count = 0;
    for (let layer = first; layer < nLayers; layer++) if (layer % frequency === 0) count++;
    if (count === withExperts.length && withExperts.every((layer) => layer % frequency === 0)) {
      return frequency;
    }
  }
  return 1;
}

/** What the parts of matrices say of how they are coded, where the matrices still have their shapes. */
function quantisationOf(tensors: Shaped): Record<string, unknown> {
  const names = [...tensors.keys()];
  const settings = (value: Record<string, unknown>) => ({ quantization_config: value });
  if (names.some((name) => name.endsWith(".weight_scale_inv"))) {
    return settings({ quant_method: "fp8", fmt: "e4m3", weight_block_size: [128, 128] });
  }
  if (names.some((name) => name.endsWith(".SCB"))) {
    return settings({ quant_method: "bitsandbytes", load_in_8bit: true });
  }
  const scaled = names.find((name) => name.endsWith(".weight_scale"));
  const codes = scaled && tensors.get(scaled.replace(/_scale$/, ""))?.dtype;
  if (codes !== "F8_E4M3" && codes !== "I8") return {};
  const format = codes === "I8" ? "int-quantized" : "float-quantized";
  return settings({ quant_method: "compressed-tensors", format });
}

/** Formats of other programs whose shapes are not the network's, by the tensor that they have for a matrix. */
const packedElsewhere: readonly (readonly [end: string, format: string])[] = [
  ["qweight", "GPTQ or AWQ"],
  ["weight_packed", "compressed-tensors"],
];

function shapeOf(tensors: Shaped, tensor: string, name: string): readonly number[] {
  const found = tensors.get(tensor);
  if (found === undefined) {
    const [end, format] = packedElsewhere.find(([end]) => tensors.has(tensor.replace(/weight$/, end))) ?? [];
    throw new CheckpointError(
      name,
      end === undefined
        ? `there is no config.json, and no tensor ${tensor} to infer one from`
        : `there is no config.json, and its matrices are packed by ${format} (${
          tensor.replace(/weight$/, end)
        }), ` +
          "which only config.json says how to read",
    );
  }
  if (found.dtype === "U8" || found.dtype === "I32") {
    throw new CheckpointError(
      name,
      `there is no config.json, and packed weights such as ${tensor} do not tell its sizes`,
    );
  }
  return found.shape;
}

const commonV2 = {
  num_experts_per_tok: 6,
  topk_method: "greedy",
  n_group: 1,
  topk_group: 1,
  routed_scaling_factor: 1,
  norm_topk_prob: false,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  rope_scaling: null,
  max_position_embeddings: 4096,
  bos_token_id: 0,
  eos_token_id: 1,
};
const commonV3 = {
  ...commonV2,
  num_experts_per_tok: 8,
  topk_method: "noaux_tc",
  routed_scaling_factor: 2.5,
  norm_topk_prob: true,
};
const yarn = {
  type: "yarn",
  factor: 40,
  original_max_position_embeddings: 4096,
  beta_fast: 32,
  beta_slow: 1,
};

/** What shapes do not tell of models that many have. Source: their config.json files. */
const publishedModels = [
  {
    name: "DeepSeek-V2-Lite",
    sizes: { hidden_size: 2048, num_hidden_layers: 27, n_routed_experts: 64, vocab_size: 102400 },
    keys: {
      ...commonV2,
      rope_scaling: { ...yarn, mscale: 0.707, mscale_all_dim: 0.707 },
      max_position_embeddings: 163840,
      bos_token_id: 100000,
      eos_token_id: 100001,
    },
  },
  {
    name: "DeepSeek-V2",
    sizes: { hidden_size: 5120, num_hidden_layers: 60, n_routed_experts: 160, vocab_size: 102400 },
    keys: {
      ...commonV2,
      topk_method: "group_limited_greedy",
      n_group: 8,
      topk_group: 3,
      routed_scaling_factor: 16,
      rope_scaling: { ...yarn, mscale: 0.707, mscale_all_dim: 0.707 },
      max_position_embeddings: 163840,
      bos_token_id: 100000,
      eos_token_id: 100001,
    },
  },
  {
    name: "DeepSeek-V3",
    sizes: { hidden_size: 7168, num_hidden_layers: 61, n_routed_experts: 256, vocab_size: 129280 },
    keys: {
      ...commonV3,
      n_group: 8,
      topk_group: 4,
      rope_scaling: { ...yarn, mscale: 1, mscale_all_dim: 1 },
      max_position_embeddings: 163840,
    },
  },
  {
    name: "Moonlight-16B-A3B",
    sizes: { hidden_size: 2048, num_hidden_layers: 27, n_routed_experts: 64, vocab_size: 163840 },
    keys: {
      ...commonV3,
      num_experts_per_tok: 6,
      routed_scaling_factor: 2.446,
      rms_norm_eps: 1e-5,
      rope_theta: 50000,
      max_position_embeddings: 8192,
      bos_token_id: 163584,
      eos_token_id: 163585,
    },
  },
  {
    name: "Kimi-K2",
    sizes: { hidden_size: 7168, num_hidden_layers: 61, n_routed_experts: 384, vocab_size: 163840 },
    keys: {
      ...commonV3,
      routed_scaling_factor: 2.827,
      rope_theta: 50000,
      rope_scaling: { ...yarn, factor: 32, beta_fast: 1, mscale: 1, mscale_all_dim: 1 },
      max_position_embeddings: 131072,
      bos_token_id: 163584,
      eos_token_id: 163585,
    },
  },
];
