/**
 * The keys of config.json in their own words: what each may be, and what it is when it is missing.
 * Defaults: transformers 5, DeepseekV2Config and DeepseekV3Config.
 * @module
 */
import { UnsupportedError } from "../errors.ts";
import {
  anything,
  type Checked,
  checkJson,
  either,
  finite,
  list,
  object,
  positive,
  show,
  text,
  truth,
  whole,
} from "./json_check.ts";

/** Keys that are read. Others, such as auto_map with its remote code, mean nothing here. */
const schema = object({
  vocab_size: whole(1),
  hidden_size: whole(1),
  // Things that are walked through one by one; the others are only widths.
  num_hidden_layers: whole(1, 10_000),
  n_routed_experts: whole(0, 100_000).nullable(),
  num_attention_heads: whole(1),
  intermediate_size: whole(1),
  moe_intermediate_size: whole(1),
  n_shared_experts: whole(0).nullable(),
  num_experts_per_tok: whole(1).nullable(),
  first_k_dense_replace: whole(0),
  moe_layer_freq: whole(1),
  q_lora_rank: whole(1).nullable(),
  kv_lora_rank: whole(1),
  qk_nope_head_dim: whole(1),
  qk_rope_head_dim: whole(2),
  v_head_dim: whole(1),
  scoring_func: text(),
  topk_method: text(),
  n_group: whole(1).nullable(),
  topk_group: whole(1).nullable(),
  norm_topk_prob: truth().nullable(),
  routed_scaling_factor: positive(),
  num_nextn_predict_layers: whole(0).nullable(),
  hidden_act: text(),
  attention_bias: truth(),
  mlp_bias: truth(),
  rms_norm_eps: positive(),
  max_position_embeddings: whole(1),
  rope_theta: positive(),
  rope_interleave: truth().nullable(),
  rope_scaling: anything(),
  rope_parameters: anything(),
  tie_word_embeddings: truth(),
  bos_token_id: whole(0).nullable(),
  eos_token_id: either(whole(0), list(whole(0)), "a token id or an array of them is needed").nullable(),
  quantization_config: object({
    quant_method: text().nullish(),
    format: text().nullish(),
    group: finite().nullish(),
    asymmetric: truth().nullish(),
    fmt: text().nullish(),
    weight_block_size: list(finite(), "an array of numbers is needed").nullish(),
  }).nullish(),
});

/** config.json with every key that is read, checked one by one; null where it means "none". */
export type ConfigKeys = Checked<typeof schema>;

/** Defaults that DeepseekV2Config and DeepseekV3Config of transformers agree on. */
const commonDefaults = {
  first_k_dense_replace: 0,
  moe_layer_freq: 1,
  q_lora_rank: 1536,
  kv_lora_rank: 512,
  qk_nope_head_dim: 128,
  qk_rope_head_dim: 64,
  v_head_dim: 128,
  hidden_act: "silu",
  attention_bias: false,
  mlp_bias: false,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  rope_interleave: true,
  tie_word_embeddings: false,
  // transformers says 1 for V3, but means a layer that may be added; a file that stores one says so.
  num_nextn_predict_layers: 0,
};

/** What a model_type stands for: its defaults, and the routing that its official network knows. */
const families = {
  v2: {
    scoring: "softmax",
    methods: ["greedy", "group_limited_greedy"],
    defaults: {
      ...commonDefaults,
      vocab_size: 102400,
      hidden_size: 4096,
      intermediate_size: 11008,
      moe_intermediate_size: 1407,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      n_shared_experts: 2,
      n_routed_experts: 64,
      num_experts_per_tok: null,
      scoring_func: "softmax",
      topk_method: "greedy",
      n_group: null,
      topk_group: null,
      norm_topk_prob: false,
      routed_scaling_factor: 1,
      max_position_embeddings: 2048,
      bos_token_id: 1,
      eos_token_id: 2,
    },
  },
  v3: {
    scoring: "sigmoid",
    methods: ["noaux_tc"],
    defaults: {
      ...commonDefaults,
      vocab_size: 129280,
      hidden_size: 7168,
      intermediate_size: 18432,
      moe_intermediate_size: 2048,
      num_hidden_layers: 61,
      num_attention_heads: 128,
      n_shared_experts: 1,
      n_routed_experts: 256,
      num_experts_per_tok: 8,
      first_k_dense_replace: 3,
      scoring_func: "sigmoid",
      topk_method: "noaux_tc",
      n_group: 8,
      topk_group: 4,
      norm_topk_prob: true,
      routed_scaling_factor: 2.5,
      max_position_embeddings: 4096,
      bos_token_id: 0,
      eos_token_id: 1,
    },
  },
} as const;

const familyOf = new Map<unknown, keyof typeof families>([
  ["deepseek_v2", "v2"],
  ["deepseek_v3", "v3"],
  ["kimi_k2", "v3"],
]);

/**
 * @returns the file's model_type, and its keys with the defaults of that model
 * @throws {CheckpointError} for a value that no network can have
 * @throws {UnsupportedError} for a network that hadal does not know, naming those that it does
 */
export function readKeys(json: unknown, file: string): { architecture: string; keys: ConfigKeys } {
  const { model_type: architecture } = checkJson(object({ model_type: anything() }), json, file);
  const familyName = familyOf.get(architecture);
  if (typeof architecture !== "string" || familyName === undefined) {
    throw new UnsupportedError(
      `Cannot use ${file}: model_type is ${show(architecture)}, supported: ${
        [...familyOf.keys()].join(", ")
      }`,
    );
  }
  const family = families[familyName];
  const keys = checkJson(schema, { ...family.defaults, ...(json as object) }, file);
  const supportOnly = (key: keyof ConfigKeys, supported: readonly unknown[]) => {
    if (!supported.includes(keys[key])) {
      throw new UnsupportedError(
        `Cannot use ${file}: ${key} is ${show(keys[key])}, supported for ${architecture}: ${
          supported.join(", ")
        }`,
      );
    }
  };
  supportOnly("hidden_act", ["silu"]);
  supportOnly("attention_bias", [false]);
  supportOnly("mlp_bias", [false]);
  supportOnly("scoring_func", [family.scoring]);
  supportOnly("topk_method", family.methods);
  return { architecture, keys };
}
