/**
 * How prompts share a step.
 * @module
 */
import type { Sequence } from "./sequence.ts";

/** The next `count` tokens of a sequence's prompt. */
export interface PromptShare {
  readonly sequence: Sequence;
  readonly count: number;
}

/**
 * Equal shares of the step's prompt tokens; what a short prompt leaves over goes to the others.
 * @param budget tokens
 * @param rows logits for those who want that of every token
 */
export function sharePrompts(
  sequences: readonly Sequence[],
  budget: number,
  rows: number,
  contextLength: number,
): PromptShare[] {
  const open = sequences.map((sequence) => ({
    sequence,
    most: Math.min(
      sequence.remaining - (isToBeShifted(sequence, contextLength) ? 1 : 0),
      sequence.stepTokens,
    ),
    count: 0,
  }));
  const wantRows = open.filter(({ sequence }) => sequence.task.kind === "logits" || sequence.wantsPrompt);
  const rowsEach = Math.max(1, Math.floor(rows / wantRows.length));
  for (const entry of wantRows) entry.most = Math.min(entry.most, rowsEach);

  let hungry = open;
  while (budget > 0 && hungry.length > 0) {
    const share = Math.max(1, Math.floor(budget / hungry.length));
    for (const entry of hungry) { // the oldest first, so that it gets something however small the budget
      const more = Math.min(share, budget, entry.most - entry.count);
      entry.count += more;
      budget -= more;
    }
    hungry = hungry.filter((entry) => entry.count < entry.most);
  }
  return open.filter(({ count }) => count > 0);
}

/** Its last token has no position yet. */
function isToBeShifted({ keepTokens, length }: Sequence, contextLength: number): boolean {
  return keepTokens !== null && length >= contextLength;
}
