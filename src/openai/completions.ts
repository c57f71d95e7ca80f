/**
 * POST /v1/completions: one or many raw prompts in, their continuations out.
 * @module
 */
import type { ChatReply, PromptTokenLogprob, ReplyPart, TokenLogprob, WholeReply } from "../chat_reply.ts";
import { RequestError } from "../errors.ts";
import type { LanguageModel } from "../language_model.ts";
import type { Client } from "./access.ts";
import { chunkTexts } from "./chunk_text.ts";
import { eventStream } from "./event_stream.ts";
import { type Frame, usageOf } from "./frame.ts";
import { joined } from "./joined_parts.ts";
import { choicesOf } from "./generation_fields.ts";
import { completionOptions, type CompletionRequest, promptsOf } from "./requests.ts";
import {
  echoLogprobs,
  joinLogprobs,
  promptLogprobs,
  type TextLogprobs,
  textLogprobs,
} from "./text_logprobs.ts";

/** Choices of one request, over all its prompts. */
const mostChoices = 128;

/** What stands before a reply. */
interface Echo {
  readonly text: string;
  /** Of its tokens, where they were asked for. */
  logprobs(ofPrompt: readonly (PromptTokenLogprob | null)[]): TextLogprobs | null;
}

const noEcho: Echo = { text: "", logprobs: () => null };

/** Answers a checked request. Choice k of prompt p has the index p * n + k. */
export async function completion(
  model: LanguageModel,
  body: CompletionRequest,
  frame: Frame,
  client: Client,
): Promise<Response> {
  const options = { ...completionOptions(body), ...client };
  const prompts = promptsOf(body.prompt);
  const n = choicesOf(body) ?? 1;
  if (prompts.length > 1 && prompts.length * Math.max(n, body.best_of ?? 1) > mostChoices) {
    const problem = `at most ${mostChoices} choices are written`;
    throw new RequestError(`Cannot continue ${prompts.length} prompts: ${problem}`, { param: "prompt" });
  }
  const echoes = prompts.map((prompt) =>
    body.echo ? echoOf(prompt, model, body.logprobs !== undefined) : noEcho
  );
  const replies = prompts.map((prompt) => model.complete(prompt, options));
  const cancel = () => replies.forEach((reply) => reply.cancel());
  const shared = { ...frame, object: "text_completion" };
  if (body.stream) {
    return eventStream(chunksOf(replies, echoes, n, shared, body.stream_options?.include_usage), cancel);
  }
  const wholes = await allOrNone(replies, cancel);
  const asked = typeof body.prompt_logprobs === "number";
  const choices = wholes.flatMap((whole, prompt) =>
    whole.choices.map((choice) => {
      const { text, logprobs: ofEcho } = echoes[prompt];
      const ofPrompt = whole.promptLogprobs ?? [];
      return {
        text: text + choice.text,
        logprobs: logprobsOf(ofEcho(ofPrompt), choice.logprobs, text.length),
        finish_reason: choice.finishReason,
        ...(choice.score === undefined ? {} : { score: choice.score }),
        ...(asked ? { prompt_logprobs: promptLogprobs(ofPrompt) } : {}),
      };
    })
  );
  return Response.json({
    ...shared,
    choices: choices.map((choice, index) => ({ index, ...choice })),
    usage: usageOf(...wholes),
  });
}

/** Prompts are written at the same time and streamed in the order of their pieces. */
async function* chunksOf(
  replies: readonly ChatReply[],
  echoes: readonly Echo[],
  n: number,
  frame: object,
  includeUsage = false,
): AsyncGenerator<string[]> {
  const chunk = (index: number, text: string, logprobs: object | null, finish: string | null) => ({
    ...frame,
    choices: [{ index, text, logprobs, finish_reason: finish }],
    ...(includeUsage ? { usage: null } : {}),
  });
  const plain = chunkTexts((index: number, text) => chunk(index, text, null, null));
  const textLengths = new Map<number, number>();
  const chunkOf = (part: ReplyPart, from: number): string => {
    const index = from * n + part.choice;
    const before = textLengths.get(index);
    const echo = before === undefined ? echoes[from] : noEcho;
    const text = echo.text + part.text;
    const logprobs = logprobsOf(
      echo.logprobs(part.promptLogprobs ?? []),
      part.logprobs,
      (before ?? 0) + echo.text.length,
    );
    textLengths.set(index, (before ?? 0) + text.length);
    return logprobs === null ? plain(index, text) : JSON.stringify(chunk(index, text, logprobs, null));
  };
  for await (const { item: parts, from } of merge(replies.map((reply) => reply.batches()))) {
    yield joined(parts).map((part) => chunkOf(part, from));
  }
  const wholes = await Promise.all(replies);
  yield wholes.flatMap(({ choices, promptLogprobs: ofPrompt = [] }, prompt) =>
    choices.map((choice, k) => {
      const index = prompt * n + k;
      const echo = textLengths.has(index) ? noEcho : echoes[prompt];
      return JSON.stringify(chunk(index, echo.text, echo.logprobs(ofPrompt), choice.finishReason));
    })
  );
  if (includeUsage) yield [JSON.stringify({ ...frame, choices: [], usage: usageOf(...wholes) })];
}

/** Items of several streams as they come, with the stream they came from. */
async function* merge<T>(streams: readonly AsyncIterable<T>[]): AsyncGenerator<{ item: T; from: number }> {
  const iterators = streams.map((stream) => stream[Symbol.asyncIterator]());
  const nextOf = (from: number) => {
    const next = iterators[from].next().then((result) => ({ from, result }));
    next.catch(() => {}); // it may fail while nobody races for it
    return next;
  };
  const pending = new Map(iterators.map((_, from) => [from, nextOf(from)]));
  while (pending.size > 0) {
    const { from, result } = await Promise.race(pending.values());
    if (result.done) {
      pending.delete(from);
    } else {
      pending.set(from, nextOf(from));
      yield { item: result.value, from };
    }
  }
}

/** One prompt that fails fails the request: the others need not be finished. */
async function allOrNone(replies: readonly ChatReply[], cancel: () => void): Promise<WholeReply[]> {
  try {
    return await Promise.all(replies);
  } catch (error) {
    cancel();
    throw error;
  }
}

/** @throws {RequestError} for ids that no text has */
function echoOf(prompt: string | readonly number[], model: LanguageModel, wantsLogprobs: boolean): Echo {
  const { tokenizer } = model;
  if (typeof prompt !== "string" && !prompt.every((id) => id >= 0 && id < tokenizer.vocabSize)) {
    const needed = `ids from 0 to ${tokenizer.vocabSize - 1} are needed`;
    throw new RequestError(`Cannot echo the prompt: ${needed}`, { param: "prompt" });
  }
  return {
    text: typeof prompt === "string" ? prompt : tokenizer.decode(prompt, { skipSpecial: true }),
    logprobs: (ofPrompt) =>
      wantsLogprobs ? echoLogprobs(model.promptTokens(prompt), ofPrompt, tokenizer) : null,
  };
}

/** @param textLength characters of the choice before the reply's tokens */
function logprobsOf(
  ofEcho: TextLogprobs | null,
  logprobs: readonly TokenLogprob[] | undefined,
  textLength: number,
): TextLogprobs | null {
  const ofReply = logprobs === undefined ? null : textLogprobs(logprobs, textLength);
  return ofEcho === null || ofReply === null ? ofEcho ?? ofReply : joinLogprobs(ofEcho, ofReply);
}
