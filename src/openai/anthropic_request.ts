/**
 * The fields of the Anthropic API's requests, and what they are called in hadal.
 * @module
 */
import { z } from "zod";
import { RequestError } from "../errors.ts";
import type { ChatOptions } from "../generate_options.ts";
import type { Message } from "../messages.ts";
import type { ToolCall } from "../text/chat_message.ts";
import type { CallMemory } from "./call_memory.ts";
import { harmless, noItems, notYet, optional, sampled } from "./field_types.ts";
import { generationOptions, oneReplyFields } from "./generation_fields.ts";
import { harmlessToAnthropic } from "./harmless_fields.ts";
import { unsealed } from "./sealed_thought.ts";
import { templateFields, templateOptions, thoughtTokens } from "./template_fields.ts";

const cached = { cache_control: harmless }; // prompts that begin alike are found without it
const direct = optional(z.object({ type: z.literal("direct", "only the model itself calls tools here") }));

const textBlock = z.object({
  type: z.literal("text", 'only blocks of type "text" are read yet'),
  text: z.string(),
  citations: noItems,
  ...cached,
});
/** What an earlier reply thought comes back in its own block; templates decide whether to show it. */
const thinkingBlock = z.object({
  type: z.literal("thinking"),
  thinking: z.string(),
  signature: optional(z.string()),
});
const toolUse = z.object({
  type: z.literal("tool_use"),
  id: z.string(),
  name: z.string(),
  input: z.record(z.string(), z.unknown()),
  caller: direct,
  toolset_name: notYet(),
  ...cached,
});
const toolResult = z.object({
  type: z.literal("tool_result"),
  tool_use_id: z.string(),
  content: optional(z.union([z.string(), z.array(textBlock)])),
  is_error: optional(z.boolean()),
  toolset_name: notYet(),
  ...cached,
});
const blocks = z.array(
  z.discriminatedUnion(
    "type",
    [textBlock, thinkingBlock, toolUse, toolResult],
    'blocks of the types "text", "thinking", "tool_use" and "tool_result" are read',
  ),
);
const tool = z.object({
  type: optional(z.literal("custom", "tools of your own are supported")),
  name: z.string(),
  description: optional(z.string()),
  input_schema: z.record(z.string(), z.unknown()),
  strict: optional(z.boolean()),
  allowed_callers: optional(z.array(z.literal("direct", "only the model itself calls tools here"))),
  defer_loading: notYet(false),
  input_examples: noItems,
  eager_input_streaming: harmless, // arguments are always told as they are written
  ...cached,
});
const toolChoice = z.object({
  type: z.literal(["auto", "any", "tool", "none"]),
  name: optional(z.string()),
  disable_parallel_tool_use: optional(z.boolean()),
});

const outputFormat = z.object({
  type: z.literal("json_schema", 'the type is "json_schema"'),
  schema: z.record(z.string(), z.unknown()),
});
/** What is to be left out of a conversation; clients ask for this one, which leaves out nothing. */
const edit = z.object({
  type: z.literal("clear_thinking_20251015", "no edits of the context are supported yet"),
  keep: z.literal("all", "no edits of the context are supported yet"),
});

const prompt = {
  model: optional(z.string()),
  messages: z.array(z.object({
    role: z.literal(["user", "assistant", "system"], 'the roles are "user", "assistant" and "system"'),
    content: z.union([z.string(), blocks], "a string or a list of text blocks is needed"),
  })).min(1, "at least one message is needed"),
  system: optional(z.union([z.string(), z.array(textBlock)], "a string or a list of text blocks is needed")),
  tools: optional(z.array(tool)),
  tool_choice: optional(toolChoice),
  mcp_servers: noItems,
  thinking: optional(z.object({
    type: z.literal(["enabled", "disabled", "adaptive"], "enabled, disabled or adaptive is needed"),
    budget_tokens: thoughtTokens,
    display: optional(z.literal(["summarized", "omitted"])), // the thought itself is told, or sealed
    block_binding: optional(z.strictObject({}, "it is not supported yet")),
  })),
  output_config: optional(z.object({
    format: optional(outputFormat),
    effort: optional(z.literal(["low", "medium", "high", "xhigh", "max"])),
    task_budget: notYet(),
  })),
  output_format: optional(outputFormat), // where it stood before
  context_management: optional(z.object({ edits: optional(z.array(edit)) })),
  compaction: notYet(),
  thread: notYet(),
  speed: notYet("standard"),
  ...templateFields,
  ...harmlessToAnthropic,
};

/** POST /v1/messages/count_tokens */
export const countRequest = z.object(prompt);

