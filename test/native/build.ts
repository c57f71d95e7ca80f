/**
 * Builds the kernels for a memory checker, and programs with them.
 * @module
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { readSources } from "../../ffi/sources.ts";
import type { Checker } from "./checkers.ts";
import { run } from "./command.ts";
import { callsOf, declared } from "./header.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const compiler = (process.env.CC || "cc").trim().split(/\s+/);

/** A folder with the objects of the kernels. */
export interface Built {
  readonly checker: Checker;
  readonly folder: string;
  readonly objects: readonly string[];
}

/** @returns why a program for this checker cannot be built or run at all on this machine, or null */
export async function whyMissing(checker: Checker, folder: string): Promise<string | null> {
  const source = join(folder, "nothing.c"), program = join(folder, `nothing-${checker.name}`);
  writeFileSync(source, "int main(void) { return 0; }\n");
  const linked = await run([...compiler, ...checker.flags, source, "-o", program]);
  if (!linked.isGood) return linked.words;
  const ended = await run([...checker.command, program]);
  return ended.isGood ? null : ended.words;
}

/**
 * Compiles the kernels, as optimised as a checker's messages allow.
 * @param isas names of the instruction sets to compile
 * @throws {Error} with the compiler's words
 */
export async function buildFor(checker: Checker, isas: readonly string[], parent: string): Promise<Built> {
  const folder = join(parent, checker.name);
  mkdirSync(folder);
  const { folder: kernels, recipe, hash } = await readSources();
  const sets = recipe.isa[process.arch].filter(({ name }) => isas.includes(name));
  writeFileSync(join(folder, "calls.h"), callsOf(declared));
  const jobs = [
    ...sets.map(({ name, define, flags }) => ({
      object: `${name}.o`,
      command: [join(kernels, recipe.isaSource), `-D${define}`, ...flags],
    })),
    ...recipe.sources.map((source) => ({ object: `${source}.o`, command: [join(kernels, source)] })),
  ];
  const compiled = sets.map(({ name }) => `-DHAS_${name}`);
  const flags = [
    ...await flagsOf(checker),
    ...compiled,
    `-iquote${kernels}`,
    `-D${recipe.hashDefine}=${hash}`,
    "-c",
  ];
  const waiting = [...jobs];
  const work = async () => {
    for (let job = waiting.shift(); job; job = waiting.shift()) {
      await compile([...flags, ...job.command, "-o", join(folder, job.object)]);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  return { checker, folder, objects: jobs.map(({ object }) => join(folder, object)) };
}

/** @param source in this folder. @returns the command that runs the program under its checker */
export async function programOf({ checker, folder, objects }: Built, source: string): Promise<string[]> {
  const program = join(folder, source.replace(/\.c$/, ""));
  await compile([
    ...await flagsOf(checker),
    `-I${folder}`,
    join(here, source),
    ...objects,
    "-lm",
    "-ldl",
    "-o",
    program,
  ]);
  return [...checker.command, program];
}

async function flagsOf({ flags }: Checker): Promise<string[]> {
  const { recipe } = await readSources();
  // -O1 and no more lines than messages need: twice as fast to compile.
  const optimised = recipe.flags.filter((flag) => !/^-O|^-fvisibility/.test(flag));
  return [...optimised, "-O1", "-g1", "-pthread", ...flags];
}

async function compile(parameters: readonly string[]): Promise<void> {
  const { isGood, words } = await run([...compiler, ...parameters]);
  if (!isGood) throw new Error(`Cannot compile ${parameters.find((word) => word.endsWith(".c"))}: ${words}`);
}
