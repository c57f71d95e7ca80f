/**
 * Keeps marks such as `</think>` apart from text that only looks like them. Where a tokenizer has the marks as tokens,
 * a model that writes them letter by letter speaks of them: inside of a tool's arguments, say. Such text is
 * covered, so that no parser takes it for a mark, and uncovered when it goes out.
 * @module
 */
import type { Tokenizer } from "./tokenizer.ts";

/** Marks begin with this. */
const edge = "<";
/** A noncharacter: Unicode keeps it out of text for interchange. */
const covered = `${edge}\ufdd0`;

export class MarkText {
  /** The tokens of marks, by id; null where a mark is no token, so that only its text tells it. */
  readonly #marks: ReadonlyMap<number, string> | null;
  /** Units of text that were written, and passed on. */
  #written = 0;
  #passed = 0;
  /** Where marks begin that were not passed on yet. */
  readonly #begins: number[] = [];

  /** @param texts what parsers look for; those that do not begin with `<` stand only behind such as do */
  constructor(tokenizer: Tokenizer, texts: readonly string[]) {
    const marks = new Map<number, string>();
    for (const text of texts.filter((each) => each.startsWith(edge))) {
      const [id, ...others] = tokenizer.splitAdded(text);
      if (typeof id === "number" && others.length === 0) marks.set(id, text);
      else {
        this.#marks = null;
        return;
      }
    }
    this.#marks = marks.size > 0 ? marks : null;
  }

  /** Notes what a token has added to the text. */
  note(token: number, piece: string): void {
    this.#written += piece.length;
    const mark = this.#marks?.get(token);
    if (mark !== undefined) this.#begins.push(this.#written - mark.length);
  }

  /** The next of the text that was noted, with all but its marks covered; it may come in other pieces. */
  pass(text: string): string {
    let passed = "", from = 0;
    for (let at = text.indexOf(edge); at >= 0; at = text.indexOf(edge, at + 1)) {
      const isMark = this.#begins[0] === this.#passed + at;
      if (isMark) this.#begins.shift();
      if (isMark || this.#marks === null) continue;
      passed += text.slice(from, at) + covered;
      from = at + edge.length;
    }
    this.#passed += text.length;
    return passed + text.slice(from);
  }

  /** The text as it was written. */
  uncover(text: string): string {
    return this.#marks === null ? text : text.replaceAll(covered, edge);
  }
}
