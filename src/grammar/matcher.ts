/**
 * Where a sequence stands in its grammar.
 * @module
 */
import { RequestError } from "../errors.ts";
import type { Automaton, Position } from "./automaton.ts";
import type { TokenMasks } from "./token_masks.ts";
import type { TokenSet } from "./token_set.ts";

/** Follows one sequence. Its state is one reference, so that `copy` costs nothing. */
export class Matcher {
  readonly #automaton: Automaton;
  readonly #masks: TokenMasks;
  #position: Position;

  constructor(automaton: Automaton, masks: TokenMasks, position: Position = automaton.start) {
    this.#automaton = automaton;
    this.#masks = masks;
    this.#position = position;
  }

  /** Another sequence that stands here. */
  copy(): Matcher {
    return new Matcher(this.#automaton, this.#masks, this.#position);
  }

  /** The text may end here. */
  get accepts(): boolean {
    return this.#position.accepts;
  }

  /** The text ends here: nothing can follow. */
  get isFinished(): boolean {
    return this.#position.readings.length === 0;
  }

  /**
   * The tokens of text that may follow; those that end a reply are none of them.
   * @throws {RequestError} there are none, and the text may not end: the vocabulary cannot spell what is needed
   */
  allowed(): TokenSet {
    const allowed = this.#masks.allowed(this.#automaton, this.#position);
    if (allowed.ids === null || allowed.ids.length > 0 || this.accepts) return allowed;
    throw new RequestError("Cannot go on: no token of the vocabulary spells what the grammar needs here", {
      code: "grammar_not_spellable",
    });
  }

  /** Whether a token may follow; cheaper than `allowed` where all are not known yet. */
  allows(token: number): boolean {
    const bytes = this.#masks.vocabulary.bytesOf(token);
    return bytes.length > 0 && this.#read(bytes) !== null;
  }

  /** Takes a token that is allowed. */
  advance(token: number): void {
    const next = this.#read(this.#masks.vocabulary.bytesOf(token));
    if (next === null) throw new RangeError(`Cannot go on: the grammar does not allow token ${token}`);
    this.#position = next;
  }

  #read(bytes: ArrayLike<number>): Position | null {
    let position: Position | null = this.#position;
    for (let i = 0; i < bytes.length && position !== null; i++) {
      position = this.#automaton.step(position, bytes[i]);
    }
    return position;
  }
}
