/**
 * Text that came together is told together: an event for each token of a fast model costs the server, and whoever
 * parses it, more than the token.
 * @module
 */
import type { ReplyPart } from "../chat_reply.ts";

/** Calls keep their pieces, and tokens their log-probabilities. */
const isPlain = ({ type, logprobs, promptLogprobs }: ReplyPart): boolean =>
  type !== "toolCall" && logprobs === undefined && promptLogprobs === undefined;

/** The parts of a batch, those of one text that follow one another as one. */
export function joined(parts: readonly ReplyPart[]): ReplyPart[] {
  const runs: ReplyPart[][] = [];
  for (const part of parts) {
    const run = runs.at(-1), before = run?.[0];
    const goesOn = before?.type === part.type && before.choice === part.choice;
    if (goesOn && isPlain(before) && isPlain(part)) run!.push(part);
    else runs.push([part]);
  }
  return runs.map((run): ReplyPart =>
    run.length === 1 ? run[0] : {
      ...run[0],
      text: run.map(({ text }) => text).join(""),
      tokens: run.flatMap(({ tokens }) => tokens),
    }
  );
}
