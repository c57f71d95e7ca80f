/**
 * What a value from outside must be, said once: the number kinds and shapes of a model's JSON files and of
 * options, each with the sentence that refuses anything else. A page of our own instead of zod, which the
 * HTTP API uses: its 130 files take longer to import than a model takes to open.
 * @module
 */
import { CheckpointError } from "../errors.ts";

/** The first thing that is wrong with a value. */
export class Fault extends Error {
  /** Keys and indices from the whole to it. */
  readonly path: (string | number)[] = [];
  readonly input: unknown;

  /** @param message what is needed instead */
  constructor(input: unknown, message: string) {
    super(message);
    this.input = input;
  }
}

/** What a value must be. */
export class Check<T> {
  /** @returns the value, of objects a copy with the known keys. @throws {Fault} */
  readonly read: (value: unknown) => T;

  constructor(read: (value: unknown) => T) {
    this.read = read;
  }

  /** Or null. */
  nullable(): Check<T | null> {
    return new Check((value) => value === null ? null : this.read(value));
  }

  /** Or missing. */
  optional(): Check<T | undefined> {
    return new Check((value) => value === undefined ? undefined : this.read(value));
  }

  /** Or null, or missing. */
  nullish(): Check<T | null | undefined> {
    return this.nullable().optional();
  }
}

/** What a check lets through. */
export type Checked<C> = C extends Check<infer T> ? T : never;

/** Sizes cross to kernels as i32. */
export const largestSize: number = 2 ** 31 - 1;

/** A value that `isRight` says yes to. @param needed the sentence for others */
export function where<T>(isRight: (value: unknown) => value is T, needed: string): Check<T> {
  return new Check((value) => {
    if (isRight(value)) return value;
    throw new Fault(value, needed);
  });
}

/** A finite number, which JSON.parse does not make of 1e400, that `isRight` says yes to. */
export function numberWhere(isRight: (value: number) => boolean, needed: string): Check<number> {
  return where((value): value is number => Number.isFinite(value) && isRight(value as number), needed);
}

/** A whole number in a range. */
export function whole(least: number, most = largestSize): Check<number> {
  return numberWhere(
    (value) => Number.isInteger(value) && value >= least && value <= most,
    `a whole number from ${least} to ${most} is needed`,
  );
}

/** A finite number above zero. */
export function positive(): Check<number> {
  return numberWhere((value) => value > 0, "a number above 0 is needed");
}

/** A finite number from zero. */
export function atLeastZero(): Check<number> {
  return numberWhere((value) => value >= 0, "a number from 0 is needed");
}

/** Any finite number. */
export function finite(): Check<number> {
  return numberWhere(() => true, "a number is needed");
}

/** A string. */
export function text(): Check<string> {
  return where((value): value is string => typeof value === "string", "a string is needed");
}

/** True or false, nothing that counts as one of them. */
export function truth(): Check<boolean> {
  return where((value): value is boolean => typeof value === "boolean", "true or false is needed");
}

/** One of these words. */
export function oneOf<const T extends string>(...words: readonly T[]): Check<T> {
  const isOne = (value: unknown): value is T => words.some((word) => word === value);
  return where(isOne, `one of ${words.map((word) => `"${word}"`).join(", ")} is needed`);
}

/** Whatever is there, or nothing. */
export function anything(): Check<unknown> {
  return new Check((value) => value);
}

/** An array, all of one kind. @param needed the sentence for what is none */
export function list<T>(of: Check<T>, needed = "an array is needed"): Check<T[]> {
  return new Check((value) => {
    if (!Array.isArray(value)) throw new Fault(value, needed);
    return value.map((item, i) => readAt(i, of, item));
  });
}

/** The first of two kinds that fits. @param needed the sentence for what is neither */
export function either<A, B>(one: Check<A>, other: Check<B>, needed: string): Check<A | B> {
  return new Check((value) => {
    for (const kind of [one, other]) {
      try {
        return kind.read(value);
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
      }
    }
    throw new Fault(value, needed);
  });
}

function readAt<T>(key: string | number, check: Check<T>, value: unknown): T {
  try {
    return check.read(value);
  } catch (error) {
    if (error instanceof Fault) error.path.unshift(key);
    throw error;
  }
}

/** What the fields of an object are. */
type Fields = Readonly<Record<string, Check<unknown>>>;
type Values<F extends Fields> = { -readonly [K in keyof F]: Checked<F[K]> };

/** An object with these keys; others are passed over. */
export function object<F extends Fields>(fields: F, needed = "an object is needed"): Check<Values<F>> {
  const checks = Object.entries(fields);
  return new Check((value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new Fault(value, needed);
    }
    const given = value as Record<string, unknown>;
    return Object.fromEntries(checks.map(([key, check]) => [key, readAt(key, check, given[key])])) as Values<
      F
    >;
  });
}

/** As `object`, and no other keys. */
export function exactly<F extends Fields>(fields: F): Check<Values<F>> {
  const known = object(fields);
  return new Check((value) => {
    const checked = known.read(value);
    const unknown = Object.keys(value as object).find((key) => !Object.hasOwn(fields, key));
    if (unknown === undefined) return checked;
    const fault = new Fault(undefined, `known are ${Object.keys(fields).join(", ")}`);
    fault.path.push(unknown);
    throw fault;
  });
}

/** As `exactly`, each key or none. */
export function onlyThese<F extends Fields>(fields: F): Check<Partial<Values<F>>> {
  const optional = Object.entries(fields).map(([key, check]) => [key, check.optional()]);
  return exactly(Object.fromEntries(optional)) as Check<Partial<Values<F>>>;
}

/**
 * @param under the key that holds `json`, when it is not the whole file
 * @throws {CheckpointError} naming the first key at fault, what it is and what it should be
 */
export function checkJson<T>(check: Check<T>, json: unknown, file: string, under?: string): T {
  try {
    return check.read(json);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const { path, input, message } = error;
    const key = [...(under === undefined ? [] : [under]), ...path].join(".");
    if (path.length > 0) throw new CheckpointError(file, `${key} is ${show(input)}, ${message}`);
    throw new CheckpointError(file, `${key || "it"} is ${show(input)}, a JSON object is needed`);
  }
}

/**
 * A caller's options.
 * @throws {TypeError} naming the option
 */
export function checkOptions<T>(check: Check<T>, options: unknown): T {
  try {
    return check.read(options);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const { path, message } = error;
    throw new TypeError(
      path.length > 0
        ? `Cannot use the option ${path.join(".")}: ${message}`
        : `Cannot use the options: ${message}`,
    );
  }
}

/** A value from a file in a message: short, whatever it is. */
export function show(value: unknown): string {
  if (value === undefined) return "missing";
  if (Array.isArray(value)) {
    return value.length <= 8 && value.every((item) => typeof item === "number")
      ? `[${value.join(", ")}]`
      : `an array of ${value.length}`;
  }
  if (typeof value === "object" && value !== null) return "an object";
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}
