/**
 * POST /v1/messages and /v1/messages/count_tokens: the Anthropic API over the same model, for its clients.
 * @module
 */
import { z } from "zod";
import type { ChatReply, Choice, ReplyPart, Usage, WholeReply } from "../chat_reply.ts";
import type { ChatOptions } from "../generate_options.ts";
import type { LanguageModel } from "../language_model.ts";
import type { Message } from "../messages.ts";
import type { ToolCall } from "../text/chat_message.ts";
import type { Client } from "./access.ts";
import type { CallMemory } from "./call_memory.ts";
import { apiError } from "./errors.ts";
import { begun, eventStream, typedEvents } from "./event_stream.ts";
import { noItems, notYet, optional } from "./field_types.ts";
import { sampled } from "./requests.ts";

const textBlock = z.object({
  type: z.literal("text", 'only blocks of type "text" are read yet'),
  text: z.string(),
});
/** What an earlier reply thought comes back in its own block; templates decide whether to show it. */
const thinkingBlock = z.object({ type: z.literal("thinking"), thinking: z.string() });
const toolUse = z.object({
  type: z.literal("tool_use"),
  id: z.string(),
  name: z.string(),
  input: z.record(z.string(), z.unknown()),
});
const toolResult = z.object({
  type: z.literal("tool_result"),
  tool_use_id: z.string(),
  content: optional(z.union([z.string(), z.array(textBlock)])),
  is_error: optional(z.boolean()),
});
const blocks = z.array(z.discriminatedUnion("type", [textBlock, thinkingBlock, toolUse, toolResult]));
const tool = z.object({
  type: optional(z.literal("custom", "tools of your own are supported")),
  name: z.string(),
  description: optional(z.string()),
  input_schema: z.record(z.string(), z.unknown()),
  strict: optional(z.boolean()),
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
    role: z.literal(["user", "assistant"], 'the roles are "user" and "assistant"'),
    content: z.union([z.string(), blocks], "a string or a list of text blocks is needed"),
  })).min(1, "at least one message is needed"),
  system: optional(z.union([z.string(), z.array(textBlock)], "a string or a list of text blocks is needed")),
  tools: optional(z.array(tool)),
  tool_choice: optional(toolChoice),
  mcp_servers: noItems,
  thinking: optional(z.object({
    type: z.literal(["enabled", "disabled", "adaptive"]),
    display: notYet("summarized"), // "omitted" would leave it out
  })),
  output_config: optional(z.object({
    format: optional(outputFormat),
    effort: optional(z.literal(["low", "medium", "high", "xhigh", "max"])),
  })),
  output_format: optional(outputFormat), // where it stood before
  context_management: optional(z.object({ edits: optional(z.array(edit)) })),
};

/** POST /v1/messages/count_tokens */
export const countRequest = z.object(prompt);

/** POST /v1/messages */
export const messagesRequest = z.object({
  ...prompt,
  max_tokens: z.int().min(1, "a whole number from 1 is needed"),
  stop_sequences: optional(z.array(z.string())),
  stream: optional(z.boolean()),
  temperature: sampled("temperature"),
  top_k: sampled("topK"),
  top_p: sampled("topP"),
  container: notYet(),
});

type MessagesRequest = z.output<typeof messagesRequest>;

/** How many tokens a chat's prompt has. */
export function countTokens(
  model: LanguageModel,
  body: z.output<typeof countRequest>,
  calls: CallMemory,
  { tenant }: Client,
): Response {
  const { tokens } = model.renderChat(messagesOf(body, calls, tenant), promptOptions(body));
  return Response.json({ input_tokens: tokens.length });
}

/** Answers a checked request. The client may go away, which ends the reply. */
export async function anthropicMessage(
  model: LanguageModel,
  body: MessagesRequest,
  modelName: string,
  calls: CallMemory,
  client: Client,
): Promise<Response> {
  const chat = messagesOf(body, calls, client.tenant);
  const options = { ...optionsOf(body), ...client };
  const reply = model.chat(chat, options);
  const written = reply.then((whole) => {
    for (const { id, function: { arguments: json } } of whole.toolCalls) {
      calls.remember(client.tenant, id, inputOf(json), json);
    }
    return whole;
  });
  written.catch(() => {}); // told by the reply itself
  const frame = {
    id: `msg_${crypto.randomUUID().replaceAll("-", "")}`,
    type: "message",
    role: "assistant",
    model: modelName,
  };
  if (body.stream) {
    const nPrompt = model.renderChat(chat, options).tokens.length;
    const form = typedEvents((thrown) => anthropicError(thrown));
    return eventStream(eventsOf(reply, written, frame, nPrompt), () => reply.cancel(), { form });
  }
  const whole = await written;
  return Response.json({
    ...frame,
    content: [
      ...(whole.reasoning === "" ? [] : [{ type: "thinking", thinking: whole.reasoning, signature: "" }]),
      ...(whole.text === "" && whole.toolCalls.length > 0 ? [] : [{ type: "text", text: whole.text }]),
      ...whole.toolCalls.map(({ id, function: { name, arguments: json } }) => (
        { type: "tool_use", id, name, input: inputOf(json) }
      )),
    ],
    ...endOf(whole),
    usage: usageOf(whole.usage),
  });
}

