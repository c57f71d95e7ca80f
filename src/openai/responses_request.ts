/**
 * The fields of POST /v1/responses, and what they are called in hadal.
 * @module
 */
import { z } from "zod";
import { RequestError } from "../errors.ts";
import type { ChatOptions } from "../generate_options.ts";
import { flag, harmless, noItems, notYet, optional, sampled } from "./field_types.ts";
import { generationOptions, oneReplyFields, predicted } from "./generation_fields.ts";
import { harmlessToResponses } from "./harmless_fields.ts";
import { responsesInput } from "./responses_items.ts";
import { formatOptions, textFormat } from "./structured.ts";
import { effort, templateFields, templateOptions, thoughtTokens } from "./template_fields.ts";

const tool = z.object({
  type: z.literal("function", 'tools of type "function" are supported'),
  name: z.string(),
  description: optional(z.string()),
  parameters: optional(z.record(z.string(), z.unknown())),
  strict: flag,
  allowed_callers: optional(z.array(z.literal("direct", "only the model itself calls tools here"))),
  async: notYet(false),
  defer_loading: notYet(false),
  output_schema: notYet(),
});
const namedTool = z.object({ type: z.literal("function"), name: z.string() });
const toolChoice = z.union([
  z.literal(["none", "auto", "required"]),
  z.discriminatedUnion("type", [
    namedTool,
    z.object({
      type: z.literal("allowed_tools"),
      mode: z.literal(["auto", "required"]),
      tools: z.array(namedTool).min(1),
    }),
  ]),
], '"none", "auto", "required", a function by name or the allowed ones are needed');

const logprobsOfText = "message.output_text.logprobs", sealedThoughts = "reasoning.encrypted_content";
/** What a client may ask to see beside the output; but for the first two it is of tools and pictures, of which there are none. */
const includable = z.literal([
  logprobsOfText,
  sealedThoughts,
  "file_search_call.results",
  "web_search_call.results",
  "web_search_call.action.sources",
  "message.input_image.image_url",
  "computer_call_output.output.image_url",
  "code_interpreter_call.outputs",
], "it is nothing that can be included");

/** POST /v1/responses */
export const responsesRequest = z.object({
  ...oneReplyFields,
  ...templateFields,
  ...harmlessToResponses,
  input: responsesInput,
  instructions: optional(z.string()),
  max_output_tokens: sampled("maxTokens"),
  metadata: optional(z.record(z.string(), z.string())),
  text: optional(z.object({
    format: optional(textFormat),
    verbosity: harmless,
  })),
  tools: optional(z.array(tool)),
  tool_choice: optional(toolChoice),
  parallel_tool_calls: flag,
  reasoning: optional(z.object({
    effort: optional(effort),
    max_tokens: thoughtTokens,
    summary: notYet("auto"), // the thought itself is told
    generate_summary: notYet("auto"),
    context: notYet("auto"), // the template decides
    mode: notYet("standard"),
  })),
  previous_response_id: notYet(),
  previous_response: notYet(),
  previous_input_messages: noItems,
  enable_response_messages: notYet(false),
  conversation: notYet(),
  prompt: notYet(),
  background: notYet(false),
  access_programs: notYet(),
  top_logprobs: sampled("topLogprobs"),
  include: optional(z.array(includable)),
  context_management: noItems,
  truncation: optional(z.literal(["auto", "disabled"], '"auto" or "disabled" is needed')),
});

/** A request as checked. */
export type ResponsesRequest = z.output<typeof responsesRequest>;

/** Rivals of a token are told beside it, so that whoever asks for them asks for both. */
export function wantsLogprobs({ include, top_logprobs: nTop = 0 }: ResponsesRequest): boolean {
  return nTop > 0 || include?.includes(logprobsOfText) === true;
}

/** Whether thoughts are wanted in the form in which they are given back. */
export function wantsSealed({ include }: ResponsesRequest): boolean {
  return include?.includes(sealedThoughts) === true;
}

/** All options in hadal's words. */
export function responseOptions(body: ResponsesRequest): ChatOptions {
  const { tool_choice: choice, reasoning } = body;
  const format = formatOptions(body.text?.format, "text.format");
  return {
    ...generationOptions(body, ["text.format", format]),
    ...templateOptions(body, {
      effort: reasoning?.effort,
      budgets: { "reasoning.max_tokens": reasoning?.max_tokens },
    }),
    maxTokens: body.max_output_tokens ?? body.max_tokens ?? predicted(body),
    tools: body.tools?.map(({ name, description, parameters, strict }) => (
      { type: "function", function: { name, description, parameters, strict } }
    )),
    toolChoice: choiceOf(choice),
    parallelToolCalls: body.parallel_tool_calls,
    contextOverflow: overflowOf(body),
    logprobs: wantsLogprobs(body),
    topLogprobs: wantsLogprobs(body) ? body.top_logprobs : undefined,
  };
}

function choiceOf(choice: ResponsesRequest["tool_choice"]): ChatOptions["toolChoice"] {
  if (typeof choice !== "object") return choice;
  if (choice.type === "function") return { name: choice.name };
  return { mode: choice.mode, allowed: choice.tools.map(({ name }) => name) };
}

/** @throws {RequestError} for words that contradict one another */
function overflowOf(
  { truncation, context_overflow: overflow }: ResponsesRequest,
): ChatOptions["contextOverflow"] {
  const own = truncation && (truncation === "auto" ? "shift" : "refuse");
  if (own === undefined || overflow === undefined || own === overflow) return own ?? overflow;
  throw new RequestError(`Cannot use context_overflow: truncation is "${truncation}"`, {
    param: "context_overflow",
  });
}
