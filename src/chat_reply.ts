/**
 * What `chat` and `complete` return: a reply that is being written.
 * @module
 */
import type { FinishReason, Timings } from "./engine/protocol.ts";
import type { ToolCall } from "./text/chat_message.ts";
import type { CallStart } from "./text/tool_call_parser.ts";

/** A token with the probability that the model gave it. */
export interface TokenLogprob {
  /** Its id. */
  readonly token: number;
  /** The token alone as text; U+FFFD stands for a piece of a character. */
  readonly text: string;
  /** The token alone as bytes: those of all tokens together are the text's UTF-8. */
  readonly bytes: readonly number[];
  /** ln p under the model's own distribution, before temperature and penalties. */
  readonly logprob: number;
  /** The likeliest tokens at this place, best first: as many as `topLogprobs` asked for. */
  readonly top: readonly Omit<TokenLogprob, "top">[];
}

/** A token of the prompt. */
export interface PromptTokenLogprob extends TokenLogprob {
  /** Its place among all tokens that could stand there: 1 for the likeliest. */
  readonly rank: number;
}

/** What the pieces of a reply have in common. The tokens of all parts are the tokens of the reply, in order. */
export interface PartTokens {
  /** Ids that came with this piece; its text may have waited for the last of them. */
  readonly tokens: readonly number[];
  /** Of these tokens, where they were asked for. */
  readonly logprobs?: readonly TokenLogprob[];
  /** Of the prompt's tokens, null for the first: with a choice's first part, where `promptLogprobs` asks. */
  readonly promptLogprobs?: readonly (PromptTokenLogprob | null)[];
  /** Which of the `n` choices this belongs to, from 0. */
  readonly choice: number;
}

/** A piece of what the model thinks before it answers. */
export interface ReasoningPart extends PartTokens {
  /** Tells the kinds of parts apart. */
  readonly type: "reasoning";
  /** Whole characters. */
  readonly text: string;
  /** Never there: what has a call is a {@linkcode ToolCallPart}. */
  readonly call?: undefined;
}

/** A piece of the answer. */
export interface TextPart extends PartTokens {
  /** Tells the kinds of parts apart. */
  readonly type: "text";
  /** Whole characters; may be empty in a reply's last part, or when the model has no tokenizer. */
  readonly text: string;
  /** Never there: what has a call is a {@linkcode ToolCallPart}. */
  readonly call?: undefined;
}

/** A piece of a call of a tool. */
export interface ToolCallPart extends PartTokens {
  /** Tells the kinds of parts apart. */
  readonly type: "toolCall";
  /** A piece of the arguments as JSON; empty in the part that a call begins with. */
  readonly text: string;
  /** Which one of the reply's calls. */
  readonly call: CallStart;
}

/** A piece of a reply; `type` says which. */
export type ReplyPart = ReasoningPart | TextPart | ToolCallPart;

/** One finished sequence. */
export interface Choice {
  /** The answer, without thoughts and calls. */
  readonly text: string;
  /** What the model thought before it answered; empty when it did not. */
  readonly reasoning: string;
  /** Arguments are JSON as the model wrote it: check it before use. */
  readonly toolCalls: readonly ToolCall[];
  /** Without the token that ended the reply. */
  readonly tokens: readonly number[];
  /** "stop" where the model or a stop string ended it, "length" where a limit did. */
  readonly finishReason: FinishReason | "toolCalls";
  /** The stop string that ended the reply, or null where something else did. */
  readonly stopText: string | null;
  /** Of all tokens, where they were asked for. */
  readonly logprobs?: readonly TokenLogprob[];
  /** Of a beam search: Σ ln p / length ** lengthPenalty, by which the choices are ordered. */
  readonly score?: number;
}

/** What a request cost, over all its choices. */
export interface Usage {
  /** Of the prompt, once for all choices. */
  readonly promptTokens: number;
  /** Of all choices together. */
  readonly completionTokens: number;
  /** Prompt tokens that were found in the cache. */
  readonly cachedTokens: number;
  /** Tokens of prompt and replies that went where the context was full (`contextOverflow`). */
  readonly droppedTokens: number;
  /** Completion tokens that were spent on reasoning. */
  readonly reasoningTokens: number;
  /** Tokens guessed ahead with `speculative` that became part of a reply. */
  readonly acceptedPredictionTokens: number;
  /** Tokens guessed ahead that did not. */
  readonly rejectedPredictionTokens: number;
}

