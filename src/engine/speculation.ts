/**
 * Speculative decoding (arXiv:2211.17192): something cheap guesses the next tokens of a sequence, and the
 * network computes them all in one step. A guess counts only where the network itself draws that token, with
 * the draw that it would have taken anyway, so guesses change how soon a reply comes and nothing else.
 * @module
 */
import type { LatentCache } from "../backend/backend.ts";
import { RequestError } from "../errors.ts";
import type { DraftModel } from "./draft_model.ts";
import { type Look, lookFurther } from "./look_further.ts";
import { Lookup } from "./lookup.ts";
import { type DraftCounts, type DraftKind, draftKinds } from "./protocol.ts";
import { guessingRows } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";
import type { PartStates, StepModel } from "./step.ts";

/** What became of all guesses of one kind. */
type KindCounts = { -readonly [K in keyof DraftCounts]: number } & { steps: number };

/** A sequence of the last step, and what the step kept of it. */
export interface Stepped {
  readonly sequence: Sequence;
  readonly states: PartStates | null;
  /** Nothing follows; what it leaves in the cache may be of use to others. */
  readonly isOver: boolean;
}

/** Makes the guesses of an engine's sequences, and counts what became of them. */
export class Speculation {
  readonly #model: StepModel;
  readonly #cache: LatentCache;
  readonly #contextLength: number;
  readonly #counts = Object.fromEntries(
    draftKinds.map((kind) => [kind, { drafted: 0, accepted: 0, steps: 0 }]),
  ) as Record<DraftKind, KindCounts>;
  readonly #lookups = new WeakMap<Sequence, Lookup>();
  #draftModel: DraftModel | null = null;

  constructor(model: StepModel, cache: LatentCache, contextLength: number) {
    this.#model = model;
    this.#cache = cache;
    this.#contextLength = contextLength;
  }

  /** @throws {RequestError} for guesses that this engine cannot make */
  check(kind: DraftKind): void {
    if (kind === "ngram" || (kind === "mtp" ? this.#model.mtp : this.#draftModel)) return;
    const missing = { mtp: "a layer for multi-token prediction", model: "a draft model" }[kind];
    throw new RequestError(`Cannot use speculative: "${kind}" found, but ${missing} is not loaded`, {
      param: "speculative",
    });
  }

  useDraftModel(draftModel: DraftModel): void {
    this.#draftModel = draftModel;
  }

  /** A sequence has ended. */
  forget(sequence: Sequence): void {
    if (sequence.draftKind === "model") this.#draftModel?.forget(sequence);
  }

  /**
   * Guesses what follows in sequences of the last step, before the next one begins.
   * @returns those for which it throws, and what: one sequence must not fail the others
   */
  propose(stepped: readonly Stepped[]): [Sequence, unknown][] {
    if (stepped.every(({ sequence, states }) => states === null && sequence.draftKind === null)) return [];
    return [
      ...each(stepped, (some) => this.#proposeByNetwork(some)),
      ...each(stepped, (some) => this.#proposeByModel(some)),
    ];
  }

  /** What came of a sequence's guesses. */
  judged(sequence: Sequence, drafted: number, accepted: number): void {
    sequence.drafts = [];
    if (drafted === 0) return;
    sequence.draftLength?.learn(drafted, accepted);
    sequence.drafted += drafted;
    sequence.accepted += accepted;
    const counts = this.#counts[sequence.draftKind!];
    counts.drafted += drafted;
    counts.accepted += accepted;
    counts.steps++;
  }

  /** @returns counts since the engine was made, of all kinds together and of each */
  counts(): KindCounts & { byKind: Record<DraftKind, KindCounts> } {
    const sum = (key: keyof KindCounts) =>
      draftKinds.reduce((total, kind) => total + this.#counts[kind][key], 0);
    return {
      drafted: sum("drafted"),
      accepted: sum("accepted"),
      steps: sum("steps"),
      byKind: structuredClone(this.#counts),
    };
  }

  /** Guesses of the network itself, and of what the text says already. */
  #proposeByNetwork(stepped: readonly Stepped[]): void {
    const looks: Look[] = [];
    for (const { sequence, states, isOver } of stepped) {
      const isAsked = states !== null || sequence.draftKind === "ngram";
      const most = isOver || !isAsked ? 0 : this.#most(sequence, stepped);
      if (states !== null) looks.push({ sequence, states, most });
      else if (most > 0) guess(sequence, this.#lookUp(sequence, most));
    }
    if (looks.length === 0) return;
    const { mtp, backend } = this.#model;
    const guesses = lookFurther(mtp!, backend, this.#cache, looks);
    for (const [i, { sequence }] of looks.entries()) guess(sequence, guesses[i]);
  }

  /** Guesses of a draft model; it comes last, since the others need the tensors of the last step. */
  #proposeByModel(stepped: readonly Stepped[]): void {
    const asks = stepped.filter(({ sequence, isOver }) =>
      !isOver && sequence.draftKind === "model" && sequence.draftLength !== null && sequence.blocks.length > 0
    ).map(({ sequence }) => ({ sequence, most: this.#most(sequence, stepped) }));
    if (asks.length === 0) return;
    const guesses = this.#draftModel!.guess(asks);
    for (const [i, { sequence, most }] of asks.entries()) if (most > 0) guess(sequence, guesses[i]);
  }

  #lookUp(sequence: Sequence, most: number): number[] {
    let lookup = this.#lookups.get(sequence);
    if (lookup === undefined) this.#lookups.set(sequence, lookup = new Lookup());
    return lookup.guess(sequence.tokens(0, sequence.length), most);
  }

  /** Guesses that a sequence wants now, of tokens after the next one that the reply can still have. */
  #most(
    { task, nGenerated, length, draftLength, isDecoding }: Sequence,
    stepped: readonly Stepped[],
  ): number {
    if (!isDecoding || draftLength === null || task.kind !== "generate") return 0;
    const others = stepped.filter(({ sequence, isOver }) => sequence.isDecoding && !isOver);
    const rows = guessingRows - others.length; // for more there is no place in the next step
    if (rows <= 0) return 0;
    const room = Math.min(task.sampling.maxTokens - nGenerated, this.#contextLength - length) - 1;
    return Math.min(draftLength.next(), rows, room);
  }
}

/** Gives a sequence its guesses, up to a token that ends the reply: the row after it would be for nobody. */
function guess(sequence: Sequence, guesses: readonly number[]): void {
  if (guesses.includes(-1)) sequence.isTainted = true; // by the layer for multi-token prediction
  const end = guesses.findIndex((token) => token < 0 || sequence.stopsAt(token));
  sequence.drafts = end < 0 ? guesses : guesses.slice(0, end);
}

/** Acts for all together, or, when that throws, for each alone. @returns those for which it throws */
function each(
  stepped: readonly Stepped[],
  act: (stepped: readonly Stepped[]) => void,
): [Sequence, unknown][] {
  try {
    act(stepped);
    return [];
  } catch (error) {
    if (stepped.length === 1) return [[stepped[0].sequence, error]];
    return stepped.flatMap((one) => each([one], act));
  }
}
