/**
 * Log-probabilities as text completions tell them: columns instead of rows; and those of a prompt as vLLM
 * does.
 * @module
 */
import type { PromptTokenLogprob, TokenLogprob } from "../chat_reply.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** A column for each: tokens, what they and others had, and where they begin in the choice's text. */
export interface TextLogprobs {
  readonly tokens: readonly string[];
  readonly token_logprobs: readonly (number | null)[];
  readonly top_logprobs: readonly (Readonly<Record<string, number>> | null)[];
  readonly text_offset: readonly number[];
}

/** @param textLength characters of the choice before these tokens */
export function textLogprobs(logprobs: readonly TokenLogprob[], textLength: number): TextLogprobs {
  let offset = textLength;
  return {
    tokens: logprobs.map((one) => one.text),
    token_logprobs: logprobs.map((one) => one.logprob),
    top_logprobs: logprobs.map(topOf),
    text_offset: logprobs.map((one) => (offset += one.text.length) - one.text.length),
  };
}

/** Those of a prompt that is echoed; its first token has none. What is not echoed takes no place in the text. */
export function echoLogprobs(
  ids: ArrayLike<number>,
  logprobs: readonly (PromptTokenLogprob | null)[],
  tokenizer: Tokenizer,
): TextLogprobs {
  const tokens = Array.from(ids, (id) => tokenizer.tokenText(id));
  let offset = 0;
  return {
    tokens,
    token_logprobs: logprobs.map((one) => one && one.logprob),
    top_logprobs: logprobs.map((one) => one && topOf(one)),
    text_offset: tokens.map((text, i) => {
      const begin = offset;
      if (!tokenizer.isSpecial(ids[i])) offset += text.length;
      return begin;
    }),
  };
}

/** One after the other. */
export function joinLogprobs(first: TextLogprobs, second: TextLogprobs): TextLogprobs {
  return {
    tokens: [...first.tokens, ...second.tokens],
    token_logprobs: [...first.token_logprobs, ...second.token_logprobs],
    top_logprobs: [...first.top_logprobs, ...second.top_logprobs],
    text_offset: [...first.text_offset, ...second.text_offset],
  };
}

/** For each token of a prompt: what it and the likeliest had, by id; null for the first. */
export function promptLogprobs(logprobs: readonly (PromptTokenLogprob | null)[]): (object | null)[] {
  return logprobs.map((one) => {
    if (one === null) return null;
    const entry = ({ logprob, text }: Omit<TokenLogprob, "top">, rank: number) => ({
      logprob,
      rank,
      decoded_token: text,
    });
    const top = one.top.map((each, i) => [each.token, entry(each, i + 1)] as const);
    return Object.fromEntries([...top, [one.token, entry(one, one.rank)]]);
  });
}

function topOf({ top }: TokenLogprob): Readonly<Record<string, number>> {
  return Object.fromEntries(top.map((one) => [one.text, one.logprob]));
}
