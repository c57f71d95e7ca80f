/**
 * One request from end to end: render and encode (`prompts.ts`), submit (`engine/client.ts`; the rest of the
 * engine is across the Worker, from `engine/worker.ts` on), then detokenise, stop and parse as tokens come
 * (`write_reply.ts`, for each sequence `sequence_writer.ts`). What a caller holds meanwhile is a `ChatReply`.
 * @module
 */
import { ChatReply } from "./chat_reply.ts";
import { mostReplyTokens } from "./context_overflow.ts";
import type { EngineClient } from "./engine/client.ts";
import type { EngineInfo, EngineStats } from "./engine/protocol.ts";
import { checkOptions, checkPath, checkSignal, shown } from "./engine/option_checks.ts";
import { resolveSampling, type SamplingOptions } from "./engine/sampling_options.ts";
import { draftModelOf } from "./engine/speculation_option.ts";
import { RequestError, UnsupportedError } from "./errors.ts";
import { type ChatOptions, chatPlan, type GenerateOptions, requestOptions } from "./generate_options.ts";
import type { GrammarSource, GrammarSpec, ThoughtLimit } from "./grammar/spec.ts";
import { checkMessages, type Message } from "./messages.ts";
import { type ModelText, textFor } from "./model_text.ts";
import { type Prompt, Prompts, underForm } from "./prompts.ts";
import { replyGrammar, thoughtLimit } from "./reply_grammar.ts";
import { joinSegments } from "./text/segments.ts";
import type { Tokenizer } from "./text/tokenizer.ts";
import { writeReply } from "./write_reply.ts";

/** Facts of a loaded model. */
export interface ModelInfo extends EngineInfo {
  /** The last part of its folder's name. */
  readonly name: string;
}

/** What a model is made of: an engine, and what else its folder says. */
export interface ModelParts {
  readonly name: string;
  readonly engine: EngineClient;
  /** Null for a folder without tokenizer. */
  readonly text: ModelText | null;
  /** How its makers want it sampled. */
  readonly defaults: SamplingOptions;
  /** Opens a draft model for the engine; left out where none can be had. */
  readonly openDraft?: (source: string) => Promise<void>;
}

/** The prompt of a chat. */
export interface RenderedChat {
  /** To be read by people: it does not say which of its words are control tokens. */
  readonly text: string;
  /** What the network reads. */
  readonly tokens: readonly number[];
}

/** A conversation in a file. */
export interface SavedConversation {
  /** To be continued with `chat`; null for a text. */
  readonly messages: readonly Message[] | null;
  /** What the network has read of it. */
  readonly tokens: readonly number[];
  /** First tokens that need not be computed again. */
  readonly keptTokens: number;
}

/** A model that answers. Made by `load`; close it, or bind it with `await using`. */
export class LanguageModel implements AsyncDisposable {
  /** What it is, how it computes, and its limits. */
  #info: ModelInfo;
  readonly #parts: ModelParts;
  readonly #prompts: Prompts;
  #draft: { readonly source: string; readonly opened: Promise<void> } | null = null;

  /** {@linkcode load} calls it. */
  constructor(parts: ModelParts) {
    this.#info = { name: parts.name, ...parts.engine.info };
    this.#parts = parts;
    this.#prompts = new Prompts(parts.text, parts.engine.info.contextLength);
  }

  /** Facts of the model as it is loaded. */
  get info(): ModelInfo {
    return this.#info;
  }

