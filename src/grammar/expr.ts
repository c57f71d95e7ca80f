/**
 * What all kinds of grammar become first: expressions over characters, control tokens and rules.
 * @module
 */
import type { CharSet } from "./char_set.ts";
import type { Mark } from "./spec.ts";
import type { Terminal } from "./terminal.ts";

/** A language, as an expression. Expressions are never changed, so that parts may be shared. */
export type Expr =
  /** One character of a set. */
  | { readonly kind: "chars"; readonly set: CharSet }
  /** Bytes as they are. */
  | { readonly kind: "bytes"; readonly bytes: readonly number[] }
  | { readonly kind: "sequence"; readonly items: readonly Expr[] }
  | { readonly kind: "choice"; readonly items: readonly Expr[] }
  /** `max` may be Infinity. */
  | { readonly kind: "repeat"; readonly item: Expr; readonly min: number; readonly max: number }
  /** The beginning or the end of the whole text; only where all is one regular expression. */
  | { readonly kind: "edge"; readonly at: "start" | "end" }
  | { readonly kind: "rule"; readonly name: string }
  | { readonly kind: "terminal"; readonly terminal: Terminal };

/** Rules by name. */
export interface Rules {
  readonly rules: ReadonlyMap<string, Expr>;
  readonly root: string;
}

/** Matches the empty text alone. */
export const empty: Expr = { kind: "sequence", items: [] };
/** Matches nothing, not even the empty text. */
export const nothing: Expr = { kind: "choice", items: [] };

const utf8 = new TextEncoder();

export function text(characters: string): Expr {
  return characters === "" ? empty : { kind: "bytes", bytes: [...utf8.encode(characters)] };
}

export function sequence(...items: readonly Expr[]): Expr {
  const flat = items.flatMap((item) => item.kind === "sequence" ? item.items : [item]);
  return flat.length === 1 ? flat[0] : { kind: "sequence", items: flat };
}

export function choice(...items: readonly Expr[]): Expr {
  const flat = items.flatMap((item) => item.kind === "choice" ? item.items : [item]);
  return flat.length === 1 ? flat[0] : { kind: "choice", items: flat };
}

export function repeat(item: Expr, min: number, max: number): Expr {
  if (max <= 0) return empty;
  return min === 1 && max === 1 ? item : { kind: "repeat", item, min, max };
}

export const optional = (item: Expr): Expr => repeat(item, 0, 1);
export const chars = (set: CharSet): Expr => ({ kind: "chars", set });
export const rule = (name: string): Expr => ({ kind: "rule", name });
export const terminal = (terminal: Terminal): Expr => ({ kind: "terminal", terminal });

/** Never in UTF-8, so that what follows it cannot be text. */
export const tokenMark = 0xff;

/** How a control token is spelled, whatever its text: no text can be taken for it, nor it for text. */
export function tokenBytes(id: number): readonly number[] {
  return [tokenMark, id >>> 16, (id >>> 8) & 0xff, id & 0xff];
}

/** How a mark is spelled. */
export function markBytes(mark: Mark): readonly number[] {
  return "token" in mark ? tokenBytes(mark.token) : [...new TextEncoder().encode(mark.text)];
}
