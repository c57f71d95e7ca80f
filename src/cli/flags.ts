/**
 * Options of the API as words of a command line: `maxTokens` is `--max-tokens` there.
 * @module
 */
import { readFileSync } from "node:fs";

/**
 * What stands behind a flag: "text", "number", "count" (a whole number from 0), "texts" where it may come more than
 * once, "content" for a text or @FILE that has it, "json" for the same as JSON, nothing for a "switch".
 */
export type FlagKind = "text" | "texts" | "number" | "count" | "content" | "json" | "switch";

/** Flags by their names on the command line. */
export type Flags = Readonly<Record<string, FlagKind>>;

/** What `parseArgs` gives for them. */
export type FlagValues = Readonly<
  Record<string, string | boolean | readonly (string | boolean)[] | undefined>
>;

/** What one flag may be read as. */
type Value<K extends FlagKind> = K extends "text" | "content" ? string
  : K extends "texts" ? string[]
  : K extends "number" | "count" ? number
  : K extends "switch" ? boolean
  // deno-lint-ignore no-explicit-any -- whoever takes it checks it, as what any caller gives
  : any;

type Camel<S extends string> = S extends `${infer Head}-${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}`
  : S;

/** Flags as options of the API. */
export type Options<F extends Flags> = { [Name in keyof F & string as Camel<Name>]?: Value<F[Name]> };

/** @returns how `parseArgs` wants them */
export function forParseArgs(
  flags: Flags,
): Record<string, { type: "string" | "boolean"; multiple?: boolean; short?: string }> {
  return Object.fromEntries(
    Object.entries(flags).map(([name, kind]) => [name, {
      type: kind === "switch" ? "boolean" as const : "string" as const,
      ...(kind === "texts" ? { multiple: true } : {}),
      ...(name === "help" ? { short: "h" } : {}),
    }]),
  );
}

/**
 * @returns those that were given
 * @throws {Error} naming the flag, in one sentence
 */
export function readFlags<F extends Flags>(values: FlagValues, flags: F): Options<F> {
  const given = Object.entries(flags).filter(([name]) => values[name] !== undefined);
  return Object.fromEntries(
    given.map(([name, kind]) => [camelCase(name), readFlag(name, kind, values[name])]),
  ) as Options<F>;
}

function readFlag(name: string, kind: FlagKind, value: FlagValues[string]): unknown {
  const text = value as string;
  if (kind === "number") return numberOf(name, text);
  if (kind === "count") return wholeNumber(name, text, 0);
  if (kind === "content") return contentOf(name, text);
  if (kind === "json") {
    try {
      return JSON.parse(contentOf(name, text));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      throw new Error(`--${name}: this is no JSON (${error.message}), JSON or @FILE is needed`);
    }
  }
  return value;
}

function camelCase(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

function numberOf(name: string, text: string): number {
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return Number(text);
  throw new Error(`--${name}: "${text}" was given, a number is needed`);
}

/** @throws {Error} naming the flag */
export function wholeNumber(
  name: string,
  text: string,
  least: number,
  most = Number.MAX_SAFE_INTEGER,
): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (value >= least && value <= most) return value;
  throw new Error(`--${name}: "${text}" was given, a whole number from ${least} to ${most} is needed`);
}

function contentOf(name: string, text: string): string {
  if (!text.startsWith("@")) return text;
  try {
    return readFileSync(text.slice(1), "utf8");
  } catch (error) {
    throw new Error(`--${name}: ${text.slice(1)} cannot be read (${(error as Error).message})`);
  }
}
