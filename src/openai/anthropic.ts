/**
 * POST /v1/messages and /v1/messages/count_tokens: the Anthropic API over the same model, for its clients.
 * @module
 */
import type { ChatReply, Choice, ReplyPart, Usage, WholeReply } from "../chat_reply.ts";
import type { LanguageModel } from "../language_model.ts";
import type { Client } from "./access.ts";
import {
  type CountRequest,
  messageOptions,
  messagesOf,
  type MessagesRequest,
  promptOptions,
} from "./anthropic_request.ts";
import type { CallMemory } from "./call_memory.ts";
import { apiError } from "./errors.ts";
import { begun, eventStream, typedEvents } from "./event_stream.ts";
import { joined } from "./joined_parts.ts";
import { sealed } from "./sealed_thought.ts";

/** How many tokens a chat's prompt has. */
export function countTokens(
  model: LanguageModel,
  body: CountRequest,
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
  const options = { ...messageOptions(body), ...client };
  const reply = model.chat(chat, options);
  const written = reply.then((whole) => {
    for (const { id, function: { arguments: json } } of whole.toolCalls) {
      calls.remember(client.tenant, id, inputOf(json), json);
    }
    return whole;
  });
  written.catch(() => {}); // told by the reply itself
  // The thought is then in the signature alone, with which it comes back.
  const isOmitted = body.thinking?.display === "omitted";
  const frame = {
    id: `msg_${crypto.randomUUID().replaceAll("-", "")}`,
    type: "message",
    role: "assistant",
    model: modelName,
  };
  if (body.stream) {
    const nPrompt = model.renderChat(chat, options).tokens.length;
    const form = typedEvents((thrown) => anthropicError(thrown));
    const events = eventsOf(reply, written, frame, { nPrompt, isOmitted });
    return eventStream(events, () => reply.cancel(), { form });
  }
  const whole = await written;
  return Response.json({
    ...frame,
    content: [
      ...(whole.reasoning === "" ? [] : [thinkingBlock(whole.reasoning, isOmitted)]),
      ...(whole.text === "" && whole.toolCalls.length > 0 ? [] : [{ type: "text", text: whole.text }]),
      ...whole.toolCalls.map(({ id, function: { name, arguments: json } }) => (
        { type: "tool_use", id, name, input: inputOf(json) }
      )),
    ],
    ...endOf(whole),
    usage: usageOf(whole.usage),
  });
}

function thinkingBlock(thought: string, isOmitted: boolean): object {
  const [thinking, signature] = isOmitted ? ["", sealed(thought)] : [thought, ""];
  return { type: "thinking", thinking, signature };
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
  { nPrompt, isOmitted }: { readonly nPrompt: number; readonly isOmitted: boolean },
): AsyncGenerator<object[]> {
  const usage = usageOf({ promptTokens: nPrompt, cachedTokens: 0, completionTokens: 0 });
  const message = { ...frame, content: [], stop_reason: null, stop_sequence: null, usage };
  const batches = await begun(reply.batches());
  yield [{ type: "message_start", message }];
  let index = -1, open: string | null = null, omitted = "";
  function* closing(): Generator<object> {
    if (open === null) return;
    const signature = omitted === "" ? null : sealed(omitted);
    if (signature !== null) {
      yield { type: "content_block_delta", index, delta: { type: "signature_delta", signature } };
    }
    omitted = "";
    yield { type: "content_block_stop", index };
  }
  function* eventsOfPart(part: ReplyPart): Generator<object> {
    const block = part.type + (part.call?.index ?? "");
    if (part.text === "" && (block === open || (open !== null && part.call === undefined))) return;
    if (block !== open) {
      yield* closing();
      open = block;
      yield { type: "content_block_start", index: ++index, content_block: emptyBlock(part) };
    }
    if (isOmitted && part.type === "reasoning") omitted += part.text;
    else if (part.text !== "") yield { type: "content_block_delta", index, delta: deltaOf(part) };
  }
  for await (const parts of batches) yield joined(parts).flatMap((part) => [...eventsOfPart(part)]);
  yield [...closing()];
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
