/**
 * Fields that clients send and that cannot change a reply: each is taken on purpose, whatever it holds. All other
 * fields that hadal knows are honoured, or refused by name where they ask for what it cannot do.
 * @module
 */
import { z } from "zod";
import { harmless, notYet, optional } from "./field_types.ts";

/** Of every endpoint. */
export const harmlessFields = {
  // who asks, and what the request is called
  user: harmless,
  metadata: harmless,
  safety_identifier: harmless,
  store: harmless, // nothing is kept, and a response says so
  request_id: harmless,
  session_id: harmless,
  // in which queue it waits, at what price
  service_tier: harmless,
  // caches: prompts that begin alike are found without a word, and a reply is the same with them and without
  prompt_cache_key: harmless,
  prompt_cache_retention: harmless,
  prompt_cache_options: optional(
    z.object({ prewarm: notYet(false), comparison_response_id: notYet() }), // others say how long
  ),
  cache_prompt: harmless,
  n_cache_reuse: harmless,
  id_slot: harmless,
  // a guess of the reply, so that it comes sooner
  prediction: harmless,
  // how many tokens a chunk of a stream has, and how often a silent one says that it is there
  stream_interval: harmless,
  sse_ping_interval: harmless,
  // numbers of samplers that are off: what turns them on is refused
  mirostat_tau: harmless,
  mirostat_eta: harmless,
  dry_base: harmless,
  dry_allowed_length: harmless,
  dry_penalty_last_n: harmless,
  dry_sequence_breakers: harmless,
  xtc_threshold: harmless,
  dynatemp_exponent: harmless,
  adaptive_decay: harmless,
  // a wish that no model of this family has learned to read
  verbosity: harmless,
  // how what is never there would be read or shown: pictures, cut prompts, control tokens
  mm_processor_kwargs: harmless,
  media_io_kwargs: harmless,
  return_mm_kwargs: harmless,
  truncation_side: harmless,
  spaces_between_special_tokens: harmless,
};

/** Of the Anthropic API. */
export const harmlessToAnthropic = {
  ...harmlessFields,
  cache_control: harmless,
  user_profile_id: harmless,
  workspace_id: harmless,
  billing_policy: harmless,
  fallback_credit_token: harmless,
  betas: harmless,
};

/** Of the Responses API: there are no tools of the server's whose calls could be counted, and no pictures. */
export const harmlessToResponses = { ...harmlessFields, max_tool_calls: harmless, image: harmless };
