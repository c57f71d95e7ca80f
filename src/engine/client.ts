/**
 * This side of the Worker border: an engine that computes elsewhere, so that nothing here ever waits
 * for a step.
 * @module
 */
import { BusyError, DeviceError } from "../errors.ts";
import type { VocabularyBytes } from "../grammar/vocabulary.ts";
import { checkedProduct } from "../tensor/checked.ts";
import { Bell } from "./bell.ts";
import { checkLength } from "./check_request.ts";
import { Generation, type GenerationSink } from "./generation.ts";
import {
  type EngineInfo,
  type EngineStats,
  type Finish,
  type FoundConversation,
  type FromWorker,
  openDefaults,
  type OpenOptions,
  type PromptLogprob,
  type Sampling,
  type TokenEvent,
  type ToldTokens,
  type ToWorker,
} from "./protocol.ts";
import { startThread, type Thread } from "./thread.ts";
import { tokenIds } from "./token_ids.ts";
import { fromWire } from "./wire_error.ts";

/** How far opening is; `done` of `total` in the units of the stage. */
export interface OpenProgress {
  readonly stage: string;
  readonly done: number;
  readonly total: number;
}

/** Who waits for answers to a request. */
interface Waiting {
  onTokens?(tokens: ToldTokens): void;
  onPrompt?(logprobs: readonly PromptLogprob[]): void;
  onRows?(firstRow: number, values: Float32Array): void;
  onStats?(stats: EngineStats): void;
  onConversation?(found: FoundConversation): void;
  onDrafting?(): void;
  onFinished?(finish: Finish): void;
  onFailed(error: Error): void;
}

/** How a request ends whose signal was aborted before it was sent. */
const neverBegun: Finish = {
  reason: "cancelled",
  timings: { queueMs: 0, prefillMs: 0, decodeMs: 0 },
  cachedTokens: 0,
  droppedTokens: 0,
  drafts: { drafted: 0, accepted: 0 },
};

const eventOf = (told: number | TokenEvent): TokenEvent =>
  typeof told === "number" ? { token: told, logprob: NaN, top: [] } : told;

/** Packages for npm have been made JavaScript, in which this word stays as it is. */
const workerModule = import.meta.url.endsWith(".js") ? "./worker.js" : "./worker.ts";

/** A model in a Worker. */
export class EngineClient {
  readonly info: EngineInfo;
  readonly #worker: Thread<FromWorker>;
  readonly #bell: Bell;
  readonly #waiting: Map<number, Waiting> = new Map();
  #nextId = 1;
  #knowsVocabulary = false;
  #ended: Error | null = null;
  #closed: PromiseWithResolvers<void> | null = null;

  /** @param worker has said "opened" */
  private constructor(worker: Thread<FromWorker>, bell: Bell, info: EngineInfo) {
    this.#worker = worker;
    this.#bell = bell;
    this.info = info;
    worker.listen({
      message: (message) => this.#receive(message),
      death: (how) => this.#fail(deathOf(how)),
    });
    worker.unref(); // a program may end without closing its model
  }

  /** Why no more requests are taken: it was closed, or has failed. Null while all is well. */
  get ended(): Error | null {
    return this.#ended;
  }

