/**
 * Opens a C library under Deno or Bun from one table of symbols. All calls are synchronous and take
 * only numbers and byte arrays: that is the fast form of both runtimes (a few ns a call), and it needs
 * no more than Deno's path-scoped `--allow-ffi=FILE`.
 * @module
 */
import { DeviceError } from "../src/errors.ts";
import type { Calls, Parameter, ParameterType, ResultTable, SymbolTable } from "./symbols.ts";

/** An open library. After `close` its functions must not be called. */
export interface Library<T extends SymbolTable> {
  readonly path: string;
  readonly calls: Calls<T>;
  close(): void;
}

/**
 * @param path absolute, or a bare name that the system's loader resolves
 * @param results functions that do not return an i32
 * @throws {DeviceError} not found, not permitted, not a library, or a symbol is missing (named)
 */
export async function openLibrary<T extends SymbolTable>(
  path: string,
  symbols: T,
  results: ResultTable = {},
): Promise<Library<T>> {
  try {
    const { symbols: calls, close } = isBun
      ? await openInBun(path, symbols, results)
      : openInDeno(path, symbols, results);
    return { path, calls: calls as Calls<T>, close };
  } catch (error) {
    throw new DeviceError(`Cannot open ${path}: ${reasonOf(error as Error, path)}`, { cause: error });
  }
}

/** @returns whether an error of `openLibrary` means that Deno's permissions do not allow the file */
export function isNotPermitted(error: unknown): boolean {
  return ((error as Error).cause as Error | undefined)?.name === "NotCapable";
}

/** @throws {DeviceError} this runtime can call no library, whichever it is */
export function needCalls(): void {
  if (!isBun && typeof globalThis.Deno?.dlopen !== "function") {
    throw new DeviceError(`Cannot call the kernels: ${noCalls}`);
  }
}

/** What both runtimes give back. */
interface Opened {
  readonly symbols: unknown;
  close(): void;
}

const noCalls = "this runtime has no foreign function interface, Deno or Bun is needed";

// Bun is asked for first: it may carry a shim of Deno's globals, and never the other way round.
const isBun = "Bun" in globalThis;

function openInDeno(path: string, symbols: SymbolTable, results: ResultTable): Opened {
  if (typeof globalThis.Deno?.dlopen !== "function") {
    throw new TypeError(noCalls);
  }
  const types = { i32: "i32", f32: "f32", f64: "f64", bytes: "buffer" } as const;
  const definitions: Record<string, Deno.ForeignFunction> = {};
  for (const [name, parameters] of Object.entries(symbols)) {
    definitions[name] = {
      parameters: parameters.map((parameter) => types[typeOf(parameter)]),
      result: results[name] ?? "i32",
    };
  }
  const library = Deno.dlopen(path, definitions);
  return { symbols: library.symbols, close: () => library.close() };
}

async function openInBun(path: string, symbols: SymbolTable, results: ResultTable): Promise<Opened> {
  // Not a literal, or every tool that is not Bun would try to resolve it.
  const specifier = "bun:ffi";
  const { dlopen } = await import(specifier);
  const types = { i32: "i32", f32: "f32", f64: "f64", bytes: "ptr" } as const;
  const definitions: Record<string, { args: string[]; returns: string }> = {};
  for (const [name, parameters] of Object.entries(symbols)) {
    definitions[name] = {
      args: parameters.map((parameter) => types[typeOf(parameter)]),
      returns: results[name] ?? "i32",
    };
  }
  const library = dlopen(path, definitions);
  return { symbols: library.symbols, close: () => library.close() };
}

function typeOf(parameter: Parameter): ParameterType {
  return parameter.slice(parameter.lastIndexOf(" ") + 1) as ParameterType;
}

/** The runtimes agree on no error codes, so their words are read; unknown ones are passed on. */
function reasonOf(error: Error, path: string): string {
  const words = error.message.replace(/\s+/g, " ").replace(/^(Could not open library: )+/, "").trim();
  if (error.name === "NotCapable") return `not permitted, run again with --allow-ffi=${path}`;
  if (error instanceof TypeError && words.includes("foreign function interface")) return words;
  const missing = /undefined symbol: (\w+)/.exec(words) ?? /[Ss]ymbol "(\w+)" not found/.exec(words) ??
    /Failed to register symbol (\w+)/.exec(words);
  if (missing !== null) return `it lacks the function ${missing[1]}`;
  const absent = /([^\s:"]+): cannot open shared object file/.exec(words);
  if (absent !== null && !absent[1].endsWith(path)) return `it needs ${absent[1]}, which was not found`;
  if (absent !== null || /no such file|could not be found|cannot find/i.test(words)) return "not found";
  if (/invalid elf header|file too short|not a mach-o|wrong elf class|not a valid win32/i.test(words)) {
    return "not a library that this machine can load";
  }
  return words;
}
