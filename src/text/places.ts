/**
 * Places in messages that are found again in what a template made of them: a character that nobody writes
 * goes in, and where it comes out is the place, whatever the template did around it.
 * @module
 */
import { joinSegments, type Segment } from "./segments.ts";

/** The end of the last message; the space tells whether the template trims what follows. */
export const endOfLast = "\ufdd1 ";
/** Where the description of the tools belongs. */
export const toolsPlace = "\ufdd2";

/**
 * The segments before the last {@linkcode endOfLast}; a template that trims the message's end trims it here
 * too.
 * @returns null where the template left the place out
 */
export function upToEnd(segments: readonly Segment[]): Segment[] | null {
  const whole = joinSegments(segments), at = whole.lastIndexOf(endOfLast[0]);
  if (at < 0) return null;
  const isTrimmed = !whole.startsWith(endOfLast, at);
  let left = isTrimmed ? whole.slice(0, at).trimEnd().length : at;
  return segments.map((segment) => {
    const kept = segment.text.slice(0, left);
    left -= kept.length;
    return { ...segment, text: kept };
  }).filter((segment) => segment.text !== "");
}

/** The segments with others in the first {@linkcode toolsPlace}; null where the template left it out. */
export function withTools(segments: readonly Segment[], tools: readonly Segment[]): Segment[] | null {
  const i = segments.findIndex(({ text }) => text.includes(toolsPlace));
  if (i < 0) return null;
  const { text, special } = segments[i], at = text.indexOf(toolsPlace);
  const before = { text: text.slice(0, at), special };
  const after = { text: text.slice(at + toolsPlace.length), special };
  return [...segments.slice(0, i), before, ...tools, after, ...segments.slice(i + 1)];
}