/** An error in this API's words, under the status that the other one gives it. */
function anthropicError(thrown: unknown): { readonly type: "error"; readonly error: object } {
  const { status, body } = apiError(thrown);
  const types: Readonly<Record<number, string>> = {
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
  };
  const type = types[status] ?? (status >= 500 ? "api_error" : "invalid_request_error");
  return { type: "error", error: { type, message: body.error.message } };
}

/** The answer to a request that failed before anything of its reply was sent. */
export function anthropicErrorResponse(thrown: unknown): Response {
  const { status, headers } = apiError(thrown);
  return Response.json(anthropicError(thrown), { status, headers });
}

/** A message that begins, its blocks piece by piece, and why it ended. */
async function* eventsOf(
  reply: ChatReply,
  written: Promise<WholeReply>,
  frame: object,
  nPrompt: number,
): AsyncGenerator<object[]> {
  const usage = usageOf({ promptTokens: nPrompt, cachedTokens: 0, completionTokens: 0 });
  const message = { ...frame, content: [], stop_reason: null, stop_sequence: null, usage };
  const batches = await begun(reply.batches());
  yield [{ type: "message_start", message }];
  let index = -1, open: string | null = null;
  function* eventsOfPart(part: ReplyPart): Generator<object> {
    const block = part.type + (part.call?.index ?? "");
    if (part.text === "" && (block === open || (open !== null && part.call === undefined))) return;
    if (block !== open) {
      if (open !== null) yield { type: "content_block_stop", index };
      open = block;
      yield { type: "content_block_start", index: ++index, content_block: emptyBlock(part) };
    }
    if (part.text !== "") yield { type: "content_block_delta", index, delta: deltaOf(part) };
  }
  for await (const parts of batches) yield parts.flatMap((part) => [...eventsOfPart(part)]);
  if (open !== null) yield [{ type: "content_block_stop", index }];
  const whole = await written;
  yield [
    { type: "message_delta", delta: endOf(whole), usage: usageOf(whole.usage) },
    { type: "message_stop" },
  ];
}

function emptyBlock({ type, call }: ReplyPart): object {
  if (call !== undefined) return { type: "tool_use", id: call.id, name: call.name, input: {} };
  return type === "reasoning"
    ? { type: "thinking", thinking: "", signature: "" }
    : { type: "text", text: "" };
}

function deltaOf({ type, text }: ReplyPart): object {
  if (type === "toolCall") return { type: "input_json_delta", partial_json: text };
  return type === "reasoning" ? { type: "thinking_delta", thinking: text } : { type: "text_delta", text };
}

/** This API gives arguments as an object: what a model wrote that is none comes as text under one name. */
function inputOf(json: string): object {
  try {
    const value = JSON.parse(json);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Told below: the caller's own schema refuses it.
  }
  return { invalid_json: json };
}

function endOf({ finishReason, stopText }: Choice): object {
  const reasons: Readonly<Record<string, string>> = { length: "max_tokens", toolCalls: "tool_use" };
  const reason = stopText === null ? reasons[finishReason] ?? "end_turn" : "stop_sequence";
  return { stop_reason: reason, stop_sequence: stopText };
}

type TokenCounts = Pick<Usage, "promptTokens" | "cachedTokens" | "completionTokens">;

function usageOf({ promptTokens, cachedTokens, completionTokens }: TokenCounts): object {
  return {
    input_tokens: promptTokens - cachedTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cachedTokens,
    output_tokens: completionTokens,
  };
}

function messagesOf(
  { system, messages }: z.output<typeof countRequest>,
  calls: CallMemory,
  tenant: string,
): Message[] {
  const first = typeof system === "string" ? system : system?.map(({ text }) => text).join("\n");
  const others = messages.flatMap(({ role, content }): Message[] => {
    if (typeof content === "string") return [{ role, content }];
    const texts = content.flatMap((block) => block.type === "text" ? [block.text] : []);
    const thoughts = content.flatMap((block) => block.type === "thinking" ? [block.thinking] : []);
    const results = content.flatMap((block): Message[] => {
      if (block.type !== "tool_result") return [];
      const content = block.content?.length ? block.content : ""; // a tool may have had nothing to say
      return [{ role: "tool", content, toolCallId: block.tool_use_id }];
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

function promptOptions(body: z.output<typeof countRequest>): ChatOptions {
  const { tools, tool_choice: choice, output_config } = body;
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
    thinking: body.thinking && body.thinking.type !== "disabled",
    reasoningEffort: effort === "high" ? undefined : effort, // as without the word
    continueFinalMessage: continuesIn(body),
  };
}

/** In this API a last message of the assistant is always continued. */
function continuesIn({ messages }: z.output<typeof countRequest>): boolean {
  return messages.at(-1)!.role === "assistant";
}

function optionsOf(body: MessagesRequest): ChatOptions {
  return {
    ...promptOptions(body),
    jsonSchema: (body.output_config?.format ?? body.output_format)?.schema,
    maxTokens: body.max_tokens,
    stop: body.stop_sequences,
    temperature: body.temperature,
    topK: body.top_k,
    topP: body.top_p,
  };
}
