/**
 * The sequences of a request: one, or as many as it wants choices, or one with a beam search.
 * @module
 */
import { RequestError, UnsupportedError } from "../errors.ts";
import { BeamSearch } from "./beam_search.ts";
import { checkBeam } from "./check_request.ts";
import { Family } from "./family.ts";
import type { Grammars, ReplyGuide } from "./grammars.ts";
import type { Sampling } from "./protocol.ts";
import type { Limits } from "./scheduler.ts";
import { type Names, Sequence, type Task } from "./sequence.ts";

/** What an engine has for them. */
export interface Room extends Pick<Limits, "maxSequences" | "maxQueue"> {
  readonly contextLength: number;
  /** Of the latent cache. */
  readonly nBlocks: number;
  /** Null as long as nobody has told the bytes of the tokens. */
  readonly grammars: Pick<Grammars, "guideOf"> | null;
}

/**
 * @param id of the first; those of the others follow
 * @throws {RequestError} for more choices, or beams, than ever find room
 */
export function sequencesOf(
  id: number,
  tokens: Int32Array,
  task: Task,
  nowMs: number,
  names: Names,
  limits: Room,
): Sequence[] {
  if (task.kind !== "generate") return [new Sequence(id, tokens, task, nowMs, names)];
  const { sampling } = task;
  const make = (choice: number, sampling: Sampling) => {
    const guide = guideOf(sampling, limits);
    return new Sequence(id + choice, tokens, { ...task, sampling }, nowMs, names, guide);
  };
  const first = make(0, sampling);
  if (sampling.beam !== null) {
    const maxTokens = checkBeam(tokens.length, sampling, limits.contextLength, limits.nBlocks);
    first.search = new BeamSearch(sampling.beam, maxTokens, first.stopIds);
    return [first];
  }
  if (sampling.n === 1) return [first];
  const most = limits.maxSequences + limits.maxQueue;
  if (sampling.n > most) {
    throw new RequestError(`Cannot write ${sampling.n} choices: at most ${most} sequences run and wait`, {
      param: "n",
    });
  }
  const family = new Family<Sequence>();
  const sequences = Array.from({ length: sampling.n }, (_, choice) => {
    // Two choices with one seed would be one choice.
    const seed = sampling.seed + (sampling.seed > 0 ? -choice : choice);
    return make(choice, { ...sampling, seed });
  });
  for (const sequence of sequences) {
    sequence.family = family;
    family.unborn.add(sequence);
  }
  return sequences;
}

function guideOf(sampling: Sampling, { grammars }: Room): ReplyGuide | null {
  if (sampling.grammar === null && sampling.thought === null) return null;
  if (grammars !== null) return grammars.guideOf(sampling);
  throw new UnsupportedError("Cannot follow a grammar: the bytes of the tokens are not known");
}
