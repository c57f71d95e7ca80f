/**
 * Splits the text of a reasoning model into what it thought and what it answers, while it comes. The
 * thought stands between `<think>` and `</think>`, once, at the beginning; some templates put the
 * opening tag into the prompt, so that the reply begins inside. A tag may come in pieces.
 * @module
 */
import { begunMark } from "./begun_mark.ts";

/** A piece of a reply. */
export interface Part {
  readonly type: "reasoning" | "text";
  readonly text: string;
}

export interface ReplyParserOptions {
  /** False: the model does not reason, and all is text, tags too. */
  readonly thinking: boolean;
  /** The prompt has opened the thought. */
  readonly startsInThinking: boolean;
  /** The prompt has written a part of the thought: what comes next is the rest of it, white space too. */
  readonly continuesThought?: boolean;
}

/** Around a thought. */
export const thinkingTags = { opening: "<think>", closing: "</think>" } as const;
const { opening, closing } = thinkingTags;

/** White space that may be a tag's waits for the tag, but no more than this of it. */
const maxHeldSpace = 32;

/** Where the reply stands. */
type State =
  /** White space, then a thought or the answer. */
  | "start"
  /** The prompt has opened the thought, and the model may do it again. */
  | "opened"
  /** White space that is the opening tag's, not the thought's. */
  | "thought start"
  | "thought"
  /** White space that is the closing tag's. */
  | "thought end"
  | "answer";

export class ReplyParser {
  #state: State;
  #held = "";

  constructor(options: ReplyParserOptions) {
    if (!options.thinking) this.#state = "answer";
    else if (options.continuesThought) this.#state = "thought";
    else this.#state = options.startsInThinking ? "opened" : "start";
  }

  /** The parts that are certain after one more piece of text, in order; often one, none empty. */
  push(text: string): Part[] {
    const parts: Part[] = [];
    this.#held += text;
    while (this.#advance(parts));
    return parts;
  }

  /** What was held back, when no more follows. */
  end(): Part[] {
    const held = this.#held;
    this.#held = "";
    const isAnswer = this.#state === "start" || this.#state === "answer";
    return isAnswer ? piece("text", held) : piece("reasoning", held.trimEnd());
  }

  /** Takes from the held text what the state allows. @returns whether the state has changed */
  #advance(parts: Part[]): boolean {
    const held = this.#held;
    if (this.#state === "answer") {
      parts.push(...piece("text", held));
      this.#held = "";
      return false;
    }
    const begun = held.trimStart();
    switch (this.#state) {
      case "start": {
        const isAnswer = held.length - begun.length > maxHeldSpace || !mayOpen(begun);
        if (isAnswer) return this.#enter("answer", held);
        return begun.startsWith(opening) && this.#enter("thought start", begun.slice(opening.length));
      }
      case "opened":
        this.#held = begun;
        if (!mayOpen(begun)) return this.#enter("thought start", begun);
        return begun.startsWith(opening) && this.#enter("thought start", begun.slice(opening.length));
      case "thought start":
        this.#held = begun;
        return begun !== "" && this.#enter("thought", begun);
      case "thought":
        return this.#advanceThought(parts);
      case "thought end":
        this.#held = begun;
        return begun !== "" && this.#enter("answer", begun);
    }
  }

  #advanceThought(parts: Part[]): boolean {
    const held = this.#held;
    const found = held.indexOf(closing);
    const untagged = found >= 0 ? found : held.length - begunMark(held, closing);
    // White space waits: it may stand before the closing tag, and is then the tag's.
    const certain = Math.max(held.slice(0, untagged).trimEnd().length, untagged - maxHeldSpace);
    parts.push(...piece("reasoning", held.slice(0, certain)));
    if (found >= 0) return this.#enter("thought end", held.slice(found + closing.length));
    this.#held = held.slice(certain);
    return false;
  }

  #enter(state: State, held: string): true {
    this.#state = state;
    this.#held = held;
    return true;
  }
}

const piece = (type: Part["type"], text: string): Part[] => (text === "" ? [] : [{ type, text }]);

/** The text begins with the opening tag, or may do so when more has come. */
const mayOpen = (text: string): boolean => text.startsWith(opening) || opening.startsWith(text);
