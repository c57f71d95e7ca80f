/**
 * What the Anthropic API answers, as schemas.
 * @module
 */
import { z } from "zod";

const count = z.int().min(0);

const block = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text"), text: z.string() }),
  z.object({ type: z.literal("thinking"), thinking: z.string(), signature: z.string() }),
  z.object({
    type: z.literal("tool_use"),
    id: z.string(),
    name: z.string(),
    input: z.record(z.string(), z.unknown()),
  }),
]);
const usage = z.object({
  input_tokens: count,
  cache_creation_input_tokens: count,
  cache_read_input_tokens: count,
  output_tokens: count,
});
const stopReason = z.literal(["end_turn", "max_tokens", "stop_sequence", "tool_use"]);
const end = { stop_reason: stopReason.nullable(), stop_sequence: z.string().nullable() };

/** POST /v1/messages */
export const messageAnswer = z.object({
  id: z.string(),
  type: z.literal("message"),
  role: z.literal("assistant"),
  model: z.string(),
  content: z.array(block),
  ...end,
  usage,
});

/** POST /v1/messages/count_tokens */
export const countAnswer = z.object({ input_tokens: count });

/** The body of every error. */
export const anthropicError = z.object({
  type: z.literal("error"),
  error: z.looseObject({ type: z.string(), message: z.string() }),
});

const delta = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text_delta"), text: z.string() }),
  z.object({ type: z.literal("thinking_delta"), thinking: z.string() }),
  z.object({ type: z.literal("signature_delta"), signature: z.string() }),
  z.object({ type: z.literal("input_json_delta"), partial_json: z.string() }),
]);

/** One event of a message that is streamed. */
export const messageEvent = z.discriminatedUnion("type", [
  z.object({ type: z.literal("message_start"), message: messageAnswer }),
  z.object({ type: z.literal("content_block_start"), index: count, content_block: block }),
  z.object({ type: z.literal("content_block_delta"), index: count, delta }),
  z.object({ type: z.literal("content_block_stop"), index: count }),
  z.object({ type: z.literal("message_delta"), delta: z.object(end), usage }),
  z.object({ type: z.literal("message_stop") }),
  anthropicError,
]);
