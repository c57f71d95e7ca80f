/**
 * From the tokens of a request's sequences to its reply: each is written as it comes, and the choices are put
 * together.
 * @module
 */
import type { Choice, ReplyPart, WholeReply } from "./chat_reply.ts";
import type { Generation } from "./engine/generation.ts";
import type { Finish, Sampling, Timings } from "./engine/protocol.ts";
import type { ModelText } from "./model_text.ts";
import type { Prompt } from "./prompts.ts";
import { SequenceWriter } from "./sequence_writer.ts";
import { ReplyParser } from "./text/reply_parser.ts";
import { StopStrings } from "./text/stop_strings.ts";
import { ToolCallParser } from "./text/tool_call_parser.ts";
import { callMarks } from "./text/tool_syntax.ts";
import { promptTokenLogprobs } from "./token_logprobs.ts";

/** What is known of a reply before it is written. */
export interface ReplyRequest {
  readonly prompt: Prompt;
  /** As the caller asked; more sequences are drawn where the best of them are returned. */
  readonly sampling: Sampling;
  readonly stop: readonly string[];
  /** Sequences that are drawn, or null where all of them are returned. */
  readonly bestOf: number | null;
  /** Null for a model without tokenizer. */
  readonly text: ModelText | null;
}

/** A sequence of a reply, and what it took. */
interface WrittenSequence extends Finish {
  readonly whole: Choice;
  readonly nReasoning: number;
}

/** Writes a reply. @param generations its sequences, none of which is read yet */
export async function writeReply(
  generations: readonly Generation[],
  request: ReplyRequest,
  emit: (part: ReplyPart) => void,
  signal: AbortSignal,
): Promise<WholeReply> {
  const { prompt, sampling, bestOf, text } = request;
  // Told with whichever choice the prompt was computed for, before any token is.
  const promptLogprobs = () => {
    const told = generations.find((one) => one.promptLogprobs.length > 0)?.promptLogprobs ?? [];
    return promptTokenLogprobs(told, text?.tokenizer ?? null);
  };
  const withPrompt = sampling.promptLogprobs !== null ? withPromptLogprobs(emit, promptLogprobs) : emit;
  const held: ReplyPart[] = [];
  const tell = bestOf === null ? withPrompt : (part: ReplyPart) => void held.push(part);
  const written = await Promise.all(
    generations.map((generation, choice) => write(generation, writerOf(request, choice, tell), signal)),
  );
  const best = bestOf === null ? [...written.keys()] : likeliestOf(written).slice(0, sampling.n);
  for (const [choice, from] of bestOf === null ? [] : best.entries()) {
    for (const part of held) if (part.choice === from) withPrompt({ ...part, choice });
  }
  const whole = wholeReply(prompt, written, best);
  return sampling.promptLogprobs === null ? whole : { ...whole, promptLogprobs: promptLogprobs() };
}

/** What writes one sequence of a reply. */
function writerOf(
  { prompt: { reply }, sampling: { minTokens, topLogprobs }, stop, text }: ReplyRequest,
  choice: number,
  emit: (part: ReplyPart) => void,
): SequenceWriter {
  const { tools } = reply;
  const calls = tools && new ToolCallParser(tools.syntax, () => `call_${crypto.randomUUID()}`);
  const reader = text && {
    ...text,
    stops: new StopStrings(stop),
    minTokens,
    parser: new ReplyParser(reply),
    tools: calls,
    opening: tools?.opening,
    oneCall: tools?.oneCall,
    marks: [...(reply.thinking ? ["<think>", "</think>"] : []), ...(tools ? callMarks(tools.syntax) : [])],
  };
  return new SequenceWriter(emit, choice, reader, topLogprobs !== null);
}

/** Writes one sequence of a reply to its end. */
async function write(
  generation: Generation,
  writer: SequenceWriter,
  signal: AbortSignal,
): Promise<WrittenSequence> {
  let isStopped = false, sum = 0, count = 0;
  for await (const events of generation) {
    if (signal.aborted) break;
    for (const event of events) {
      sum += event.logprob;
      count++;
      isStopped = writer.push(event);
      if (isStopped) break;
    }
    if (isStopped) break;
  }
  const finish = await generation.finished;
  const { score } = finish;
  const whole = writer.end(isStopped ? "stop" : finish.reason);
  return {
    ...finish,
    // The engine may have gone on for a while after a stop string.
    meanLogprob: isStopped ? sum / count : finish.meanLogprob,
    whole: score === undefined ? whole : { ...whole, score },
    nReasoning: writer.nReasoning,
  };
}

/** @returns the places of the sequences, that of the likeliest first */
function likeliestOf(written: readonly WrittenSequence[]): number[] {
  const mean = (at: number) => written[at].meanLogprob ?? -Infinity; // none was drawn
  return [...written.keys()].sort((a, b) => Math.sign(mean(b) - mean(a)) || a - b);
}

/** Adds the prompt's log-probabilities to the first part of each choice. */
function withPromptLogprobs(
  emit: (part: ReplyPart) => void,
  promptLogprobs: () => ReplyPart["promptLogprobs"],
): (part: ReplyPart) => void {
  const begun = new Set<number>();
  return (part) => {
    const isFirst = !begun.has(part.choice);
    begun.add(part.choice);
    emit(isFirst ? { ...part, promptLogprobs: promptLogprobs() } : part);
  };
}

/** @param best the places of the sequences that are returned, in order */
function wholeReply(
  { tokens, dropped }: Prompt,
  written: readonly WrittenSequence[],
  best: readonly number[],
): WholeReply {
  const total = (count: (one: WrittenSequence) => number) =>
    written.reduce((sum, one) => sum + count(one), 0);
  const choices = best.map((at) => written[at].whole);
  const longest = (time: keyof Timings) => Math.max(...written.map(({ timings }) => timings[time]));
  return {
    ...choices[0],
    choices,
    usage: {
      promptTokens: tokens.length,
      completionTokens: total(({ whole }) => whole.tokens.length),
      cachedTokens: written[0].cachedTokens,
      droppedTokens: dropped + total(({ droppedTokens }) => droppedTokens),
      reasoningTokens: total(({ nReasoning }) => nReasoning),
      acceptedPredictionTokens: total(({ drafts }) => drafts.accepted),
      rejectedPredictionTokens: total(({ drafts }) => drafts.drafted - drafts.accepted),
    },
    timings: { queueMs: longest("queueMs"), prefillMs: longest("prefillMs"), decodeMs: longest("decodeMs") },
  };
}
