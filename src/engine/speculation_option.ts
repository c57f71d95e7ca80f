/**
 * The option `speculative` in its forms, checked and completed.
 * @module
 */
import { RequestError } from "../errors.ts";
import { type DraftKind, draftKinds, type Speculation } from "./protocol.ts";

/**
 * What guesses the next tokens, so that the network computes several in one step. The reply stays the same.
 * "mtp" is the model's own layer for multi-token prediction, "ngram" looks for what followed the last tokens
 * earlier in the text, "model" and `{ model }` ask the smaller model that was loaded as `draftModel`.
 */
export type SpeculationOption =
  | "none"
  | DraftKind
  | { readonly type: "none" | DraftKind; readonly tokens?: number | null }
  | { readonly model: string; readonly tokens?: number | null };

/** Tokens guessed ahead unless the caller says: what is cheap to guess may go further. */
const defaultTokens: Readonly<Record<DraftKind, number>> = { mtp: 1, ngram: 7, model: 4 };
/** Most tokens guessed ahead. */
export const mostDrafts = 15;

/** @returns null for none. @throws {RequestError} for any other value */
export function resolveSpeculation(option: unknown): Speculation | null {
  const { type, model, tokens = null, ...others } = typeof option === "object" && option !== null
    ? option as Record<string, unknown>
    : { type: option };
  const kind = model === undefined ? type : "model";
  const isModel = model === undefined || (typeof model === "string" && (type === undefined || type === kind));
  if ((kind !== "none" && !isDraftKind(kind)) || !isModel || Object.keys(others).length > 0) {
    const forms = '"none", "mtp", "ngram", "model", { type, tokens } or { model, tokens } needed';
    throw new RequestError(`Cannot use speculative: ${forms}`, { param: "speculative" });
  }
  if (tokens !== null && !isCount(tokens)) {
    const needed = `a whole number from 1 to ${mostDrafts} needed`;
    throw new RequestError(`Cannot use speculative.tokens: ${needed}`, { param: "speculative" });
  }
  if (kind === "none") return null;
  return { kind, tokens: tokens ?? defaultTokens[kind] };
}

function isDraftKind(kind: unknown): kind is DraftKind {
  return draftKinds.some((known) => known === kind);
}

function isCount(tokens: unknown): tokens is number {
  return typeof tokens === "number" && Number.isInteger(tokens) && tokens >= 1 && tokens <= mostDrafts;
}

/** Whether a value is one of the option's forms. */
export function isSpeculation(option: unknown): option is SpeculationOption {
  try {
    resolveSpeculation(option);
    return true;
  } catch {
    return false;
  }
}

/** @returns the model that a checked option names, or null */
export function draftModelOf(option: SpeculationOption | null | undefined): string | null {
  return typeof option === "object" && option !== null && "model" in option ? option.model : null;
}
