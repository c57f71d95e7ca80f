/**
 * The grammars of an engine: each is compiled once and kept while it may be asked for again.
 * @module
 */
import { Automaton } from "../grammar/automaton.ts";
import { compileGrammar } from "../grammar/compile.ts";
import { limitedMarks, LimitedThought } from "../grammar/limited_thought.ts";
import { Matcher } from "../grammar/matcher.ts";
import type { GrammarSpec } from "../grammar/spec.ts";
import { TokenMasks } from "../grammar/token_masks.ts";
import { Vocabulary, type VocabularyBytes } from "../grammar/vocabulary.ts";
import type { Sampling } from "./protocol.ts";

/** Grammars that are kept: the choices of a request, and requests that repeat one, share theirs. */
const mostKept = 32;

/** What says which tokens may come next in a sequence. */
export type ReplyGuide = Matcher | LimitedThought;

export class Grammars {
  readonly #vocabulary: Vocabulary;
  readonly #masks: TokenMasks;
  readonly #kept = new Map<string, Automaton>();

  constructor(vocabulary: VocabularyBytes) {
    this.#vocabulary = new Vocabulary(vocabulary);
    this.#masks = new TokenMasks(this.#vocabulary);
  }

  /**
   * What a sequence is to follow.
   * @returns null where it may be anything
   * @throws {RequestError} the grammar cannot be followed
   */
  guideOf({ grammar, thought }: Pick<Sampling, "grammar" | "thought">): ReplyGuide | null {
    const matcher = grammar && this.matcherOf(grammar);
    return thought === null ? matcher : new LimitedThought(limitedMarks(thought), this.#vocabulary, matcher);
  }

  /** @throws {RequestError} the grammar cannot be followed */
  matcherOf(spec: GrammarSpec): Matcher {
    const key = JSON.stringify(spec);
    const automaton = this.#kept.get(key) ?? new Automaton(compileGrammar(spec));
    // The one that was asked for last goes last.
    this.#kept.delete(key);
    this.#kept.set(key, automaton);
    if (this.#kept.size > mostKept) this.#kept.delete(this.#kept.keys().next().value!);
    return new Matcher(automaton, this.#masks);
  }
}
