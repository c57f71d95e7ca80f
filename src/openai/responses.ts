/**
 * POST /v1/responses: the newer OpenAI API, without state: a client sends the whole conversation.
 * @module
 */
import type { ChatReply, ReplyPart, TokenLogprob, WholeReply } from "../chat_reply.ts";
import type { LanguageModel } from "../language_model.ts";
import type { Client } from "./access.ts";
import { apiError } from "./errors.ts";
import { begun, eventStream, typedEvents } from "./event_stream.ts";
import { joined } from "./joined_parts.ts";
import { messagesOf } from "./responses_items.ts";
import { responseOptions, type ResponsesRequest, wantsLogprobs, wantsSealed } from "./responses_request.ts";
import { sealed } from "./sealed_thought.ts";
import { logprobsOutside, tokenLogprobs } from "./token_logprobs.ts";

/** Answers a checked request. The client may go away, which ends the reply. */
export async function response(
  model: LanguageModel,
  body: ResponsesRequest,
  modelName: string,
  client: Client,
): Promise<Response> {
  const reply = model.chat(messagesOf(body), { ...responseOptions(body), ...client });
  const frame = frameOf(body, modelName);
  const seals = wantsSealed(body);
  if (body.stream) {
    // The failure of a stream that has begun is an event of its own, after all others.
    const form = typedEvents((thrown) => ({ type: "error", ...apiError(thrown).body.error }));
    return eventStream(numbered(eventsOf(reply, frame, seals)), () => reply.cancel(), { form });
  }
  // Of the text alone: thoughts and calls have no place for them.
  const logprobs = wantsLogprobs(body) ? await logprobsOutside(["reasoning", "toolCall"], reply) : null;
  const whole = await reply;
  return Response.json(wholeResponse(frame, whole, itemsOf(whole, logprobs?.get(0), seals)));
}

/** The fields of a response that is being written. */
type Frame = ReturnType<typeof frameOf>;

function frameOf(body: ResponsesRequest, modelName: string) {
  return {
    id: idOf("resp"),
    object: "response",
    created_at: Math.floor(Date.now() / 1000),
    model: modelName,
    status: "in_progress",
    error: null,
    incomplete_details: null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    metadata: body.metadata ?? {},
    output: [] as object[],
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: null,
    temperature: body.temperature ?? null,
    top_p: body.top_p ?? null,
    text: { format: body.text?.format ?? { type: "text" } },
    tool_choice: body.tool_choice ?? "auto",
    tools: body.tools ?? [],
    truncation: body.truncation ?? "disabled",
    store: false,
    usage: null as object | null,
  };
}

const idOf = (prefix: string) => `${prefix}_${crypto.randomUUID().replaceAll("-", "")}`;

const callOf = (
  id: string,
  { id: callId, name }: { id: string; name: string },
  json: string,
  isDone: boolean,
) => ({
  id,
  type: "function_call",
  status: isDone ? "completed" : "in_progress",
  call_id: callId,
  name,
  arguments: json,
});

const outputText = (text: string, logprobs: readonly TokenLogprob[]) => (
  { type: "output_text", text, annotations: [], logprobs: tokenLogprobs(logprobs) }
);
const reasoningText = (text: string) => ({ type: "reasoning_text", text });

/** What the reply thought, what it says, or a call. */
function itemOf({ type, id, text, call, logprobs, isSealed }: Item, isDone: boolean): object {
  if (call !== undefined) return callOf(id, call, isDone ? text : "", isDone);
  const status = isDone ? "completed" : "in_progress";
  if (type === "reasoning") {
    const content = isDone ? [reasoningText(text)] : [];
    const encrypted_content = isDone ? sealed(text) : null;
    return {
      id,
      type: "reasoning",
      status,
      summary: [],
      content,
      ...(isSealed ? { encrypted_content } : {}),
    };
  }
  return {
    id,
    type: "message",
    status,
    role: "assistant",
    content: isDone ? [outputText(text, logprobs)] : [],
  };
}

/** A piece of the output: what the reply thought, what it says, or a call of a tool. */
interface Item {
  readonly type: ReplyPart["type"];
  readonly id: string;
  text: string;
  /** Of a text's tokens, where they were asked for. */
  readonly logprobs: TokenLogprob[];
  readonly call?: { readonly id: string; readonly name: string };
  /** A thought is also given in the form in which clients give it back. */
  readonly isSealed: boolean;
}

const prefixes = { reasoning: "rs", text: "msg", toolCall: "fc" } as const;

const itemFrom = (
  { type, text, call }: Pick<Item, "type" | "text" | "call">,
  logprobs: TokenLogprob[] = [],
  isSealed = false,
): Item => ({ type, id: idOf(prefixes[type]), text, call, logprobs, isSealed });

