/**
 * Prompts longer than the context, where the caller wants them shortened: of a chat the oldest turns go, of
 * other prompts the oldest tokens, after what is to stay. Half a context goes at a time and no less: a prompt
 * that lost a little more with each turn would begin otherwise each time, and nothing of it would be in the
 * cache.
 * @module
 */

/** Prompts beyond this many contexts are refused all the same: to encode them would take too long. */
export const mostContexts = 64;

/** Tokens of a reply in a context that is shifted, unless the caller wants more: it might never end. */
export function mostReplyTokens(contextLength: number): number {
  return 8 * contextLength;
}

/** @returns how many tokens two prompts begin with alike */
export function nAlike(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let count = 0;
  while (count < a.length && count < b.length && a[count] === b[count]) count++;
  return count;
}

/** What a prompt has to leave free. */
export interface Room {
  readonly contextLength: number;
  /** First tokens of the prompt that stay. */
  readonly keepTokens: number;
  readonly maxTokens: number;
}

/** @returns tokens that a prompt may have, with a quarter of the context left for the reply if that may be so long */
function roomOf({ contextLength, maxTokens }: Room): number {
  return contextLength - Math.max(1, Math.min(maxTokens, Math.floor(contextLength / 4)));
}

/** @returns how many tokens go, in whole halves of what may go */
function toDrop(nTokens: number, room: Room): number {
  const excess = nTokens - roomOf(room);
  if (excess <= 0) return 0;
  const half = Math.max(1, Math.floor((roomOf(room) - room.keepTokens) / 2));
  return Math.ceil(excess / half) * half;
}

/** @returns the tokens that fit: the first ones that stay, and the last ones */
export function fitTokens(tokens: ArrayLike<number>, room: Room): ArrayLike<number> {
  const dropped = toDrop(tokens.length, room);
  if (dropped === 0) return tokens;
  const all = Array.from(tokens);
  return [...all.slice(0, room.keepTokens), ...all.slice(room.keepTokens + dropped)];
}

/**
 * Drops whole turns, each a user's message and what followed it; system messages stay, and so does the last
 * turn.
 * @param nTokens of all messages as the template writes them
 * @param lengthOf about the tokens of a message
 * @returns the messages that are left; those that stay may still be too long
 */
export function fitMessages<Message extends { readonly role: string }>(
  messages: readonly Message[],
  nTokens: number,
  room: Room,
  lengthOf: (message: Message) => number,
): readonly Message[] {
  const most = toDrop(nTokens, room);
  if (most === 0) return messages;
  const firstTurn = messages.findIndex(({ role }) => role === "user");
  const lastTurn = messages.findLastIndex(({ role }) => role === "user");
  let end = firstTurn, dropped = 0;
  while (end < lastTurn && (dropped < most || messages[end].role !== "user")) {
    dropped += lengthOf(messages[end++]);
  }
  const stays = (message: Message, i: number) =>
    i < firstTurn || i >= end || message.role === "system" || message.role === "developer";
  return firstTurn < 0 ? messages : messages.filter(stays);
}
