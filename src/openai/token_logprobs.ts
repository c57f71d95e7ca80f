/**
 * Log-probabilities as chats and responses tell them: one entry a token, its likeliest rivals inside.
 * @module
 */
import type { ChatReply, ReplyPart, TokenLogprob } from "../chat_reply.ts";

const entry = ({ text, logprob, bytes }: Omit<TokenLogprob, "top">) => ({ token: text, logprob, bytes });

/** Entries of tokens, in order. */
export function tokenLogprobs(logprobs: readonly TokenLogprob[]): object[] {
  return logprobs.map((one) => ({ ...entry(one), top_logprobs: one.top.map(entry) }));
}

/**
 * Reads a reply to its end.
 * @param hidden parts whose tokens are left out: they would spell what is not shown
 * @returns the others' log-probabilities, by choice
 */
export async function logprobsOutside(
  hidden: readonly ReplyPart["type"][],
  reply: ChatReply,
): Promise<Map<number, TokenLogprob[]>> {
  const found = new Map<number, TokenLogprob[]>();
  for await (const { type, choice, logprobs = [] } of reply) {
    if (!hidden.includes(type)) found.set(choice, (found.get(choice) ?? []).concat(logprobs));
  }
  return found;
}
