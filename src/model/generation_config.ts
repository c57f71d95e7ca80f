/**
 * generation_config.json: how the makers of a model want it sampled.
 * @module
 */
import {
  atLeastZero,
  checkJson,
  either,
  list,
  numberWhere,
  object,
  positive,
  truth,
  whole,
} from "./json_check.ts";

/** Defaults of sampling; null where the file says nothing. */
export interface GenerationDefaults {
  /** 0 for greedy. */
  readonly temperature: number | null;
  /** 0 for all tokens. */
  readonly topK: number | null;
  readonly topP: number | null;
  readonly minP: number | null;
  readonly typicalP: number | null;
  readonly repetitionPenalty: number | null;
  /** Tokens that end a reply, when they differ from config.json's. */
  readonly eosIds: readonly number[] | null;
}

const share = () => numberWhere((value) => value > 0 && value <= 1, "a number above 0, at most 1, is needed");

/** Keys that are read. Lengths are not: the caller decides how long a reply may be. */
const schema = object({
  do_sample: truth().nullish(),
  temperature: atLeastZero().nullish(),
  top_k: whole(0).nullish(),
  top_p: share().nullish(),
  min_p: numberWhere((value) => value >= 0 && value <= 1, "a number from 0 to 1 is needed").nullish(),
  typical_p: share().nullish(),
  repetition_penalty: positive().nullish(),
  eos_token_id: either(whole(0), list(whole(0)), "a token id or an array of them is needed").nullish(),
});

/**
 * @param json parsed generation_config.json, or undefined when the folder has none
 * @param file its path, for messages
 * @throws {CheckpointError} for a value that no sampler can use
 */
export function parseGenerationConfig(json: unknown, file: string): GenerationDefaults {
  const keys = checkJson(schema, json ?? {}, file);
  const eosIds = keys.eos_token_id ?? null;
  return {
    // "do_sample": false makes transformers greedy, whatever temperature stands beside it.
    temperature: keys.do_sample === false ? 0 : keys.temperature ?? null,
    topK: keys.top_k ?? null,
    topP: keys.top_p ?? null,
    minP: keys.min_p ?? null,
    typicalP: keys.typical_p ?? null,
    repetitionPenalty: keys.repetition_penalty ?? null,
    eosIds: typeof eosIds === "number" ? [eosIds] : eosIds,
  };
}
