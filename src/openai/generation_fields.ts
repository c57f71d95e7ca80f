/**
 * The fields that say how a text is written, the same at every endpoint that writes one, and what they are called in
 * hadal: OpenAI's words, and those of vLLM, SGLang and llama-server. Ranges of numbers are checked where the sampler
 * is: here only what a field is.
 * @module
 */
import { z } from "zod";
import { draftKinds } from "../engine/protocol.ts";
import { ranges } from "../engine/sampling_options.ts";
import { mostDrafts } from "../engine/speculation_option.ts";
import { RequestError } from "../errors.ts";
import type { GenerateOptions } from "../generate_options.ts";
import { beamFields, beamOptions } from "./beam_fields.ts";
import { flag, notYet, optional, sampled, tokenId } from "./field_types.ts";
import { harmlessFields } from "./harmless_fields.ts";
import { notYetFields } from "./refused_fields.ts";
import { grammarFields, grammarOptions, type NamedForm } from "./structured.ts";

/** Fields of requests for text. */
export const generationFields = {
  model: optional(z.string()),
  stream: flag,
  stream_options: optional(z.object({
    include_usage: flag,
    continuous_usage_stats: notYet(false),
    include_obfuscation: notYet(false),
  })),
  max_tokens: sampled("maxTokens"),
  n_predict: optional(z.int().min(-1, "a whole number from -1 is needed")), // llama-server's word for it
  min_tokens: sampled("minTokens"),
  temperature: sampled("temperature"),
  top_k: sampled("topK"),
  top_p: sampled("topP"),
  min_p: sampled("minP"),
  typical_p: sampled("typicalP"),
  repetition_penalty: sampled("repetitionPenalty"),
  repeat_penalty: optional(z.number().min(0.01).max(100)), // llama.cpp's and Ollama's word for it
  repeat_last_n: optional(z.int().min(-1, "a whole number from -1 is needed")), // llama-server's
  frequency_penalty: sampled("frequencyPenalty"),
  presence_penalty: sampled("presencePenalty"),
  logit_bias: optional(
    z.record(z.string().meta({ pattern: "^[0-9]{1,10}$" }), z.number().meta({ minimum: -100, maximum: 100 })),
  ),
  allowed_token_ids: optional(z.array(tokenId)),
  bad_words: optional(z.array(z.string())),
  stop: optional(z.union([z.string(), z.array(z.string())], "a string or a list of strings is needed")),
  stop_token_ids: optional(z.array(tokenId)),
  ignore_eos: flag,
  seed: sampled("seed"),
  n: optional(z.int().meta({ minimum: 1, maximum: 128 })),
  n_cmpl: optional(z.int().meta({ minimum: 1, maximum: 128 })), // llama-server's word for it
  context_overflow: optional(z.literal(["refuse", "shift"], '"refuse" or "shift" is needed')),
  keep_tokens: sampled("keepTokens"),
  n_keep: optional(z.int().min(0, "a whole number from 0 is needed")), // llama-server's word for it
  // Not { model }: which files are opened is no client's to say.
  speculative: optional(z.union(
    [
      z.literal(["none", ...draftKinds]),
      z.strictObject({
        type: z.literal(["none", ...draftKinds]),
        tokens: optional(z.int().meta({ minimum: 1, maximum: mostDrafts })),
      }),
    ],
    '"none", "mtp", "ngram", "model" or { type, tokens } is needed',
  )),
  ...grammarFields,
  ...beamFields,
  prompt_logprobs: optional(
    z.union(
      [z.literal(false), z.int().meta({ minimum: 0, maximum: ranges.promptLogprobs.most })],
      "a whole number is needed",
    ),
  ),
  cache_salt: optional(z.string().max(256)),
  ...notYetFields,
  ...harmlessFields,
};

/** Those of an endpoint that answers with one reply, and has no place for log-probabilities of the prompt. */
export const oneReplyFields = {
  ...generationFields,
  n: notYet(1),
  n_cmpl: notYet(1),
  prompt_logprobs: notYet(false),
  logprobs: notYet(false),
};

type Fields = typeof generationFields;
/** A request as checked, of any of these endpoints. */
type GenerationRequest = {
  readonly [Name in keyof Fields]?: Name extends "n" | "n_cmpl" | "n_predict" | "prompt_logprobs" ? unknown
    : z.output<Fields[Name]>;
};

/**
 * What a request says of how its text is written, in hadal's words; how many tokens it has depends on the endpoint.
 * @param form of the reply, by the endpoint's own field
 */
export function generationOptions(body: GenerationRequest, form?: NamedForm): GenerateOptions {
  checkPenalized(body);
  const n = choicesOf(body);
  return {
    minTokens: body.min_tokens,
    temperature: body.temperature,
    topK: body.top_k,
    topP: body.top_p,
    minP: body.min_p,
    typicalP: body.typical_p,
    repetitionPenalty: body.repetition_penalty ?? body.repeat_penalty,
    frequencyPenalty: body.frequency_penalty,
    presencePenalty: body.presence_penalty,
    logitBias: body.logit_bias,
    allowedTokenIds: body.allowed_token_ids,
    badWords: body.bad_words,
    stop: body.stop,
    stopIds: body.stop_token_ids,
    seed: body.seed,
    n,
    ...beamOptions({ ...body, n }),
    ...grammarOptions(body, form),
    promptLogprobs: promptLogprobsOf(body),
    ignoreEos: body.ignore_eos,
    contextOverflow: body.context_overflow,
    keepTokens: body.keep_tokens ?? (body.context_overflow === "shift" ? body.n_keep : undefined),
    speculative: body.speculative,
  };
}

/** How many replies a request is answered with, where it says so. */
export function choicesOf({ n, n_cmpl }: Pick<GenerationRequest, "n" | "n_cmpl">): number | undefined {
  return (n ?? n_cmpl) as number | undefined;
}

/** What llama-server's clients ask for in place of max_tokens; -1 is as many as there may be. */
export function predicted({ n_predict: tokens }: { readonly n_predict?: number }): number | undefined {
  return tokens === -1 ? undefined : tokens;
}

/** @throws {RequestError} for a stream: they belong to no piece of it */
function promptLogprobsOf(
  { prompt_logprobs: asked, stream }: Pick<GenerationRequest, "prompt_logprobs" | "stream">,
): number | undefined {
  if (typeof asked !== "number") return undefined;
  if (!stream) return asked;
  const problem = "a stream has no place for them, but for completions with echo and logprobs";
  throw new RequestError(`Cannot use prompt_logprobs: ${problem}`, { param: "prompt_logprobs" });
}

/** @throws {RequestError} for penalties of the last tokens alone: here they look at all */
function checkPenalized(body: GenerationRequest): void {
  const { repeat_last_n: nLast = -1, frequency_penalty, presence_penalty } = body;
  const repetition = body.repetition_penalty ?? body.repeat_penalty;
  if (nLast === -1 || ((repetition ?? 1) === 1 && !frequency_penalty && !presence_penalty)) return;
  const problem = `${nLast} found, penalties look at all tokens: -1 is needed`;
  throw new RequestError(`Cannot use repeat_last_n: ${problem}`, { param: "repeat_last_n" });
}
