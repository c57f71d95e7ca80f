/**
 * Checks of single options, whatever a caller without types or a JSON body gives.
 * @module
 */
import { RequestError } from "../errors.ts";

/** Range of a numeric option: the value must be whole where `whole` says so. */
export interface Range {
  readonly param: string;
  readonly least: number;
  readonly most: number;
  readonly whole: boolean;
  readonly default: number;
}

/** `value` is of any type: it may come from JSON or from a caller without types. */
export function checkNumber(value: unknown, range: Range): number {
  const { param, least, most, whole } = range;
  const isNumber = typeof value === "number" && value >= least && value <= most;
  if (!isNumber || (whole && !Number.isInteger(value))) {
    const kind = whole ? "a whole number" : "a number";
    throw new RequestError(
      `Cannot use ${param}: ${shown(value)} found, ${kind} from ${least} to ${most} needed`,
      {
        param,
      },
    );
  }
  return value + 0; // -0 becomes 0
}

export function checkBoolean(value: unknown, param: string): boolean {
  if (typeof value !== "boolean") {
    throw new RequestError(`Cannot use ${param}: ${shown(value)} found, true or false needed`, { param });
  }
  return value;
}

/** @returns undefined where there is none. What is no signal would fail only when the request has been sent. */
export function checkSignal(value: unknown): AbortSignal | undefined {
  if (value == null) return undefined;
  if (value instanceof AbortSignal) return value;
  throw new RequestError(`Cannot use signal: ${shown(value)} found, an AbortSignal needed`, {
    param: "signal",
  });
}

/** Options of a call that has few. @param known their names: one that is misspelt would be left out in silence */
export function checkOptions(options: unknown, known?: readonly string[]): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new RequestError(`Cannot use the options: ${shown(options)} found, an object needed`);
  }
  const wrong = known &&
    Object.entries(options).find(([name, value]) => value != null && !known.includes(name));
  if (wrong) {
    const [param] = wrong;
    throw new RequestError(`Cannot use ${param}: the options here are ${known.join(", ")}`, { param });
  }
}

/** A path, or a name. @param act that needs it, in the error. @throws {TypeError} it is none */
export function checkPath(value: unknown, act: string): void {
  if (typeof value === "string" && value !== "" && !value.includes("\0")) return;
  throw new TypeError(`Cannot ${act}: ${shown(value)} found, a path or a name needed`);
}

/** @returns a value for a message: short, whatever it is */
export function shown(value: unknown): string {
  if (typeof value === "number") return String(value);
  const text = typeof value === "string"
    ? JSON.stringify(value)
    : value === null
    ? "null"
    : Array.isArray(value)
    ? "a list"
    : typeof value;
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
