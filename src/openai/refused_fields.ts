/**
 * Fields of vLLM, SGLang and llama-server, and newer ones of OpenAI, that would change a reply in a way that hadal
 * cannot do yet: they are refused by name, unless their value asks for nothing.
 * @module
 */
import { noItems, notYet } from "./field_types.ts";

/** Of every endpoint that writes text. */
export const notYetFields = {
  // how tokens are drawn
  mirostat: notYet(0),
  dry_multiplier: notYet(0),
  xtc_probability: notYet(0),
  dynatemp_range: notYet(0),
  top_n_sigma: notYet(0, -1),
  tfs_z: notYet(1),
  adaptive_target: notYet(-1),
  samplers: notYet(), // their order
  min_keep: notYet(0, 1),
  logits_processors: noItems,
  custom_logit_processor: notYet(),
  vllm_xargs: notYet(),
  guided_whitespace_pattern: notYet(),
  grammar_lazy: notYet(false),
  grammar_triggers: noItems,
  watermarking: notYet(false),
  // where a reply ends, and what is shown of it
  stop_regex: noItems,
  repetition_detection: notYet(),
  t_max_predict_ms: notYet(0, -1),
  n_indent: notYet(0),
  no_stop_trim: notYet(false),
  include_stop_str_in_output: notYet(false),
  skip_special_tokens: notYet(true),
  return_tokens_as_token_ids: notYet(false),
  return_token_ids: notYet(false),
  return_token_offsets: notYet(false),
  return_prompt_text: notYet(false),
  return_tokens: notYet(false),
  return_hidden_states: notYet(false),
  return_progress: notYet(false),
  routed_experts_prompt_start: notYet(0),
  timings_per_token: notYet(false),
  response_fields: noItems,
  logprob_token_ids: noItems,
  n_probs: notYet(0),
  post_sampling_probs: notYet(false),
  // what is read
  truncate_prompt_tokens: notYet(),
  n_discard: notYet(0),
  prompt_embeds: notYet(),
  input_embeds: notYet(),
  image_data: noItems,
  lora: noItems,
  lora_path: notYet(),
  // where, when and by whom it is computed, kept and judged
  priority: notYet(0),
  kv_transfer_params: notYet(),
  ec_transfer_params: notYet(),
  moderation: notYet(),
};
