/**
 * Fields of requests that several endpoints have in common: such as may be left out, and those of other servers
 * that would change the answer in a way that hadal cannot do yet, which are refused by name.
 * @module
 */
import { z } from "zod";

/** Null means the default, as in the API. */
export const optional = <T extends z.ZodType>(type: T) =>
  type.nullish().transform((value) => value ?? undefined);
/** A field that changes the answer in a way that hadal cannot do yet: only values that ask for nothing pass. */
export const notYet = (...asksNothing: unknown[]) =>
  optional(
    z.unknown().refine((value) => asksNothing.includes(value), "it is not supported yet")
      .meta({
        ...(asksNothing.length > 0 ? { enum: asksNothing } : { not: {} }),
        description: "Not supported yet",
      }),
  );
export const noItems = optional(z.array(z.unknown()).max(0, "it is not supported yet"));

/** Of both kinds of completion, as vLLM, SGLang and llama-server know them. */
export const notYetFields = {
  // which tokens may come, and how they are drawn
  allowed_token_ids: notYet(),
  bad_words: noItems,
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
  // where a reply ends, and what is shown of it
  stop_regex: noItems,
  t_max_predict_ms: notYet(0, -1),
  n_indent: notYet(0),
  no_stop_trim: notYet(false),
  include_stop_str_in_output: notYet(false),
  skip_special_tokens: notYet(true),
  return_tokens_as_token_ids: notYet(false),
  return_token_ids: notYet(false),
  return_tokens: notYet(false),
  return_hidden_states: notYet(false),
  return_progress: notYet(false),
  timings_per_token: notYet(false),
  response_fields: noItems,
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
};
