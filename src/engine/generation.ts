/**
 * A reply while it comes: tokens in a loop, and how it ended.
 * @module
 */
import type { Finish, PromptLogprob, TokenEvent } from "./protocol.ts";

/** The tokens of one request, together where they came together. They are kept until they are read, by one reader. */
export class Generation implements AsyncIterable<readonly TokenEvent[]> {
  /** How it ended; rejects with what the request failed of. */
  readonly finished: Promise<Finish>;
  /** Of the prompt's tokens from the second one on, where they were asked for: all are here before a token is. */
  readonly promptLogprobs: PromptLogprob[] = [];
  readonly #cancel: () => void;
  #events: TokenEvent[] = [];
  #wake: () => void = () => {};
  #ended = false;
  #isRead = false;

  /** @param start is given where tokens go, and what ends them; returns how to cancel the request */
  constructor(start: (sink: GenerationSink) => () => void) {
    const { promise, resolve, reject } = Promise.withResolvers<Finish>();
    this.finished = promise;
    promise.catch(() => {}); // whoever reads the tokens learns of a failure there
    const end = (settle: () => void) => {
      this.#ended = true;
      settle();
      this.#wake();
    };
    this.#cancel = start({
      push: (events) => {
        for (const event of events) this.#events.push(event); // of a beam search all come at once
        this.#wake();
      },
      prompt: (logprobs) => void this.promptLogprobs.push(...logprobs),
      finish: (finish) => end(() => resolve(finish)),
      fail: (error) => end(() => reject(error)),
    });
  }

  /** Ends the request within a step; `finished` then says "cancelled". Nothing if it has ended. */
  cancel(): void {
    if (!this.#ended) this.#cancel();
  }

  /** The tokens as they come. Leaving the loop early cancels the request. */
  async *[Symbol.asyncIterator](): AsyncGenerator<readonly TokenEvent[], void> {
    if (this.#isRead) throw new TypeError("Cannot read a reply twice: its tokens are not kept");
    this.#isRead = true;
    try {
      while (true) {
        const arrived = this.#events;
        this.#events = [];
        if (arrived.length > 0) yield arrived;
        else if (this.#ended) break;
        else await new Promise<void>((resolve) => this.#wake = resolve);
      }
      await this.finished; // throws what the request failed of
    } finally {
      this.cancel();
    }
  }
}

/** Where the other side of a generation puts what it learns. */
export interface GenerationSink {
  push(events: readonly TokenEvent[]): void;
  prompt(logprobs: readonly PromptLogprob[]): void;
  finish(finish: Finish): void;
  fail(error: Error): void;
}
