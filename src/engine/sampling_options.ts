/**
 * The caller's options of generation, checked and completed: names in camelCase, ranges and errors as
 * in the JSON API.
 * @module
 */
import { RequestError } from "../errors.ts";
import { type BeamOptions, resolveBeam } from "./beam_options.ts";
import { checkBoolean, checkNumber, type Range, shown } from "./option_checks.ts";
import type { Sampling } from "./protocol.ts";
import { resolveSpeculation, type SpeculationOption } from "./speculation_option.ts";

/** What a caller may say about how tokens are chosen. What is undefined or null takes the default. */
export interface SamplingOptions {
  /** Tokens of the reply; as many as the context holds by default. */
  readonly maxTokens?: number | null;
  /** Tokens before the reply may end. */
  readonly minTokens?: number | null;
  /** 0 for the likeliest token, up to 2. */
  readonly temperature?: number | null;
  /** Draw from this many of the likeliest tokens; 0 or -1 for all. */
  readonly topK?: number | null;
  /** Draw from the fewest tokens that have this probability together (arXiv:1904.09751). */
  readonly topP?: number | null;
  /** Draw from tokens at least this probable, relative to the likeliest (arXiv:2407.01082). */
  readonly minP?: number | null;
  /** Draw from the tokens of most typical surprise that have this probability together (arXiv:2202.00666). */
  readonly typicalP?: number | null;
  /** Above 1 makes tokens of prompt and reply less likely. */
  readonly repetitionPenalty?: number | null;
  /** Lowers a token's logit for each time it stands in the reply. */
  readonly frequencyPenalty?: number | null;
  /** Lowers a token's logit once it stands in the reply. */
  readonly presencePenalty?: number | null;
  /** Added to the logits of tokens, by id. */
  readonly logitBias?: Readonly<Record<string, number>> | null;
  /** The ids of the only tokens that may be drawn: a reply ends by itself where one that ends it is among them. */
  readonly allowedTokenIds?: readonly number[] | null;
  /** Fixes the draws; random by default. */
  readonly seed?: number | null;
  /** Report the log-probability of each token. */
  readonly logprobs?: boolean | null;
  /** Report this many of the likeliest tokens beside each; asks for logprobs. */
  readonly topLogprobs?: number | null;
  /** Report the log-probabilities of the prompt's tokens, with this many of the likeliest beside each. */
  readonly promptLogprobs?: number | null;
  /** Sequences to write; each is drawn with a seed of its own, or is one of the best of a beam search. */
  readonly n?: number | null;
  /** Search for the likeliest replies instead of drawing tokens. */
  readonly beam?: BeamOptions | null;
  /**
   * What a conversation does that outgrows the context: "refuse" (default) takes no longer prompt and ends
   * the reply; "shift" drops the oldest tokens after the first `keepTokens`, half of them at a time, and goes
   * on.
   */
  readonly contextOverflow?: "refuse" | "shift" | null;
  /** First tokens that stay when the context is shifted; by default those of the system messages. */
  readonly keepTokens?: number | null;
  /** Go on past the tokens that end a reply. */
  readonly ignoreEos?: boolean | null;
  /** Tokens that end the reply besides the model's own. */
  readonly stopIds?: readonly number[] | null;
  /** Compute several tokens in one step where they can be guessed; "none" by default. */
  readonly speculative?: SpeculationOption | null;
}

/** What a model says about sampling. */
export interface SamplingContext {
  readonly vocabSize: number;
  readonly eosIds: readonly number[];
  /** The model's own defaults, from its generation_config.json. */
  readonly defaults?: SamplingOptions;
}

const manyTokens = 2 ** 31 - 1;
const seedMost = Number.MAX_SAFE_INTEGER;

/** The least and the most that each may be. */
export const ranges = {
  maxTokens: { param: "max_tokens", least: 1, most: manyTokens, whole: true, default: manyTokens },
  minTokens: { param: "min_tokens", least: 0, most: manyTokens, whole: true, default: 0 },
  temperature: { param: "temperature", least: 0, most: 2, whole: false, default: 1 },
  topK: { param: "top_k", least: -1, most: manyTokens, whole: true, default: 0 },
  topP: { param: "top_p", least: 0, most: 1, whole: false, default: 1 },
  minP: { param: "min_p", least: 0, most: 1, whole: false, default: 0 },
  typicalP: { param: "typical_p", least: 0, most: 1, whole: false, default: 1 },
  repetitionPenalty: { param: "repetition_penalty", least: 0.01, most: 100, whole: false, default: 1 },
  frequencyPenalty: { param: "frequency_penalty", least: -2, most: 2, whole: false, default: 0 },
  presencePenalty: { param: "presence_penalty", least: -2, most: 2, whole: false, default: 0 },
  topLogprobs: { param: "top_logprobs", least: 0, most: 20, whole: true, default: 0 },
  promptLogprobs: { param: "prompt_logprobs", least: 0, most: 20, whole: true, default: 0 },
  n: { param: "n", least: 1, most: 128, whole: true, default: 1 },
  keepTokens: { param: "keep_tokens", least: 0, most: manyTokens, whole: true, default: 0 },
  seed: { param: "seed", least: -seedMost, most: seedMost, whole: true, default: 0 },
} as const satisfies Record<string, Range>;

