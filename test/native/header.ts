/**
 * kernels/ops.h, read: what the recorder needs to know of a call that ffi/symbols.ts does not say (which
 * numbers are handles, which bytes are written to), and the C that makes every call of a recording again. The
 * number of a function is its place in the header, which test/ffi/symbols_test.ts holds against the table.
 * @module
 */
import { readFileSync } from "node:fs";

/**
 * What an argument is, as one letter of a shape: handle, i32, f32, f64, bytes that are read (`<`), bytes
 * that are written (`>`).
 */
export type Letter = "h" | "i" | "f" | "d" | "<" | ">";

/** A function of the header. */
export interface Declared {
  readonly name: string;
  /** Of its result: a handle, an i32 or an f64. */
  readonly result: "h" | "i" | "d";
  readonly parameters: readonly { readonly name: string; readonly letter: Letter }[];
}

const letters: Readonly<Record<string, Letter>> = {
  "handle": "h",
  "status": "i",
  "int32_t": "i",
  "float": "f",
  "double": "d",
  "const uint8_t *": "<",
  "uint8_t *": ">",
};

/** @returns the functions of a header in its order. @throws {Error} for one that cannot be recorded */
export function declaredIn(header: string): Declared[] {
  const code = header.replace(/\/\/.*/g, "");
  const found = [...code.matchAll(/^HADAL_API\s+(\w+)\s+(\w+)\s*\(([^)]*)\)\s*;/gm)];
  if (found.length !== code.match(/^HADAL_API/gm)?.length) {
    throw new Error("Cannot read ops.h: a line that begins with HADAL_API declares no function");
  }
  return found.map(([, result, name, list]) => ({
    name,
    result: letterOf(result, name) as Declared["result"],
    parameters: list.trim() === "void" ? [] : list.split(",").map((parameter) => {
      const [, type, word] = /^\s*(.*?\W)(\w+)\s*$/.exec(parameter)!;
      return { name: word, letter: letterOf(type.replace(/\s+/g, " ").trim(), name) };
    }),
  }));
}

function letterOf(type: string, name: string): Letter {
  if (type in letters) return letters[type];
  throw new Error(`Cannot record ${name}: the type ${type} is new, replay.c knows ${Object.keys(letters)}`);
}

/** The functions of kernels/ops.h. */
export const declared: readonly Declared[] = declaredIn(
  readFileSync(new URL("../../kernels/ops.h", import.meta.url), "utf8"),
);

/** @returns calls.h of replay.c: the names, the shapes, and a switch that calls by number */
export function callsOf(functions: readonly Declared[]): string {
  const member: Record<Letter, string> = {
    "h": "number",
    "i": "number",
    "f": "single",
    "d": "real",
    "<": "bytes",
    ">": "bytes",
  };
  const cases = functions.map(({ name, result, parameters }, id) => {
    const list = parameters.map(({ letter }, i) => `a[${i}].${member[letter]}`).join(", ");
    return `    case ${id}: return (answer){.${result === "d" ? "real" : "number"} = ${name}(${list})};`;
  });
  const strings = (words: readonly string[]) => words.map((word) => `    "${word}",`).join("\n");
  return `// Made by header.ts from ops.h.
enum { N_CALLS = ${functions.length}, MOST_ARGUMENTS = ${
    Math.max(...functions.map(({ parameters }) => parameters.length))
  } };
static const char *const names[N_CALLS] = {
${strings(functions.map(({ name }) => name))}
};
// The result's letter, then one for each argument.
static const char *const shapes[N_CALLS] = {
${
    strings(
      functions.map(({ result, parameters }) => result + parameters.map(({ letter }) => letter).join("")),
    )
  }
};
static answer make_call(int32_t id, const argument *a) {
  (void)a;
  switch (id) {
${cases.join("\n")}
    default: abort();
  }
}
`;
}
