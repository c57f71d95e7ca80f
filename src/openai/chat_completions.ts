/**
 * POST /v1/chat/completions: messages in, one reply or a stream of its pieces out.
 * @module
 */
import type { ChatReply, Choice, ReplyPart, TokenLogprob } from "../chat_reply.ts";
import type { LanguageModel } from "../language_model.ts";
import type { Client } from "./access.ts";
import { chunkTexts } from "./chunk_text.ts";
import { eventStream } from "./event_stream.ts";
import { type Frame, usageOf } from "./frame.ts";
import { joined } from "./joined_parts.ts";
import { chatOptions, type ChatRequest, messagesOf } from "./requests.ts";
import { promptLogprobs } from "./text_logprobs.ts";
import { logprobsOutside, tokenLogprobs } from "./token_logprobs.ts";

/** Answers a checked request. The client may go away, which ends the reply. */
export async function chatCompletion(
  model: LanguageModel,
  body: ChatRequest,
  frame: Frame,
  client: Client,
): Promise<Response> {
  const reply = model.chat(messagesOf(body.messages), { ...chatOptions(body), ...client });
  const showsReasoning = body.include_reasoning !== false && body.reasoning?.exclude !== true;
  if (body.stream) {
    const chunks = chunksOf(
      reply,
      { ...frame, object: "chat.completion.chunk" },
      body.stream_options?.include_usage,
      showsReasoning,
    );
    return eventStream(chunks, () => reply.cancel());
  }
  const shown = showsReasoning || !body.logprobs ? null : await logprobsOutside(["reasoning"], reply);
  const whole = await reply;
  const choices = whole.choices.map((choice, index) => ({
    index,
    message: {
      role: "assistant",
      content: choice.text === "" && choice.toolCalls.length > 0 ? null : choice.text,
      ...(choice.reasoning === "" || !showsReasoning ? {} : { reasoning_content: choice.reasoning }),
      ...(choice.toolCalls.length === 0 ? {} : { tool_calls: choice.toolCalls }),
      refusal: null,
    },
    logprobs: logprobsOf(shown === null ? choice.logprobs : shown.get(index) ?? []),
    finish_reason: finishOf(choice),
    ...(choice.score === undefined ? {} : { score: choice.score }),
  }));
  const ofPrompt = whole.promptLogprobs ? { prompt_logprobs: promptLogprobs(whole.promptLogprobs) } : {};
  return Response.json({ ...frame, object: "chat.completion", choices, usage: usageOf(whole), ...ofPrompt });
}

/** As JSON: role first, then pieces as they are written, then why each choice ended, then usage if asked for. */
async function* chunksOf(
  reply: ChatReply,
  frame: object,
  includeUsage: boolean | undefined,
  showsReasoning: boolean,
): AsyncGenerator<string[]> {
  const chunk = (
    index: number,
    delta: object,
    logprobs?: readonly TokenLogprob[],
    finish: string | null = null,
  ) => ({
    ...frame,
    choices: [{ index, delta, logprobs: logprobsOf(logprobs), finish_reason: finish }],
    ...(includeUsage ? { usage: null } : {}),
  });
  const role = (index: number) => JSON.stringify(chunk(index, { role: "assistant", content: "" }));
  const texts = chunkTexts((index: number, content) => chunk(index, { content }));
  const thoughts = chunkTexts((index: number, content) => chunk(index, { reasoning_content: content }));
  const jsonOf = (part: ReplyPart): string => {
    const { type, choice, text, logprobs } = part;
    if (type === "toolCall" || logprobs !== undefined) {
      return JSON.stringify(chunk(choice, deltaOf(part, calls), logprobs));
    }
    return type === "text" ? texts(choice, text) : thoughts(choice, text);
  };
  const begun = new Set<number>();
  const calls = new Set<string>(); // whose name was told
  const chunksOfPart = (part: ReplyPart): string[] => {
    const { type, choice } = part;
    if (type === "reasoning" && !showsReasoning) return [];
    const next = jsonOf(part);
    if (begun.has(choice)) return [next];
    begun.add(choice);
    return [role(choice), next];
  };
  for await (const parts of reply.batches()) yield joined(parts).flatMap(chunksOfPart);
  const whole = await reply;
  yield whole.choices.flatMap((choice, index) => {
    const last = JSON.stringify(chunk(index, {}, undefined, finishOf(choice)));
    return begun.has(index) ? [last] : [role(index), last];
  });
  if (includeUsage) yield [JSON.stringify({ ...frame, choices: [], usage: usageOf(whole) })];
}

function deltaOf({ type, text, call, choice }: ReplyPart, calls: Set<string>): object {
  if (call === undefined) return type === "reasoning" ? { reasoning_content: text } : { content: text };
  const { index, id, name } = call, key = `${choice} ${index}`;
  if (calls.has(key)) return { tool_calls: [{ index, function: { arguments: text } }] };
  calls.add(key);
  return { tool_calls: [{ index, id, type: "function", function: { name, arguments: text } }] };
}

function finishOf({ finishReason }: Choice): string {
  return finishReason === "toolCalls" ? "tool_calls" : finishReason;
}

function logprobsOf(logprobs: readonly TokenLogprob[] | undefined): object | null {
  return logprobs === undefined ? null : { content: tokenLogprobs(logprobs), refusal: null };
}