/** A finished reply: its first choice, all choices, and what they cost. */
export interface WholeReply extends Choice {
  /** As many as `n` asked for, the first first. */
  readonly choices: readonly Choice[];
  /** Of the prompt's tokens, null for the first, where `promptLogprobs` asked for them. */
  readonly promptLogprobs?: readonly (PromptTokenLogprob | null)[];
  /** What the request cost. */
  readonly usage: Usage;
  /** Of each stretch, the longest among the choices. */
  readonly timings: Timings;
}

/** Writes a reply: hands out parts, stops early when `signal` aborts. */
type Writer = (emit: (part: ReplyPart) => void, signal: AbortSignal) => Promise<WholeReply>;

/**
 * A reply that is being written: iterate it once for its parts (or take them as a stream), or await it
 * for the whole, or both. It is written whether or not anybody reads. Cancelled (by `cancel`, by the
 * signal, by leaving the loop, the stream or the scope of `await using`) it ends early with what it has,
 * and `finishReason` is "cancelled".
 */
export class ChatReply implements AsyncIterable<ReplyPart>, Promise<WholeReply>, AsyncDisposable {
  /** The name of this class: a promise has one. */
  readonly [Symbol.toStringTag] = "ChatReply";
  readonly #abort = new AbortController();
  readonly #whole: Promise<WholeReply>;
  #unread: ReplyPart[] = [];
  #isDone = false;
  #isTaken = false;
  /** Wakes the reader that waits for the next part. */
  #wake: () => void = () => {};

  /**
   * Begins to write at once: `chat` and `complete` do this.
   * @param write throws what `await` and the loop then throw
   * @param signal cancels the reply
   */
  constructor(write: Writer, signal?: AbortSignal | null) {
    const emit = (part: ReplyPart) => {
      this.#unread.push(part);
      this.#wake();
    };
    // Async, so that whatever is wrong with a request is told in one way.
    this.#whole = (async () => {
      try {
        return await write(emit, signal ? AbortSignal.any([signal, this.#abort.signal]) : this.#abort.signal);
      } catch (error) {
        this.cancel(); // when one choice failed, the others go on in vain
        throw error;
      } finally {
        this.#isDone = true;
        this.#wake();
      }
    })();
    this.#whole.catch(() => {}); // told to whoever iterates or awaits; if nobody does, it is no crash
  }

  /** Ends the reply within one step of the model; harmless when it has ended. */
  cancel(): void {
    if (!this.#isDone) this.#abort.abort();
  }

  /** The parts as they are written, handed out once; leaving the loop cancels the reply. */
  async *[Symbol.asyncIterator](): AsyncGenerator<ReplyPart, void, void> {
    for await (const parts of this.batches()) {
      for (const part of parts) yield part;
    }
  }

  /** The same, those together that were there together: fewer turns of the loop for who passes on many replies. */
  async *batches(): AsyncGenerator<readonly ReplyPart[], void, void> {
    if (this.#isTaken) throw new TypeError("Cannot iterate a reply twice: its parts are handed out once");
    this.#isTaken = true;
    try {
      while (true) {
        const parts = this.#unread;
        this.#unread = [];
        if (parts.length > 0) yield parts;
        else if (this.#isDone) break;
        else await new Promise<void>((wake) => this.#wake = wake);
      }
      await this.#whole;
    } finally {
      this.cancel();
    }
  }

  /**
   * The parts as a stream, for what takes streams; they are handed out once, here or to a loop. Its end
   * is that of the reply, errors too; to cancel it is to cancel the reply.
   */
  toReadableStream(): ReadableStream<ReplyPart> {
    const parts = this[Symbol.asyncIterator]();
    return new ReadableStream<ReplyPart>({
      pull: async (controller) => {
        const { done, value } = await parts.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: () => this.cancel(), // the iterator's own `return` would wait for its next part
    }, { highWaterMark: 0 });
  }

  /** Cancels what is still to be written, and resolves once nothing is; what it threw is not told again. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel();
    await this.#whole.catch(() => {});
  }

  /** Resolves with the whole reply: `await reply` is what calls this. */
  then<A = WholeReply, B = never>(
    onWhole?: ((whole: WholeReply) => A | PromiseLike<A>) | null,
    onError?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#whole.then(onWhole, onError);
  }

  /** As a promise's. */
  catch<B = never>(onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<WholeReply | B> {
    return this.#whole.catch(onError);
  }

  /** As a promise's. */
  finally(onEnd?: (() => void) | null): Promise<WholeReply> {
    return this.#whole.finally(onEnd);
  }
}
