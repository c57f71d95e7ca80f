/**
 * What a kernel library is made from: the C sources of a clone and kernels/cpu/build.json, the one list
 * of what to compile. Their hash is built into the library and asked for before it is used.
 * @module
 */
import { DeviceError } from "../src/errors.ts";
import { architecture, join, namesIn, pathOf, readWhole } from "../src/runtime.ts";
import { type InstructionSet, setsOfMachine } from "./processor.ts";

/** kernels/cpu/build.json. */
export interface Recipe {
  /** Compiled once. */
  readonly sources: readonly string[];
  /** Compiled once for each instruction set. */
  readonly isaSource: string;
  /** Instruction sets by Node's name of the architecture. */
  readonly isa: Readonly<Record<string, readonly InstructionSet[]>>;
  /** Macro that carries the hash of the sources. */
  readonly hashDefine: string;
  readonly flags: readonly string[];
  readonly os: Readonly<
    Record<string, { readonly flags: readonly string[]; readonly link: readonly string[] }>
  >;
}

/** The sources of a library, read and hashed. */
export interface Sources {
  /** kernels/cpu */
  readonly folder: string;
  readonly recipe: Recipe;
  /** Instruction sets to compile for. */
  readonly sets: readonly InstructionSet[];
  /** SHA-256 in hex over the names and contents of the header, all sources and the recipe. */
  readonly hash: string;
}

/**
 * Reads and hashes the sources: some eighty small files, a few milliseconds.
 * @param kernels folder that holds ops.h and cpu/; by default the one beside this module
 * @throws {DeviceError} when they are not there, as in a bundle
 */
export async function readSources(kernels: string | null = null): Promise<Sources> {
  let root = "kernels";
  try {
    root = kernels ?? pathOf(new URL("../kernels", import.meta.url));
    const folder = join(root, "cpu");
    const names = namesIn(folder).filter((name) => /\.(c|h|json)$/.test(name)).sort();
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    let recipe: Recipe | null = null;
    for (const name of ["../ops.h", ...names]) {
      const content = readWhole(name === "../ops.h" ? join(root, "ops.h") : join(folder, name));
      // Lengths keep the end of one file from passing for the start of the next.
      pieces.push(new TextEncoder().encode(`${name} ${content.length}\n`), content);
      if (name === "build.json") recipe = JSON.parse(new TextDecoder().decode(content));
    }
    if (recipe === null) throw new Error("build.json is missing");
    const hash = await crypto.subtle.digest("SHA-256", await new Blob(pieces).arrayBuffer());
    const sets = setsOfMachine(recipe.isa[architecture] ?? []);
    return { folder, recipe, sets, hash: new Uint8Array(hash).toHex() };
  } catch (error) {
    throw new DeviceError(`Cannot read the sources of the kernels in ${root}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
