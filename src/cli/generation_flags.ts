/**
 * The flags that say how a reply is written, spelt as the options of `chat` and `complete`.
 * @module
 */
import type { BeamOptions } from "../engine/beam_options.ts";
import type { ChatOptions } from "../generate_options.ts";
import { type FlagValues, readFlags } from "./flags.ts";

const sameNames = {
  "max-tokens": "number",
  "min-tokens": "number",
  temperature: "number",
  "top-k": "number",
  "top-p": "number",
  "min-p": "number",
  "typical-p": "number",
  "repetition-penalty": "number",
  "frequency-penalty": "number",
  "presence-penalty": "number",
  "logit-bias": "json",
  seed: "number",
  stop: "texts",
  "ignore-eos": "switch",
  n: "number",
  "best-of": "number",
  logprobs: "switch",
  "top-logprobs": "number",
  "prompt-logprobs": "number",
  "json-schema": "json",
  "json-object": "switch",
  choice: "texts",
  regex: "text",
  grammar: "content",
  "context-overflow": "text",
  "keep-tokens": "number",
} as const;

const ofBeams = {
  "beam-width": "number",
  "beam-groups": "number",
  "beam-diversity-penalty": "number",
  "beam-length-penalty": "number",
} as const;

/** Those that only a chat has. */
const ofChats = {
  thinking: "switch",
  "no-thinking": "switch",
  "reasoning-effort": "text",
  "thinking-token-budget": "count",
} as const;

/** All of them. */
export const generationFlags = { ...sameNames, ...ofBeams, ...ofChats } as const;

export const generationHelp = `  --max-tokens N         the reply ends after so many, if not before
  --temperature T        0 for the likeliest tokens; by default what the model's makers recommend
  --top-p P, --top-k N, --min-p P, --typical-p P   which tokens may be drawn
  --repetition-penalty R, --frequency-penalty F, --presence-penalty P
  --seed N               fixes what is drawn
  --stop TEXT            the reply ends before it; may be given more than once`;

export const moreGenerationHelp =
  `  --json-schema JSON     the reply is a document of this schema; JSON, or @FILE
  --json-object, --regex PATTERN, --choice TEXT …, --grammar RULES (or @FILE)   other forms
  --beam-width N         searches for the likeliest reply; --beam-groups, --beam-length-penalty and
                         --beam-diversity-penalty say how
  --n N, --best-of N     replies that are written, and how many of them to choose from
  --min-tokens N, --ignore-eos, --logit-bias JSON
  --logprobs, --top-logprobs N, --prompt-logprobs N   log-probabilities, with --json
  --context-overflow shift     drops the oldest tokens where the context is full; --keep-tokens N stay`;

export const thinkingHelp =
  `  --thinking, --no-thinking    whether the model thinks first, for those that can be told
  --reasoning-effort WORD      none, minimal, low, medium, high, xhigh, max
  --thinking-token-budget N    the thought is closed after so many tokens`;

/** @throws {Error} naming the flag that is none */
export function generationOptions(values: FlagValues): ChatOptions {
  const beam: Record<string, number> = {};
  for (const [name, value] of Object.entries(readFlags(values, ofBeams))) {
    const word = name.slice("beam".length);
    beam[word[0].toLowerCase() + word.slice(1)] = value as number;
  }
  if (values.thinking && values["no-thinking"]) {
    throw new Error("--no-thinking: --thinking was given as well");
  }
  const { thinkingTokenBudget } = readFlags(values, { "thinking-token-budget": "count" });
  const effort = values["reasoning-effort"] as ChatOptions["reasoningEffort"];
  return {
    ...readFlags(values, sameNames) as ChatOptions,
    ...(Object.keys(beam).length === 0 ? {} : { beam: beam as unknown as BeamOptions }),
    ...(values.thinking ? { thinking: true } : values["no-thinking"] ? { thinking: false } : {}),
    ...(effort === undefined ? {} : { reasoningEffort: effort }),
    ...(thinkingTokenBudget === undefined ? {} : { thinkingTokenBudget }),
  };
}