  /**
   * Opens a model in a new Worker.
   * @throws what `openEngine` throws, DeviceError when the Worker dies, or the signal's reason
   */
  static open(
    options: Partial<OpenOptions> & Pick<OpenOptions, "folder">,
    { onProgress, signal }: { onProgress?: (progress: OpenProgress) => void; signal?: AbortSignal } = {},
  ): Promise<EngineClient> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const { promise, resolve, reject } = Promise.withResolvers<EngineClient>();
    const worker = startThread<FromWorker>(new URL(workerModule, import.meta.url));
    const abandoned = new SharedArrayBuffer(4);
    const bell = new Bell();
    const fail = (error: unknown) => {
      signal?.removeEventListener("abort", abandon);
      reject(error);
      worker.end();
    };
    const abandon = () => {
      Atomics.store(new Int32Array(abandoned), 0, 1);
      reject(signal!.reason);
      // Ended at once it would keep, in Bun, the memory that it has taken so far: it gives that back by itself.
      endWhenClosed(worker, bell);
    };
    signal?.addEventListener("abort", abandon, { once: true });
    worker.listen({
      message(message) {
        if (message.type === "progress") onProgress?.(message);
        if (message.type === "failed") fail(fromWire(message.error));
        if (message.type !== "opened") return;
        signal?.removeEventListener("abort", abandon);
        resolve(new EngineClient(worker, bell, message.info));
      },
      death: (how) => fail(deathOf(how)),
    });
    try {
      const open: ToWorker = {
        type: "open",
        options: { ...openDefaults, ...options },
        abandoned,
        bell: bell.shared,
      };
      worker.postMessage(open);
    } catch (error) { // an option that cannot be cloned
      fail(error);
    }
    return promise;
  }

  /**
   * Generates tokens after a prompt. Never throws: what is wrong shows where the tokens are read.
   * @param tokens ids of the prompt
   * @param sampling from `resolveSampling`, for one sequence
   * @param tenant whoever shares cached prompts with others of the same name
   */
  generate(tokens: ArrayLike<number>, sampling: Sampling, signal?: AbortSignal, tenant = ""): Generation {
    return this.generateAll(tokens, { ...sampling, n: 1 }, signal, tenant)[0];
  }

  /** As `generate`, for the `sampling.n` sequences of a request: the prompt is computed once. */
  generateAll(
    tokens: ArrayLike<number>,
    sampling: Sampling,
    signal?: AbortSignal,
    tenant = "",
  ): Generation[] {
    const sinks: GenerationSink[] = [];
    const cancels: (() => void)[] = [];
    const generations = Array.from({ length: sampling.n }, (_, choice) =>
      new Generation((sink) => {
        sinks.push(sink);
        return () => cancels[choice]();
      }));
    const waiting = sinks.map((sink): Waiting => ({
      onTokens: (tokens) => sink.push(tokens.map(eventOf)),
      onPrompt: (logprobs) => sink.prompt(logprobs),
      onFinished: (finish) => sink.finish(finish),
      onFailed: (error) => sink.fail(error),
    }));
    cancels.push(...this.#request(
      waiting,
      (id) => ({ type: "generate", id, tokens: tokenIds(tokens), sampling, tenant }),
      signal,
    ));
    return generations;
  }

  /**
   * Opens a model that guesses for this one, in the same Worker.
   * @throws {CheckpointError | UnsupportedError | MemoryError} why it cannot be used
   */
  openDraft(folder: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#request([{ onDrafting: resolve, onFailed: reject }], (id) => ({ type: "draft", id, folder }));
    });
  }

  /** Tells the Worker the bytes of the tokens, once: replies that follow a grammar need them. */
  useVocabulary(vocabulary: () => VocabularyBytes): void {
    if (this.#knowsVocabulary || this.#ended !== null) return;
    this.#send({ type: "vocabulary", vocabulary: vocabulary() });
    this.#knowsVocabulary = true;
  }

  /** @returns (tokens, vocab): the logits after each token. @throws the signal's reason */
  logits(tokens: ArrayLike<number>, signal?: AbortSignal): Promise<Float32Array> {
    return this.#rows("logits", tokens, tokens.length, this.info.vocabSize, signal);
  }

  /** @returns (hidden): the mean of the last hidden states, of length 1. @throws the signal's reason */
  embed(tokens: ArrayLike<number>, signal?: AbortSignal): Promise<Float32Array> {
    return this.#rows("embed", tokens, 1, this.info.hidden, signal);
  }

  /** Puts a conversation into a file, computed where the cache lacks it. @param note is found again with it */
  async save(path: string, ids: ArrayLike<number>, note: unknown, tenant = ""): Promise<FoundConversation> {
    const tokens = tokenIds(ids);
    await new Promise<Finish>((onFinished, onFailed) => {
      this.#request([{ onFinished, onFailed }], (id) => ({ type: "keep", id, tokens, tenant }));
    });
    return await new Promise((onConversation, onFailed) => {
      this.#request(
        [{ onConversation, onFailed }],
        (id) => ({ type: "save", id, path, tokens, tenant, note }),
      );
    });
  }

  /** Brings a conversation back, into the cache of a tenant. */
  restore(path: string, tenant = ""): Promise<FoundConversation> {
    return new Promise((onConversation, onFailed) => {
      this.#request([{ onConversation, onFailed }], (id) => ({ type: "restore", id, path, tenant }));
    });
  }

  /** Counters and high-water marks, as of the end of the step at hand. */
  stats(): Promise<EngineStats> {
    return new Promise((resolve, reject) => {
      this.#request([{ onStats: resolve, onFailed: reject }], (id) => ({ type: "stats", id }));
    });
  }

  /**
   * Ends the Worker. Requests are refused from now on.
   * @param options `drain` (default) lets those that were accepted end; otherwise they are cancelled
   */
  close({ drain = true }: { drain?: boolean } = {}): Promise<void> {
    if (this.#closed === null) {
      this.#closed = Promise.withResolvers<void>();
      if (this.#ended === null) {
        this.#ended = new BusyError("Cannot accept the request: the model is closed");
      } else this.#closed.resolve(); // the Worker is dead already
    } else if (drain) return this.#closed.promise;
    this.#worker.ref();
    this.#send({ type: "close", drain });
    return this.#closed.promise;
  }

  async #rows(
    type: "logits" | "embed",
    tokens: ArrayLike<number>,
    rows: number,
    width: number,
    signal?: AbortSignal,
  ): Promise<Float32Array> {
    // Here as well as in the Worker: room for the rows of a prompt that never fits may be more than there is.
    checkLength(tokens.length, type, this.info.contextLength);
    const values = new Float32Array(checkedProduct([rows, width], `rows of ${type}`));
    const { reason } = await new Promise<Finish>((resolve, reject) => {
      const waiting = {
        onRows: (firstRow: number, part: Float32Array) => values.set(part, firstRow * width),
        onFinished: resolve,
        onFailed: reject,
      };
      this.#request([waiting], (id) => ({ type, id, tokens: tokenIds(tokens) }), signal);
    });
    if (reason === "cancelled") {
      throw signal?.aborted ? signal.reason : new BusyError(`Cannot finish ${type}: the model was closed`);
    }
    return values;
  }

  /**
   * Sends a request, for each sequence of which someone waits.
   * @param message with the first one's id; those of the others follow
   * @returns how to cancel each
   */
  #request(
    waiting: readonly Waiting[],
    message: (id: number) => ToWorker,
    signal?: AbortSignal,
  ): (() => void)[] {
    const first = this.#nextId;
    this.#nextId += waiting.length;
    const cancels = waiting.map((_, i) => () => {
      if (this.#waiting.has(first + i)) this.#send({ type: "cancel", id: first + i });
    });
    const cancelAll = () => cancels.forEach((cancel) => cancel());
    let nOpen = waiting.length;
    const settled = <T>(id: number, settle?: (value: T) => void) => (value: T) => {
      if (--nOpen === 0) signal?.removeEventListener("abort", cancelAll);
      this.#waiting.delete(id);
      if (this.#waiting.size === 0 && this.#closed === null) this.#worker.unref();
      settle?.(value);
    };
    try {
      if (this.#ended !== null) throw this.#ended;
      if (signal?.aborted) { // a Worker that was told could be done before the word to cancel reaches it
        for (const each of waiting) each.onFinished?.(neverBegun);
        return cancels;
      }
      const toSend = message(first);
      if (this.#waiting.size === 0) this.#worker.ref();
      for (const [i, each] of waiting.entries()) {
        this.#waiting.set(first + i, {
          ...each,
          onStats: settled(first + i, each.onStats),
          onConversation: settled(first + i, each.onConversation),
          onDrafting: settled<void>(first + i, each.onDrafting),
          onFinished: settled(first + i, each.onFinished),
          onFailed: settled(first + i, each.onFailed),
        });
      }
      this.#send(toSend);
    } catch (error) {
      for (const [i, each] of waiting.entries()) {
        this.#waiting.delete(first + i);
        each.onFailed(error as Error);
      }
      return cancels;
    }
    signal?.addEventListener("abort", cancelAll, { once: true });
    return cancels;
  }

  #send(message: ToWorker): void {
    this.#worker.postMessage(message);
    this.#bell.ring(); // only for what could be cloned
  }

  #receive(message: FromWorker): void {
    switch (message.type) {
      case "tokens":
        for (const [id, tokens] of message.tokens) this.#waiting.get(id)?.onTokens?.(tokens);
        return;
      case "prompt":
        return this.#waiting.get(message.id)?.onPrompt?.(message.logprobs);
      case "rows":
        return this.#waiting.get(message.id)?.onRows?.(message.firstRow, message.values);
      case "stats":
        return this.#waiting.get(message.id)?.onStats?.(message.stats);
      case "conversation":
        return this.#waiting.get(message.id)?.onConversation?.(message.found);
      case "drafting":
        return this.#waiting.get(message.id)?.onDrafting?.();
      case "finished":
        return this.#waiting.get(message.id)?.onFinished?.(message.finish);
      case "failed":
        if (message.id === null) {
          return this.#fail(new DeviceError(`Cannot go on: the engine failed: ${message.error.message}`));
        }
        return this.#waiting.get(message.id)?.onFailed(fromWire(message.error));
      case "closed":
        return this.#fail(new BusyError("Cannot finish the request: the model was closed"));
    }
  }

  /** The Worker is of no more use. */
  #fail(error: Error): void {
    this.#ended ??= error;
    for (const waiting of [...this.#waiting.values()]) waiting.onFailed(error);
    this.#worker.end();
    this.#closed?.resolve();
  }
}

/** Ends a Worker that is told to give up, once it has: a program may end before. */
function endWhenClosed(worker: Thread<FromWorker>, bell: Bell): void {
  worker.listen({
    message({ type }) {
      if (type === "failed" || type === "closed") worker.end();
      if (type !== "opened") return;
      worker.postMessage({ type: "close", drain: false } satisfies ToWorker);
      bell.ring();
    },
    death: () => {},
  });
  worker.unref();
}

/** A Worker has ended without being asked to. */
function deathOf(how: string): DeviceError {
  return new DeviceError(`Cannot go on: the engine's Worker ${how}`);
}