/** The output of a reply that was not streamed. */
function itemsOf(
  { reasoning, text, toolCalls }: WholeReply,
  logprobs: TokenLogprob[] | undefined,
  seals: boolean,
): Item[] {
  const isSilent = text === "" && toolCalls.length > 0;
  return [
    ...(reasoning === "" ? [] : [itemFrom({ type: "reasoning", text: reasoning }, [], seals)]),
    ...(isSilent ? [] : [itemFrom({ type: "text", text }, logprobs)]),
    ...toolCalls.map(({ id, function: { name, arguments: json } }) =>
      itemFrom({ type: "toolCall", text: json, call: { id, name } })
    ),
  ];
}

function wholeResponse(frame: Frame, whole: WholeReply, items: readonly Item[]) {
  const { usage, finishReason } = whole;
  const isCut = finishReason === "length";
  return {
    ...frame,
    status: isCut ? "incomplete" : "completed",
    incomplete_details: isCut ? { reason: "max_output_tokens" } : null,
    output: items.map((item) => itemOf(item, true)),
    usage: {
      input_tokens: usage.promptTokens,
      input_tokens_details: { cached_tokens: usage.cachedTokens },
      output_tokens: usage.completionTokens,
      output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
      total_tokens: usage.promptTokens + usage.completionTokens,
    },
  };
}

async function* numbered(batches: AsyncIterable<readonly object[]>): AsyncGenerator<object[]> {
  let number = 0;
  for await (const events of batches) yield events.map((event) => ({ ...event, sequence_number: number++ }));
}

/** The response as begun, its items piece by piece, the response as it ended. */
async function* eventsOf(reply: ChatReply, frame: Frame, seals: boolean): AsyncGenerator<object[]> {
  const batches = await begun(reply.batches());
  yield [{ type: "response.created", response: frame }, { type: "response.in_progress", response: frame }];
  const items: Item[] = [];
  let index: number | null = null; // of the reply's calls
  function* eventsOfPart(part: ReplyPart): Generator<object> {
    let item = items.at(-1);
    const { logprobs = [] } = part.type === "text" ? part : {};
    const isOfText = item?.type === "text" && logprobs.length > 0;
    if (part.text === "" && item !== undefined && part.call === undefined && !isOfText) return;
    if (item?.type !== part.type || (part.call !== undefined && part.call.index !== index)) {
      if (item !== undefined) yield* endItem(item, items.length - 1);
      index = part.call?.index ?? null;
      items.push(item = itemFrom({ ...part, text: "" }, [], seals));
      yield* beginItem(item, items.length - 1);
    }
    item.text += part.text;
    item.logprobs.push(...logprobs);
    if (part.text === "" && logprobs.length === 0) return;
    const at = { item_id: item.id, output_index: items.length - 1 };
    yield { type: deltas[item.type], ...at, ...contentOf(item, logprobs), delta: part.text };
  }
  for await (const parts of batches) yield joined(parts).flatMap((part) => [...eventsOfPart(part)]);
  const last = items.at(-1);
  if (last !== undefined) yield [...endItem(last, items.length - 1)];
  if (last === undefined || last.type === "reasoning") {
    const message = itemFrom({ type: "text", text: "" }); // a reply that calls nothing always has a message
    items.push(message);
    yield [...beginItem(message, items.length - 1), ...endItem(message, items.length - 1)];
  }
  const ended = wholeResponse(frame, await reply, items);
  const type = ended.status === "incomplete" ? "response.incomplete" : "response.completed";
  yield [{ type, response: ended }];
}

const deltas = {
  reasoning: "response.reasoning_text.delta",
  text: "response.output_text.delta",
  toolCall: "response.function_call_arguments.delta",
} as const;

/** Where in an item a piece belongs; arguments are an item's only content. */
const contentOf = ({ type }: Item, logprobs: readonly TokenLogprob[]) => ({
  ...(type === "toolCall" ? {} : { content_index: 0 }),
  ...(type === "text" ? { logprobs: tokenLogprobs(logprobs) } : {}),
});

function* beginItem(item: Item, index: number): Generator<object> {
  yield { type: "response.output_item.added", output_index: index, item: itemOf(item, false) };
  if (item.type === "toolCall") return; // its arguments are no part of a content
  const at = { item_id: item.id, output_index: index, content_index: 0 };
  const part = item.type === "reasoning" ? reasoningText("") : outputText("", []);
  yield { type: "response.content_part.added", ...at, part };
}

function* endItem(item: Item, index: number): Generator<object> {
  const { type, id, text, call, logprobs } = item, at = { item_id: id, output_index: index };
  if (type === "text") {
    yield { type: "response.output_text.done", ...at, ...contentOf(item, logprobs), text };
    yield { type: "response.content_part.done", ...at, content_index: 0, part: outputText(text, logprobs) };
  } else if (type === "reasoning") {
    yield { type: "response.reasoning_text.done", ...at, ...contentOf(item, []), text };
    yield { type: "response.content_part.done", ...at, content_index: 0, part: reasoningText(text) };
  } else {
    yield { type: "response.function_call_arguments.done", ...at, name: call!.name, arguments: text };
  }
  yield { type: "response.output_item.done", output_index: index, item: itemOf(item, true) };
}