const logitBiasRange: Range = { param: "logit_bias", least: -100, most: 100, whole: false, default: 0 };

/**
 * @returns what the engine is sent
 * @throws {RequestError} naming the field, in the JSON API's spelling
 */
export function resolveSampling(options: SamplingOptions, context: SamplingContext): Sampling {
  const { vocabSize, eosIds, defaults = {} } = context;
  const number = (name: keyof typeof ranges): number =>
    checkNumber(options[name] ?? defaults[name] ?? ranges[name].default, ranges[name]);
  const ignoreEos = checkBoolean(options.ignoreEos ?? defaults.ignoreEos ?? false, "ignore_eos");
  const promptLogprobs = options.promptLogprobs == null ? null : number("promptLogprobs");
  // Whoever asks for the prompt alone may leave it at that.
  const maxTokens = options.maxTokens === 0 && promptLogprobs !== null ? 0 : number("maxTokens");
  const minTokens = number("minTokens");
  if (minTokens > maxTokens) {
    throw new RequestError(
      `Cannot use min_tokens: ${minTokens} found, at most max_tokens (${maxTokens}) needed`,
      {
        param: "min_tokens",
      },
    );
  }
  const wantsLogprobs = checkBoolean(options.logprobs ?? options.topLogprobs != null, "logprobs");
  const topLogprobs = number("topLogprobs");
  const n = number("n");
  const beam = resolveBeam(options.beam ?? null, n, options, maxTokens);
  const shifts = checkOverflow(options.contextOverflow ?? "refuse");
  if (shifts && beam !== null) {
    throw new RequestError("Cannot use context_overflow: the context of a beam search is not shifted", {
      param: "context_overflow",
    });
  }
  if (!shifts && options.keepTokens != null) {
    throw new RequestError('Cannot use keep_tokens: context_overflow is not "shift"', {
      param: "keep_tokens",
    });
  }
  return {
    temperature: options.beam == null ? number("temperature") : 0,
    topK: Math.max(0, number("topK")),
    topP: number("topP"),
    minP: number("minP"),
    typicalP: number("typicalP"),
    repetitionPenalty: number("repetitionPenalty"),
    frequencyPenalty: number("frequencyPenalty"),
    presencePenalty: number("presencePenalty"),
    logitBias: checkLogitBias(options.logitBias ?? defaults.logitBias ?? {}, vocabSize),
    allowedIds: options.allowedTokenIds == null ? null : checkAllowed(options.allowedTokenIds, vocabSize),
    badWords: [],
    seed: options.seed == null && defaults.seed == null ? randomSeed() : number("seed"),
    minTokens,
    maxTokens,
    stopIds: [...(ignoreEos ? [] : eosIds), ...checkIds(options.stopIds ?? [], "stop_token_ids", vocabSize)],
    topLogprobs: wantsLogprobs ? Math.min(topLogprobs, vocabSize) : null,
    contextShift: shifts ? { keepTokens: number("keepTokens") } : null,
    speculative: resolveSpeculation(
      options.speculative ?? (options.beam == null ? defaults.speculative : null) ?? "none",
    ),
    isRepeated: true,
    grammar: null,
    thought: null,
    promptLogprobs: promptLogprobs && Math.min(promptLogprobs, vocabSize),
    n,
    beam,
  };
}

/** @returns whether to shift */
function checkOverflow(value: unknown): boolean {
  if (value === "refuse" || value === "shift") return value === "shift";
  const problem = `${shown(value)} found, "refuse" or "shift" needed`;
  throw new RequestError(`Cannot use context_overflow: ${problem}`, { param: "context_overflow" });
}

function checkLogitBias(bias: unknown, vocabSize: number): [number, number][] {
  if (typeof bias !== "object" || bias === null || Array.isArray(bias)) {
    throw new RequestError(`Cannot use logit_bias: ${shown(bias)} found, biases by token id needed`, {
      param: "logit_bias",
    });
  }
  return Object.entries(bias).map(([key, value]) => {
    const id = /^\d{1,10}$/.test(key) ? Number(key) : NaN;
    return [checkId(id, key, "logit_bias", vocabSize), checkNumber(value, logitBiasRange)];
  });
}

/** @returns each once, ascending */
function checkAllowed(ids: unknown, vocabSize: number): number[] {
  const allowed = new Set(checkIds(ids, "allowed_token_ids", vocabSize));
  if (allowed.size > 0) return [...allowed].sort((a, b) => a - b);
  throw new RequestError("Cannot use allowed_token_ids: none found, one at least is needed", {
    param: "allowed_token_ids",
  });
}

function checkIds(ids: unknown, param: string, vocabSize: number): number[] {
  if (!Array.isArray(ids)) {
    throw new RequestError(`Cannot use ${param}: ${shown(ids)} found, a list of token ids needed`, { param });
  }
  return ids.map((id: unknown) => checkId(id, id, param, vocabSize));
}

function checkId(id: unknown, written: unknown, param: string, vocabSize: number): number {
  if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= vocabSize) {
    throw new RequestError(
      `Cannot use ${param}: token ${shown(written)} found, ids from 0 to ${vocabSize - 1} needed`,
      { param },
    );
  }
  return id;
}

function randomSeed(): number {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return (high >>> 11) * 2 ** 32 + low;
}
