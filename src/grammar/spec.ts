/**
 * What the Worker is told of a grammar: plain data, in the order in which a reply is written.
 * @module
 */

/** A grammar as a caller gives it. */
export type GrammarSource =
  | { readonly type: "jsonSchema"; readonly schema: unknown }
  | { readonly type: "jsonObject" }
  | { readonly type: "regex"; readonly pattern: string }
  | { readonly type: "grammar"; readonly text: string }
  | { readonly type: "choice"; readonly texts: readonly string[] };

/** A text, or the token that stands for it alone. */
export type Mark = { readonly text: string } | { readonly token: number };

/** What a reply has to be. */
export type GrammarSpec =
  | { readonly kind: "source"; readonly source: GrammarSource }
  /** The arguments of a tool; where its schema cannot be enforced any object will do. */
  | { readonly kind: "looseArguments"; readonly schema: unknown }
  /** The arguments of a tool, which follow its schema. */
  | { readonly kind: "strictArguments"; readonly schema: unknown }
  | { readonly kind: "mark"; readonly mark: Mark }
  /** Anything, and then the mark. */
  | { readonly kind: "until"; readonly mark: Mark }
  /** Anything but the mark. */
  | { readonly kind: "without"; readonly mark: Mark }
  /** At most so many line breaks. */
  | { readonly kind: "lineBreaks"; readonly most: number }
  | { readonly kind: "sequence"; readonly items: readonly GrammarSpec[] }
  | { readonly kind: "choice"; readonly items: readonly GrammarSpec[] }
  | {
    readonly kind: "repeat";
    readonly item: GrammarSpec;
    readonly min: number;
    readonly max: number | null;
  };

/** How long a thought may be, and what stands around it. */
export interface ThoughtLimit {
  /** Of the thought, without its marks. */
  readonly maxTokens: number;
  /** What opens it, at the beginning of the reply; null where the prompt has. */
  readonly opening: Mark | null;
  readonly closing: Mark;
  /** How the closing mark is written. */
  readonly closingTokens: readonly number[];
}
