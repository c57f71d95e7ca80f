/**
 * What POST /v1/responses answers, as schemas.
 * @module
 */
import { z } from "zod";
import { tokenLogprob } from "./answers.ts";

const count = z.int().min(0);
const status = z.literal(["in_progress", "completed", "incomplete"]);

const logprobs = z.array(z.object({ ...tokenLogprob, top_logprobs: z.array(z.object(tokenLogprob)) }));
const outputText = z.object({
  type: z.literal("output_text"),
  text: z.string(),
  annotations: z.array(z.unknown()).max(0),
  logprobs,
});
const item = z.discriminatedUnion("type", [
  z.object({
    id: z.string(),
    type: z.literal("message"),
    status,
    role: z.literal("assistant"),
    content: z.array(outputText),
  }),
  z.object({
    id: z.string(),
    type: z.literal("reasoning"),
    status,
    summary: z.array(z.unknown()).max(0),
    content: z.array(z.object({ type: z.literal("reasoning_text"), text: z.string() })),
    encrypted_content: z.string().nullable().optional(),
  }),
  z.object({
    id: z.string(),
    type: z.literal("function_call"),
    status,
    call_id: z.string(),
    name: z.string(),
    arguments: z.string(),
  }),
]);

/** The whole response, or one that is being written. */
export const responseAnswer = z.looseObject({
  id: z.string(),
  object: z.literal("response"),
  created_at: count,
  model: z.string(),
  status,
  error: z.null(),
  incomplete_details: z.object({ reason: z.string() }).nullable(),
  instructions: z.string().nullable(),
  max_output_tokens: z.int().nullable(),
  metadata: z.record(z.string(), z.string()),
  output: z.array(item),
  parallel_tool_calls: z.boolean(),
  previous_response_id: z.null(),
  temperature: z.number().nullable(),
  top_p: z.number().nullable(),
  text: z.looseObject({ format: z.looseObject({ type: z.string() }) }),
  tool_choice: z.unknown(),
  tools: z.array(z.unknown()),
  truncation: z.literal(["auto", "disabled"]),
  store: z.literal(false),
  usage: z.object({
    input_tokens: count,
    input_tokens_details: z.looseObject({ cached_tokens: count }),
    output_tokens: count,
    output_tokens_details: z.looseObject({ reasoning_tokens: count }),
    total_tokens: count,
  }).nullable(),
});

const event = <T extends z.ZodRawShape>(type: string | string[], shape: T) =>
  z.object({ type: z.literal([type].flat()), sequence_number: count, ...shape });
const at = { item_id: z.string(), output_index: count };

/** One event of the same, streamed. */
export const responseEvent = z.union([
  event(["response.created", "response.in_progress", "response.completed", "response.incomplete"], {
    response: responseAnswer,
  }),
  event(["response.output_item.added", "response.output_item.done"], { output_index: count, item }),
  event(["response.content_part.added", "response.content_part.done"], {
    ...at,
    content_index: count,
    part: outputText,
  }),
  event("response.output_text.delta", { ...at, content_index: count, logprobs, delta: z.string() }),
  event("response.output_text.done", { ...at, content_index: count, logprobs, text: z.string() }),
  event("response.reasoning_text.delta", { ...at, content_index: count, delta: z.string() }),
  event("response.reasoning_text.done", { ...at, content_index: count, text: z.string() }),
  event("response.function_call_arguments.delta", { ...at, delta: z.string() }),
  event("response.function_call_arguments.done", { ...at, name: z.string(), arguments: z.string() }),
  z.looseObject({ type: z.literal("error"), message: z.string() }),
]);
