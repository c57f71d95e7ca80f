/**
 * The way back from tokens to a reply: detokenise, end at stop strings, tell reasoning from text and
 * text from tool calls.
 * @module
 */
import type { Choice, ReplyPart, TokenLogprob } from "./chat_reply.ts";
import type { FinishReason, TokenEvent } from "./engine/protocol.ts";
import type { ToolCall } from "./text/chat_message.ts";
import { MarkText } from "./text/mark_text.ts";
import type { Part, ReplyParser } from "./text/reply_parser.ts";
import type { StopResult, StopStrings } from "./text/stop_strings.ts";
import type { CallStart, ToolCallParser, ToolPart } from "./text/tool_call_parser.ts";
import { StreamDecoder } from "./text/stream_decoder.ts";
import type { Tokenizer } from "./text/tokenizer.ts";
import { tokenLogprob } from "./token_logprobs.ts";

/** What makes text of a sequence's tokens. */
export interface SequenceText {
  readonly tokenizer: Tokenizer;
  readonly stops: StopStrings;
  readonly parser: ReplyParser;
  /** Null where tools were not offered: then calls are text. */
  readonly tools?: ToolCallParser | null;
  /** What the prompt has written of the first call. */
  readonly opening?: string;
  /** Control tokens that the parsers look for: some tokenizers count them among those that are not shown. */
  readonly marks?: readonly string[];
  /** Tokens whose text no stop string is looked for in; none by default. */
  readonly minTokens?: number;
  /** The reply ends with its first call. */
  readonly oneCall?: boolean;
}

/** Writes one sequence of a reply. */
export class SequenceWriter {
  readonly #emit: (part: ReplyPart) => void;
  readonly #choice: number;
  readonly #text: (SequenceText & { readonly decoder: StreamDecoder; readonly own: MarkText }) | null;
  readonly #tokens: number[] = [];
  readonly #logprobs: TokenLogprob[] | null;
  /** Tokens that have been handed out with a part. */
  #nSent = 0;
  #nReasoningTokens = 0;
  readonly #written = { reasoning: "", text: "" };
  readonly #calls: { readonly start: CallStart; arguments: string }[] = [];

  /** @param text null for a model without tokenizer: its parts hold tokens only */
  constructor(
    emit: (part: ReplyPart) => void,
    choice: number,
    text: SequenceText | null,
    wantsLogprobs: boolean,
  ) {
    this.#emit = emit;
    this.#choice = choice;
    this.#text = text && {
      ...text,
      decoder: new StreamDecoder(text.tokenizer, { skipSpecial: true }, text.marks),
      own: new MarkText(text.tokenizer, text.marks ?? []),
    };
    this.#logprobs = wantsLogprobs ? [] : null;
    for (const part of text?.tools?.push(text.opening ?? "") ?? []) this.#sendPart(part);
  }

  /** Tokens that were handed out with reasoning. */
  get nReasoning(): number {
    return this.#nReasoningTokens;
  }

  /** Takes the next token. @returns whether a stop string has ended the reply */
  push(event: TokenEvent): boolean {
    this.#tokens.push(event.token);
    this.#logprobs?.push(tokenLogprob(event, this.#text?.tokenizer ?? null));
    if (this.#text === null) {
      this.#send("text", "");
      return false;
    }
    const { decoder, parser, tools, oneCall, own } = this.#text;
    const piece = decoder.push(event.token);
    own.note(event.token, piece);
    const { text, stopped } = this.#untilStop(piece);
    for (const part of parser.push(own.pass(text))) this.#pass(part);
    return stopped || (oneCall === true && tools != null && tools.nEnded > 0);
  }

  /** Stop strings end text: a call, or a mark around one, is no text, whatever its words are. */
  #untilStop(piece: string): StopResult {
    const { stops, tools, minTokens = 0 } = this.#text!;
    const isOfCall = tools != null && (tools.isInCalls || tools.isMark(piece));
    if (isOfCall) return { text: stops.end() + piece, stopped: false };
    return this.#tokens.length > minTokens ? stops.push(piece) : { text: piece, stopped: false };
  }

  /** Hands out what was held back. @returns the whole sequence */
  end(finishReason: FinishReason): Choice {
    if (this.#text !== null) {
      const { decoder, stops, parser, tools, own } = this.#text;
      const held = stops.push(decoder.end()).text + stops.end();
      for (const part of [...parser.push(own.pass(held)), ...parser.end()]) this.#pass(part);
      for (const part of tools?.end() ?? []) this.#sendPart(part);
    }
    if (this.#nSent < this.#tokens.length) this.#send("text", "");
    const logprobs = this.#logprobs === null ? {} : { logprobs: this.#logprobs };
    const stopText = this.#text?.stops.stoppedAt ?? null;
    const toolCalls = this.#calls.map(({ start: { id, name }, arguments: json }): ToolCall => ({
      id,
      type: "function",
      function: { name, arguments: json },
    }));
    const reason = finishReason === "stop" && toolCalls.length > 0 ? "toolCalls" : finishReason;
    return { ...this.#written, toolCalls, tokens: this.#tokens, finishReason: reason, stopText, ...logprobs };
  }

  /** Text may hold calls; reasoning holds none, whatever it says. */
  #pass(part: Part): void {
    const tools = this.#text?.tools;
    if (part.type === "reasoning" || !tools) return this.#send(part.type, part.text);
    for (const each of tools.push(part.text)) this.#sendPart(each);
  }

  #sendPart(part: ToolPart): void {
    if (part.type === "text") return this.#send("text", part.text);
    const { own } = this.#text!;
    const text = own.uncover(part.text);
    const { index } = part.call;
    const call = { index, id: own.uncover(part.call.id), name: own.uncover(part.call.name) };
    const known = this.#calls[index] ??= { start: call, arguments: "" };
    known.arguments += text;
    this.#emit({ type: "toolCall", text, call, ...this.#unsent() });
  }

  #send(type: "reasoning" | "text", written: string): void {
    const text = this.#text?.own.uncover(written) ?? written;
    const rest = this.#unsent();
    if (type === "reasoning") this.#nReasoningTokens += rest.tokens.length;
    this.#written[type] += text;
    this.#emit({ type, text, ...rest });
  }

  /** A part carries the tokens since the one before: its text may have waited for the last of them. */
  #unsent(): Pick<ReplyPart, "tokens" | "logprobs" | "choice"> {
    const tokens = this.#tokens.slice(this.#nSent);
    const logprobs = this.#logprobs === null ? {} : { logprobs: this.#logprobs.slice(this.#nSent) };
    this.#nSent = this.#tokens.length;
    return { tokens, ...logprobs, choice: this.#choice };
  }
}
