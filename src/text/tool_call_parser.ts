/**
 * Tells the calls of tools from the text of a reply while it comes: a mark may come in pieces, and
 * arguments are passed on as they are written.
 * @module
 */
import { begunMark } from "./begun_mark.ts";
import type { ToolSyntax } from "./tool_syntax.ts";

/** Which call a piece of arguments belongs to. */
export interface CallStart {
  /** Of the reply's calls, from 0. */
  readonly index: number;
  /** As in the finished reply's `toolCalls`. */
  readonly id: string;
  /** The tool's. */
  readonly name: string;
}

/** A piece of text, or of the arguments of a call; a call's first piece is empty. */
export type ToolPart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "toolCall"; readonly text: string; readonly call: CallStart };

/** Where the reply stands. */
type State = "text" | "between calls" | "head" | "arguments";

/** A head is a name: one that does not end is no call. */
const longestHead = 512;

export class ToolCallParser {
  readonly #syntax: ToolSyntax;
  readonly #marks: ReadonlySet<string>;
  readonly #newId: () => string;
  #state: State = "text";
  #held = "";
  #call: CallStart | null = null;
  #nCalls = 0;
  #hasArguments = false;

  /** @param newId names a call where the model does not */
  constructor(syntax: ToolSyntax, newId: () => string) {
    this.#syntax = syntax;
    this.#marks = new Set([syntax.begin, syntax.callBegin]);
    this.#newId = newId;
  }

  /** Calls that have ended. */
  get nEnded(): number {
    return this.#nCalls;
  }

  /** What comes next belongs to a call, or to the marks around calls. */
  get isInCalls(): boolean {
    return this.#state !== "text";
  }

  /** The text of a token that stands around calls. */
  isMark(text: string): boolean {
    return this.#marks.has(text);
  }

  /** The parts that are certain after one more piece of text, in order. */
  push(text: string): ToolPart[] {
    const parts: ToolPart[] = [];
    this.#held += text;
    while (this.#advance(parts));
    return parts;
  }

  /** What was held back, when no more follows; of a call whose name is not whole there is nothing to tell. */
  end(): ToolPart[] {
    const held = this.#held;
    this.#held = "";
    switch (this.#state) {
      case "between calls":
      case "head":
        return [];
      case "arguments":
        return this.#argumentsPart(withoutFence(this.#syntax, held));
      default:
        return held === "" ? [] : [{ type: "text", text: held }];
    }
  }

  /** Takes from the held text what the state allows. @returns whether the state has changed */
  #advance(parts: ToolPart[]): boolean {
    const { begin, callBegin, callEnd, end } = this.#syntax;
    switch (this.#state) {
      case "text": {
        const { before, mark } = this.#cut([begin, callBegin]);
        // White space before the calls is theirs, so it waits for what follows.
        const text = mark === null ? this.#holdBack(before, /\s{0,32}$/) : before.trimEnd();
        if (text !== "") parts.push({ type: "text", text });
        return mark !== null && this.#enter(mark === begin ? "between calls" : "head");
      }
      case "between calls": {
        const { mark } = this.#cut([callBegin, end]);
        return mark !== null && this.#enter(mark === end ? "text" : "head");
      }
      case "head":
        return this.#advanceHead(parts);
      case "arguments": {
        const { before, mark } = this.#cut([callEnd]);
        const isEnd = mark !== null;
        const text = isEnd
          ? withoutFence(this.#syntax, before)
          : this.#holdBack(before, this.#syntax.isFenced ? /\s{0,32}`{0,3}\s{0,8}$/ : /\s{0,32}$/);
        parts.push(...this.#argumentsPart(text));
        if (isEnd) this.#nCalls++;
        return isEnd && this.#enter("between calls");
      }
    }
  }

  #advanceHead(parts: ToolPart[]): boolean {
    const { headEnd, callBegin, nameAfter, hasIds } = this.#syntax;
    const at = this.#held.indexOf(headEnd);
    if (at < 0) {
      if (this.#held.length <= longestHead) return false;
      this.#held = callBegin + this.#held;
      parts.push({ type: "text", text: this.#held });
      this.#held = "";
      return this.#enter("text");
    }
    const head = this.#held.slice(0, at).trim();
    this.#held = this.#held.slice(at + headEnd.length);
    const named = head.slice(head.indexOf(nameAfter) < 0 ? 0 : head.indexOf(nameAfter) + nameAfter.length);
    const name = hasIds ? named.replace(/:\d+$/, "") : named.trim();
    this.#call = { index: this.#nCalls, id: hasIds ? head : this.#newId(), name };
    this.#hasArguments = false;
    parts.push({ type: "toolCall", text: "", call: this.#call });
    return this.#enter("arguments");
  }

  #argumentsPart(text: string): ToolPart[] {
    const piece = this.#hasArguments ? text : text.trimStart();
    if (piece === "") return [];
    this.#hasArguments = true;
    return [{ type: "toolCall", text: piece, call: this.#call! }];
  }

  #enter(state: State): true {
    this.#state = state;
    return true;
  }

  /** Splits the held text at the first of the marks; without one, before what may begin one. */
  #cut(marks: readonly string[]): { before: string; mark: string | null } {
    const held = this.#held;
    let found = held.length, mark: string | null = null;
    for (const each of marks) {
      const at = held.indexOf(each);
      if (at >= 0 && at < found) [found, mark] = [at, each];
    }
    const end = mark === null ? held.length - Math.max(...marks.map((each) => begunMark(held, each))) : found;
    this.#held = held.slice(mark === null ? end : end + mark.length);
    return { before: held.slice(0, end), mark };
  }

  /** Keeps the end of a text that nothing certain can be said of yet. @returns the rest */
  #holdBack(text: string, uncertain: RegExp): string {
    const kept = text.search(uncertain);
    this.#held = text.slice(kept) + this.#held;
    return text.slice(0, kept);
  }
}

function withoutFence({ isFenced }: ToolSyntax, text: string): string {
  const trimmed = text.trimEnd();
  return isFenced ? trimmed.replace(/\s*`{0,3}$/, "") : trimmed;
}
