/**
 * The caller's options of a beam search, checked and completed.
 * @module
 */
import { RequestError } from "../errors.ts";
import { checkNumber, type Range, shown } from "./option_checks.ts";
import type { Beam } from "./protocol.ts";

/** How to search. Hypotheses are scored as transformers does; parts of a reply come when the search has ended. */
export interface BeamOptions {
  /** Hypotheses that are continued together; 1 takes the likeliest token each time. */
  readonly width: number;
  /** Groups that are kept different from each other; each has width / groups hypotheses. 1 by default. */
  readonly groups?: number | null;
  /** Lowers ln p of a token for each hypothesis of an earlier group that takes it in the same step; 0 by default. */
  readonly diversityPenalty?: number | null;
  /**
   * A reply's score is its Σ ln p / length ** lengthPenalty, length with the token that ends it: 1, the
   * default, compares means, 0 sums; above 0 long replies are preferred, below 0 short ones.
   */
  readonly lengthPenalty?: number | null;
  /**
   * True ends the search once `width` replies have ended; false, the default, once none can be better that
   * ends now; "never" once none can be better at all.
   */
  readonly earlyStopping?: boolean | "never" | null;
}

const ranges = {
  width: { param: "beam", least: 1, most: 128, whole: true, default: NaN },
  groups: { param: "beam", least: 1, most: 128, whole: true, default: 1 },
  diversityPenalty: { param: "beam", least: 0, most: 100, whole: false, default: 0 },
  lengthPenalty: { param: "beam", least: -10, most: 10, whole: false, default: 1 },
} as const satisfies Record<string, Range>;

/** What is about tokens that are drawn, and the values that ask for nothing. */
const ofDrawing = {
  temperature: { param: "temperature", neutral: [0, 1] },
  topK: { param: "top_k", neutral: [0, -1] },
  topP: { param: "top_p", neutral: [1] },
  minP: { param: "min_p", neutral: [0] },
  typicalP: { param: "typical_p", neutral: [1] },
  speculative: { param: "speculative", neutral: ["none"] },
} as const;

/**
 * @param n sequences to return
 * @returns null where tokens are drawn, also for a width of 1: the likeliest each time
 * @throws {RequestError} naming the field, in the JSON API's spelling
 */
export function resolveBeam(
  options: BeamOptions | null,
  n: number,
  drawing: { readonly [Name in keyof typeof ofDrawing]?: unknown },
  maxTokens: number,
): Beam | null {
  if (options === null) return null;
  if (typeof options !== "object") refuse(`${shown(options)} found, an object with a width needed`);
  const unknown = Object.keys(options).find((key) => !Object.hasOwn(ranges, key) && key !== "earlyStopping");
  if (unknown !== undefined) {
    refuse(`${shown(unknown)} found, its options are ${Object.keys(ranges).join(", ")} and earlyStopping`);
  }
  if (options.width == null) refuse("no width found, one from 1 to 128 needed");
  const number = (name: keyof typeof ranges): number =>
    checkNumber(options[name] ?? ranges[name].default, ranges[name]);
  const width = number("width"), groups = number("groups");
  const earlyStopping = options.earlyStopping ?? false;
  if (typeof earlyStopping !== "boolean" && earlyStopping !== "never") {
    refuse(`early stopping ${shown(earlyStopping)} found, true, false or "never" needed`);
  }
  if (width % groups !== 0) refuse(`${groups} groups found, a divisor of the width (${width}) needed`);
  if (n > width) {
    throw new RequestError(`Cannot use n: ${n} found, at most the beam's width (${width}) needed`, {
      param: "n",
    });
  }
  if (maxTokens === 0) refuse("max_tokens is 0, at least 1 needed");
  for (const [name, { param, neutral }] of Object.entries(ofDrawing)) {
    const value = drawing[name as keyof typeof ofDrawing];
    if (value == null || (neutral as readonly unknown[]).includes(value)) continue;
    throw new RequestError(`Cannot use ${param} with beam: a search draws no tokens`, { param });
  }
  const rest = { diversityPenalty: number("diversityPenalty"), lengthPenalty: number("lengthPenalty") };
  return width === 1 ? null : { width, groups, earlyStopping, ...rest };
}

function refuse(problem: string): never {
  throw new RequestError(`Cannot use beam: ${problem}`, { param: "beam" });
}
