/**
 * The config.json of small networks, and how a changed one is refused.
 * @module
 */
import assert from "node:assert/strict";
import { CheckpointError, UnsupportedError } from "../../src/errors.ts";
import { parseConfig } from "../../src/model/config.ts";

export const file = "folder/config.json";

/** DeepSeek-V2-Lite's shape, small: keys as its config.json has them. */
export const v2lite = {
  model_type: "deepseek_v2",
  vocab_size: 512,
  hidden_size: 64,
  intermediate_size: 128,
  moe_intermediate_size: 32,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 4,
  n_routed_experts: 8,
  num_experts_per_tok: 3,
  n_shared_experts: 2,
  first_k_dense_replace: 1,
  moe_layer_freq: 1,
  topk_method: "greedy",
  scoring_func: "softmax",
  norm_topk_prob: true,
  n_group: 1,
  topk_group: 1,
  q_lora_rank: null,
  kv_lora_rank: 32,
  qk_nope_head_dim: 16,
  qk_rope_head_dim: 16,
  v_head_dim: 24,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  max_position_embeddings: 1280,
  bos_token_id: 0,
  eos_token_id: 1,
};

/** The same with V3's routing. */
export const v3 = {
  ...v2lite,
  model_type: "deepseek_v3",
  topk_method: "noaux_tc",
  scoring_func: "sigmoid",
  n_group: 4,
  topk_group: 2,
  q_lora_rank: 24,
  routed_scaling_factor: 2.5,
  num_nextn_predict_layers: 1,
};

export const yarn = {
  type: "yarn",
  factor: 40,
  mscale: 1,
  mscale_all_dim: 1,
  original_max_position_embeddings: 32,
};

/** Asserts that changes to a sound config are refused in one sentence that names the file and matches. */
export function refuses(
  changes: Record<string, unknown>,
  problem: RegExp,
  kind: typeof CheckpointError | typeof UnsupportedError = CheckpointError,
  base: object = v3,
): void {
  assert.throws(() => parseConfig({ ...base, ...changes }, file), (error: unknown) => {
    assert.ok(error instanceof kind, `${error}`);
    assert.match(error.message, /^Cannot (read|use) folder\/config\.json: [^\n]{1,300}[^.]$/);
    assert.match(error.message, problem);
    return true;
  });
}
