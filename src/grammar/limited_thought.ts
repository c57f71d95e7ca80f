/**
 * A thought that may have so many tokens: when they are written, its closing mark follows, whatever the model would
 * rather write. Before and after the thought a reply is as free, or as bound to its grammar, as without a limit.
 * @module
 */
import type { Dfa } from "./dfa.ts";
import { markBytes } from "./expr.ts";
import { freeText } from "./free_text.ts";
import type { Matcher } from "./matcher.ts";
import type { ThoughtLimit } from "./spec.ts";
import type { TokenSet } from "./token_set.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** A limit and what is found of its marks once: the sequences of a request share it. */
export interface LimitedMarks {
  readonly limit: ThoughtLimit;
  /** Bytes, as grammars read them. */
  readonly opening: readonly number[] | null;
  /** Ends where the closing mark does. */
  readonly untilClosing: Dfa;
}

/** Reads the marks of a limit. */
export function limitedMarks(limit: ThoughtLimit): LimitedMarks {
  const { opening, closing } = limit;
  return {
    limit,
    opening: opening && markBytes(opening),
    untilClosing: freeText(markBytes(closing), true),
  };
}

/** Where the reply stands; `at` counts the bytes of the opening mark, and then states, tokens and so on. */
type Stage =
  /** White space and the opening mark, or an answer without a thought. */
  | { readonly name: "before"; readonly at: number }
  | { readonly name: "within"; readonly state: number; readonly nTokens: number }
  /** The closing mark is written, whose token `at` comes next. */
  | { readonly name: "closing"; readonly at: number }
  | { readonly name: "after" };

const isSpace = (byte: number) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);

/** Follows one sequence, as a `Matcher` does; `copy` costs as little. */
export class LimitedThought {
  readonly #marks: LimitedMarks;
  readonly #vocabulary: Vocabulary;
  /** What the reply has to be as a whole; null for anything. */
  readonly #grammar: Matcher | null;
  #stage: Stage;

  constructor(marks: LimitedMarks, vocabulary: Vocabulary, grammar: Matcher | null) {
    this.#marks = marks;
    this.#vocabulary = vocabulary;
    this.#grammar = grammar;
    this.#stage = marks.opening === null ? this.#enter() : { name: "before", at: 0 };
  }

  /** Another sequence that stands here. */
  copy(): LimitedThought {
    const copy = new LimitedThought(this.#marks, this.#vocabulary, this.#grammar && this.#grammar.copy());
    copy.#stage = this.#stage;
    return copy;
  }

  /** The text may end here: never between the tokens of a mark. */
  get accepts(): boolean {
    return this.#stage.name !== "closing" && (this.#grammar?.accepts ?? true);
  }

  /** The text ends here: nothing can follow. */
  get isFinished(): boolean {
    return this.#grammar?.isFinished ?? false;
  }

  /**
   * The tokens of text that may follow; null for all.
   * @throws {RequestError} as `Matcher` does
   */
  allowed(): TokenSet | null {
    if (this.#stage.name !== "closing") return this.#grammar && this.#grammar.allowed();
    return { ids: Int32Array.of(this.#marks.limit.closingTokens[this.#stage.at]), words: null };
  }

  /** Whether a token may follow. */
  allows(token: number): boolean {
    const stage = this.#stage;
    if (stage.name === "closing") return token === this.#marks.limit.closingTokens[stage.at];
    return this.#grammar?.allows(token) ?? true;
  }

  /** Takes a token that is allowed. */
  advance(token: number): void {
    this.#grammar?.advance(token);
    this.#stage = this.#next(this.#stage, this.#vocabulary.bytesOf(token));
  }

  #next(stage: Stage, bytes: ArrayLike<number>): Stage {
    switch (stage.name) {
      case "before":
        return this.#readOpening(stage.at, bytes);
      case "within":
        return this.#readThought(stage.state, bytes, 0, stage.nTokens + 1);
      case "closing": {
        const at = stage.at + 1;
        return at < this.#marks.limit.closingTokens.length ? { name: "closing", at } : { name: "after" };
      }
      case "after":
        return stage;
    }
  }

  #readOpening(from: number, bytes: ArrayLike<number>): Stage {
    const opening = this.#marks.opening!;
    let at = from;
    for (let i = 0; i < bytes.length; i++) {
      if (at === 0 && isSpace(bytes[i])) continue;
      if (bytes[i] !== opening[at]) return { name: "after" };
      // What of the thought came with the mark's last token is no token of its own.
      if (++at === opening.length) return this.#readThought(this.#marks.untilClosing.start, bytes, i + 1, 0);
    }
    return { name: "before", at };
  }

  #readThought(from: number, bytes: ArrayLike<number>, first: number, nTokens: number): Stage {
    const { untilClosing } = this.#marks;
    let state = from;
    for (let i = first; i < bytes.length; i++) {
      state = untilClosing.step(state, bytes[i]);
      if (untilClosing.accepts(state)) return { name: "after" };
    }
    return this.#enter(state, nTokens);
  }

  #enter(state = this.#marks.untilClosing.start, nTokens = 0): Stage {
    const isFull = nTokens >= this.#marks.limit.maxTokens;
    return isFull ? { name: "closing", at: 0 } : { name: "within", state, nTokens };
  }
}
