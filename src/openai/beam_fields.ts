/**
 * How a request asks for a beam search: `beam` with its options, or the words of vLLM's API.
 * @module
 */
import { z } from "zod";
import type { BeamOptions } from "../engine/beam_options.ts";
import { RequestError } from "../errors.ts";
import { optional } from "./field_types.ts";

const earlyStopping = optional(
  z.union([z.boolean(), z.literal("never")], 'true, false or "never" is needed'),
);
const lengthPenalty = optional(z.number().meta({ minimum: -10, maximum: 10 }));

/** Fields of requests for text. */
export const beamFields = {
  beam: optional(z.strictObject({
    width: z.int().meta({ minimum: 1, maximum: 128 }),
    groups: optional(z.int().meta({ minimum: 1, maximum: 128 })),
    diversity_penalty: optional(z.number().meta({ minimum: 0, maximum: 100 })),
    length_penalty: lengthPenalty,
    early_stopping: earlyStopping,
  })),
  use_beam_search: optional(z.boolean()),
  best_of: optional(z.int().meta({ minimum: 1, maximum: 128 })),
  length_penalty: lengthPenalty,
  early_stopping: earlyStopping,
};

type BeamFields = { readonly [Name in keyof typeof beamFields]?: z.output<typeof beamFields[Name]> };

/**
 * With use_beam_search, best_of (or else n) is the width.
 * @throws {RequestError} for a field that means something only beside another
 */
export function beamOptions(
  body: BeamFields & { readonly n?: number },
): { readonly beam?: BeamOptions; readonly bestOf?: number } {
  const { beam, use_beam_search: isSearch, best_of: bestOf, length_penalty, early_stopping } = body;
  const refuse = (param: string, problem: string): never => {
    throw new RequestError(`Cannot use ${param}: ${problem}`, { param });
  };
  if (isSearch) {
    if (beam !== undefined) refuse("use_beam_search", "beam says the same, one of them is needed");
    const width = bestOf ?? body.n ?? 1;
    return { beam: { width, lengthPenalty: length_penalty, earlyStopping: early_stopping } };
  }
  if (length_penalty !== undefined && length_penalty !== 1) {
    refuse("length_penalty", "it is for use_beam_search; beam has one of its own");
  }
  if (early_stopping !== undefined && early_stopping !== false) {
    refuse("early_stopping", "it is for use_beam_search; beam has one of its own");
  }
  if (beam === undefined) return { bestOf };
  const { width, groups, diversity_penalty: diversityPenalty } = beam;
  return {
    bestOf,
    beam: {
      width,
      groups,
      diversityPenalty,
      lengthPenalty: beam.length_penalty,
      earlyStopping: beam.early_stopping,
    },
  };
}