  /**
   * Text to token ids and back.
   * @throws {UnsupportedError} the model's folder has none
   */
  get tokenizer(): Tokenizer {
    return textFor(this.#parts.text, "read or write text").tokenizer;
  }

  /** Why it takes no more requests: it was closed, or its Worker failed. Null while all is well. */
  get ended(): Error | null {
    return this.#parts.engine.ended;
  }

  /**
   * Loads a smaller model with the same vocabulary, which guesses for requests with `speculative: "model"`.
   * Those with `speculative: { model: source }` do so by themselves; one model has one draft model.
   * @throws {UnsupportedError | CheckpointError | DownloadError | MemoryError} it cannot be used
   */
  async useDraftModel(source: string): Promise<void> {
    const { openDraft } = this.#parts;
    if (openDraft === undefined) throw new UnsupportedError("Cannot use a draft model: nothing can load one");
    if (this.#draft !== null && this.#draft.source !== source) {
      const problem = `${source} found, but ${this.#draft.source} is loaded already`;
      throw new RequestError(`Cannot use speculative.model: ${problem}`, { param: "speculative" });
    }
    this.#draft ??= { source, opened: openDraft(source) };
    try {
      await this.#draft.opened;
      const draftKinds = [...new Set([...this.#info.draftKinds, "model"] as const)];
      this.#info = { ...this.#info, draftKinds };
    } catch (error) {
      this.#draft = null;
      throw error;
    }
  }

  /** Answers messages, put as the model's chat template says. */
  chat(messages: readonly Message[], options: ChatOptions = {}): ChatReply {
    return this.#reply(options, () => this.#prompts.ofChat(messages, options));
  }

  /**
   * The prompt that `chat` makes of messages, for whoever counts its tokens or wants to read it.
   * @throws {RequestError} for messages that the template does not take, or a prompt beyond the context
   */
  renderChat(messages: readonly Message[], options: ChatOptions = {}): RenderedChat {
    const { segments, tokens } = this.#prompts.render(messages, chatPlan(options).plan);
    return { text: joinSegments(segments), tokens };
  }

  /** The token ids that `complete` and `embed` make of a text: with the token that texts begin with. */
  promptTokens(prompt: string | ArrayLike<number>): ArrayLike<number> {
    return this.#prompts.encode(prompt, "embed");
  }

  /** Continues a text, or token ids as they are. */
  complete(prompt: string | ArrayLike<number>, options: GenerateOptions = {}): ChatReply {
    return this.#reply(options, () => this.#prompts.ofText(prompt, options));
  }

  /**
   * What the model expects after each token of a prompt, for evaluation and scoring.
   * @returns (tokens, vocab) in f32: row i is what the model expects after token i
   */
  async logits(
    prompt: string | ArrayLike<number>,
    options: { signal?: AbortSignal } = {},
  ): Promise<Float32Array> {
    checkOptions(options, ["signal"]);
    const signal = checkSignal(options.signal);
    return await this.#parts.engine.logits(this.#prompts.encode(prompt, "logits"), signal);
  }

  /**
   * Embeds texts, or token ids as they are.
   * @returns for each the mean of its last hidden states, of length 1
   */
  async embed(
    texts: string | readonly (string | ArrayLike<number>)[],
    options: { signal?: AbortSignal } = {},
  ): Promise<Float32Array[]> {
    checkOptions(options, ["signal"]);
    const signal = checkSignal(options.signal);
    const prompts = typeof texts === "string" ? [texts] : texts;
    if (!Array.isArray(prompts)) {
      const problem = `${shown(texts)} found, a text or a list of texts, or of token ids, needed`;
      throw new RequestError(`Cannot embed: ${problem}`, { param: "input" });
    }
    const { engine } = this.#parts;
    return await Promise.all(
      prompts.map((prompt) => engine.embed(this.#prompts.encode(prompt, "embed"), signal)),
    );
  }

  /**
   * Puts a conversation into a file: its messages, and what was computed of them, so that `loadConversation`
   * goes on from there, in another process, runtime or place. The file is its owner's alone.
   * @param messages as for `chat`; or the text or token ids of `complete`
   * @returns tokens in all, and those whose latents are in the file
   */
  async saveConversation(
    path: string,
    messages: readonly Message[] | string | readonly number[],
    options: ChatOptions = {},
  ): Promise<SavedConversation> {
    checkPath(path, "save a conversation");
    checkOptions(options);
    const tokens = isChat(messages)
      ? this.#prompts.render(messages, chatPlan(options).plan, 1, false).tokens
      : this.#prompts.encode(messages, "generate");
    const note = { messages: isChat(messages) ? messages : null };
    const { keptTokens } = await this.#parts.engine.save(path, tokens, note, options.tenant ?? "");
    return { ...note, tokens: Array.from(tokens), keptTokens };
  }

  /**
   * Brings a saved conversation back: the next turn computes only what is new. Where another backend or
   * version computed it, it is read all the same, and computed again.
   * @returns its messages, null where it had none; how much of it need not be computed
   * @throws {RequestError} the file is damaged, or of another model, format of weights or kind of cache
   */
  async loadConversation(path: string, options: { tenant?: string } = {}): Promise<SavedConversation> {
    checkPath(path, "read a conversation");
    checkOptions(options, ["tenant"]);
    const { tokens, keptTokens, note } = await this.#parts.engine.restore(path, options.tenant ?? "");
    const { messages = null } = (note ?? {}) as { messages?: readonly Message[] | null };
    if (messages !== null) checkMessages(messages);
    return { messages, tokens, keptTokens };
  }

  /** Counters and high-water marks since the model was loaded. */
  stats(): Promise<EngineStats> {
    return this.#parts.engine.stats();
  }

  /** Frees everything once the requests that were accepted have ended; takes no more of them. */
  close(): Promise<void> {
    return this.#parts.engine.close();
  }

  /** Closes it where the scope of `await using` ends. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #reply(options: GenerateOptions, render: () => Prompt): ChatReply {
    const given = options?.signal;
    return new ChatReply(async (emit, signal) => {
      checkOptions(options);
      checkSignal(given);
      const rendered = render();
      const { bestOf, stop, badWords, tenant, source } = requestOptions(rendered.options);
      const prompt = source === null ? rendered : underForm(rendered);
      const { engine, text, defaults } = this.#parts;
      const sampling = {
        ...resolveSampling(this.#bounded(prompt.options), { ...this.info, defaults }),
        badWords: this.#spelt(badWords),
        isRepeated: !prompt.reply.isForgotten,
        grammar: this.#grammar(source, prompt),
        thought: this.#thought(prompt),
      };
      const draft = draftModelOf(prompt.options.speculative ?? defaults.speculative);
      if (draft !== null) await this.useDraftModel(draft);
      if (stop.length > 0) textFor(text, "look for stop strings");
      const drawn = bestOf === null
        ? sampling
        : { ...sampling, n: bestOf, topLogprobs: sampling.topLogprobs ?? 0 };
      const generations = engine.generateAll(prompt.tokens, drawn, signal, tenant);
      return await writeReply(generations, { prompt, sampling, stop, bestOf, text }, emit, signal);
    }, given instanceof AbortSignal ? given : null);
  }

  /** Words as their tokens, at the beginning of a text and within. */
  #spelt(words: readonly string[]): number[][] {
    if (words.length === 0) return [];
    const { tokenizer } = textFor(this.#parts.text, "look for bad words");
    const spellings = new Set(
      words.flatMap((word) => [word, word.trimStart() || word, ` ${word.trimStart()}`]),
    );
    return [...spellings].map((text) => [...tokenizer.encode(text, { special: true })]);
  }

  /** A reply whose context is shifted might never end. */
  #bounded(options: GenerateOptions): GenerateOptions {
    if (options.contextOverflow !== "shift") return options;
    const { contextLength } = this.info;
    const maxTokens = options.maxTokens ?? this.#parts.defaults.maxTokens ?? mostReplyTokens(contextLength);
    return { ...options, maxTokens };
  }

  /** What the reply to a prompt has to be, for the engine. */
  #grammar(source: GrammarSource | null, { reply }: Prompt): GrammarSpec | null {
    if (source === null && reply.tools === null) return null;
    const { tokenizer } = textFor(this.#parts.text, "follow a grammar");
    const grammar = replyGrammar(source, reply, tokenizer);
    if (grammar !== null) this.#parts.engine.useVocabulary(() => tokenizer.vocabulary());
    return grammar;
  }

  /** How long the reply to a prompt may think, for the engine. */
  #thought({ reply }: Prompt): ThoughtLimit | null {
    if (reply.thoughtTokens === null) return null;
    const { tokenizer } = textFor(this.#parts.text, "limit a thought");
    const limit = thoughtLimit(reply.thoughtTokens, reply, tokenizer);
    if (limit !== null) this.#parts.engine.useVocabulary(() => tokenizer.vocabulary());
    return limit;
  }
}

/** Whether these are messages; a list that is empty is one of token ids. */
function isChat(prompt: readonly Message[] | string | readonly number[]): prompt is readonly Message[] {
  return typeof prompt !== "string" && typeof prompt?.[0] === "object";
}
