/**
 * The grammars of an engine: each is compiled once and kept while it may be asked for again.
 * @module
 */
import { Automaton } from "../grammar/automaton.ts";
import { compileGrammar } from "../grammar/compile.ts";
import { Matcher } from "../grammar/matcher.ts";
import type { GrammarSpec } from "../grammar/spec.ts";
import { TokenMasks } from "../grammar/token_masks.ts";
import { Vocabulary, type VocabularyBytes } from "../grammar/vocabulary.ts";

/** Grammars that are kept: the choices of a request, and requests that repeat one, share theirs. */
const mostKept = 32;

export class Grammars {
  readonly #masks: TokenMasks;
  readonly #kept = new Map<string, Automaton>();

  constructor(vocabulary: VocabularyBytes) {
    this.#masks = new TokenMasks(new Vocabulary(vocabulary));
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
