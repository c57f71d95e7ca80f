/**
 * POST /tokenize, /detokenize and /apply-template: what the model reads, without running it.
 * @module
 */
import { z } from "zod";
import { RequestError } from "../errors.ts";
import type { LanguageModel } from "../language_model.ts";
import { flag, optional, tokenId } from "./field_types.ts";
import { messagesOf, promptFields, promptOptions } from "./requests.ts";

/** POST /tokenize: a text, or the messages of a chat. */
export const tokenizeRequest = z.object({
  ...promptFields,
  model: optional(z.string()),
  content: optional(z.string()),
  prompt: optional(z.string()), // another word for content
  messages: optional(promptFields.messages),
  /** Begin with the token that texts begin with. */
  add_special: flag,
  add_special_tokens: flag, // another word for it
  /** Read control tokens that are written in the text; true by default, as elsewhere. */
  parse_special: flag,
  /** Tell the bytes of each token as well. */
  with_pieces: flag,
  /** The same, as vLLM names it. */
  return_token_strs: flag,
});

/** Token ids of a text or of a chat's prompt. */
export function tokenize(model: LanguageModel, body: z.output<typeof tokenizeRequest>): Response {
  const { tokenizer, info } = model;
  const ids = [...idsOf(model, body)];
  const texts = (isAsked: boolean | undefined) =>
    isAsked ? ids.map((id) => tokenizer.tokenText(id)) : undefined;
  return Response.json({
    tokens: ids,
    count: ids.length,
    max_model_len: info.contextLength,
    pieces: texts(body.with_pieces), // left out where it is undefined
    token_strs: texts(body.return_token_strs),
  });
}

function idsOf(model: LanguageModel, body: z.output<typeof tokenizeRequest>): readonly number[] {
  const { messages } = body;
  const { tokenizer } = model;
  const begins = body.add_special ?? body.add_special_tokens ?? false;
  const begun = (ids: readonly number[]) =>
    begins && tokenizer.bosId !== null ? [tokenizer.bosId, ...ids] : ids;
  if (messages !== undefined) {
    return begun(model.renderChat(messagesOf(messages), promptOptions({ ...body, messages })).tokens);
  }
  const text = body.content ?? body.prompt;
  if (text === undefined) {
    throw new RequestError("Cannot tokenize: content or messages are needed", { param: "content" });
  }
  return begun(tokenizer.encode(text, { special: body.parse_special ?? true }));
}

/** POST /detokenize */
export const detokenizeRequest = z.object({
  model: optional(z.string()),
  tokens: z.array(tokenId),
  skip_special_tokens: flag,
});

/** The text of token ids. */
export function detokenize(model: LanguageModel, body: z.output<typeof detokenizeRequest>): Response {
  const { tokenizer } = model;
  const wrong = body.tokens.find((id) => id < 0 || id >= tokenizer.vocabSize);
  if (wrong !== undefined) {
    const problem = `${wrong} found, ids from 0 to ${tokenizer.vocabSize - 1} are needed`;
    throw new RequestError(`Cannot detokenize: ${problem}`, { param: "tokens" });
  }
  const text = tokenizer.decode(body.tokens, { skipSpecial: body.skip_special_tokens ?? false });
  return Response.json({ content: text, prompt: text }); // the two names that clients read
}

/** POST /apply-template */
export const templateRequest = z.object({ ...promptFields, model: optional(z.string()) });

/** The prompt that a chat becomes. */
export function applyTemplate(model: LanguageModel, body: z.output<typeof templateRequest>): Response {
  return Response.json({ prompt: model.renderChat(messagesOf(body.messages), promptOptions(body)).text });
}