/** POST /v1/messages */
export const messagesRequest = z.object({
  ...oneReplyFields,
  ...prompt,
  max_tokens: z.int().min(1, "a whole number from 1 is needed"),
  n_predict: notYet(), // max_tokens is always there
  stop_sequences: optional(z.array(z.string())),
  top_logprobs: notYet(0),
  top_k: sampled("topK"),
  container: notYet(),
  diagnostics: optional(z.object({ previous_message_id: notYet() })),
  fallbacks: noItems,
  inference_geo: notYet(),
});

/** A request for a reply, as checked. */
export type MessagesRequest = z.output<typeof messagesRequest>;
/** A request for its prompt's tokens, as checked. */
export type CountRequest = z.output<typeof countRequest>;

/** The messages in hadal's words. */
export function messagesOf(
  { system, messages }: Pick<CountRequest, "system" | "messages">,
  calls: CallMemory,
  tenant: string,
): Message[] {
  const first = typeof system === "string" ? system : system?.map(({ text }) => text).join("\n");
  const others = messages.flatMap(({ role, content }): Message[] => {
    if (typeof content === "string") return [{ role, content }];
    const texts = content.flatMap((block) => block.type === "text" ? [block.text] : []);
    const thoughts = content.flatMap((block) => block.type === "thinking" ? [thoughtOf(block)] : []);
    const results = content.flatMap((block): Message[] => {
      if (block.type !== "tool_result") return [];
      return [{ role: "tool", content: resultOf(block), toolCallId: block.tool_use_id }];
    });
    const toolCalls = content.flatMap((block): ToolCall[] => {
      if (block.type !== "tool_use") return [];
      const { id, name, input } = block;
      return [{ id, type: "function", function: { name, arguments: calls.recall(tenant, id, input) } }];
    });
    const said: Message = {
      role,
      content: texts.join("\n"),
      ...(thoughts.length === 0 ? {} : { reasoning: thoughts.join("\n") }),
      ...(toolCalls.length === 0 ? {} : { toolCalls }),
    };
    return results.length > 0 && texts.length === 0 ? results : [...results, said];
  });
  return first === undefined ? others : [{ role: "system", content: first }, ...others];
}

/** One that was left out of a reply comes back in its signature; that of another server says nothing here. */
function thoughtOf({ thinking, signature = "" }: z.output<typeof thinkingBlock>): string {
  return thinking || (unsealed(signature) ?? "");
}

/** What a tool gave; that it failed is told in words, since templates have no other place for it. */
function resultOf({ content, is_error }: z.output<typeof toolResult>): Message["content"] {
  const text = typeof content === "string" ? content : content?.map(({ text }) => text).join("\n") ?? "";
  if (!is_error) return text; // a tool may have had nothing to say
  return text === "" ? "Error" : `Error: ${text}`;
}

/** The options that the prompt depends on, in hadal's words. */
export function promptOptions(body: CountRequest): ChatOptions {
  const { tools, tool_choice: choice, thinking, output_config } = body;
  const effort = output_config?.effort;
  const choices = {
    auto: "auto",
    any: "required",
    none: "none",
    tool: { name: choice?.name ?? "" },
  } as const;
  return {
    tools: tools?.map(({ name, description, strict, input_schema: parameters }) => (
      { type: "function", function: { name, description, parameters, strict } }
    )),
    toolChoice: choice && choices[choice.type],
    parallelToolCalls: choice?.disable_parallel_tool_use ? false : undefined,
    continueFinalMessage: continuesIn(body),
    ...templateOptions(body, {
      thinking: thinking && thinking.type !== "disabled",
      effort: effort === "high" ? undefined : effort, // as without the word
      budgets: { "thinking.budget_tokens": thinking?.budget_tokens },
    }),
  };
}

/** In this API a last message of the assistant is always continued. */
function continuesIn({ messages }: Pick<CountRequest, "messages">): boolean {
  return messages.at(-1)!.role === "assistant";
}

/** All options in hadal's words. */
export function messageOptions(body: MessagesRequest): ChatOptions {
  const format = body.output_config?.format ?? body.output_format;
  return {
    ...generationOptions(body, ["output_config.format", { jsonSchema: format?.schema }]),
    ...promptOptions(body),
    maxTokens: body.max_tokens,
    stop: stopsOf(body),
  };
}

/** @throws {RequestError} for both words at once */
function stopsOf({ stop, stop_sequences }: MessagesRequest): ChatOptions["stop"] {
  if (stop === undefined || stop_sequences === undefined) return stop_sequences ?? stop;
  throw new RequestError("Cannot use stop: stop_sequences says the same, one of them is needed", {
    param: "stop",
  });
}
