/**
 * Holds kernels of instruction sets that this machine lacks against those that it has, bit for bit (isas_test.c):
 * AVX-VNNI, AVX-512 and its VNNI in the words of AVX2 (emulated.h), those of ARM by a cross compiler and qemu-user.
 * `deno task emulate [CASES]`; some five minutes of two cores, most of them the compiler's. Debian has what it takes as
 * gcc-aarch64-linux-gnu and qemu-user; what is missing is said so aloud.
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { InstructionSet } from "../../ffi/processor.ts";
import { readSources } from "../../ffi/sources.ts";
import { run } from "./command.ts";

/** A processor that has all the instruction sets of an architecture. */
interface Processor {
  readonly architecture: string;
  readonly compiler: readonly string[];
  /** What runs a program of it, with its arguments; none where this machine does. */
  readonly command: readonly string[];
  /** Flags of an instruction set on this compiler. */
  flagsOf(set: InstructionSet): readonly string[];
  /** Files in place of sources of the kernels. */
  readonly instead: Readonly<Record<string, string>>;
}

const here = fileURLToPath(new URL(".", import.meta.url));
const { folder: kernels, recipe } = await readSources();

/** What emulated.h stands in for. */
const emulatedFlag = /^-m(?=avx512|avxvnni)/;

const processors: readonly Processor[] = [
  {
    architecture: "x64",
    compiler: (process.env.CC || "cc").trim().split(/\s+/),
    command: [],
    flagsOf: ({ flags }) =>
      flags.some((flag) => emulatedFlag.test(flag))
        ? [
          ...flags.map((flag) => flag.replace(emulatedFlag, "-DEMULATE_")),
          "-include",
          join(here, "emulated.h"),
        ]
        : flags,
    instead: { "cpuid.c": join(here, "emulated_cpuid.c") },
  },
  {
    architecture: "arm64",
    compiler: ["aarch64-linux-gnu-gcc"],
    command: ["qemu-aarch64", "-cpu", "max", "-L", "/usr/aarch64-linux-gnu"],
    flagsOf: ({ flags }) => flags,
    instead: {},
  },
];

/** @returns its words @throws {Error} with them when it ends badly */
async function need(command: readonly string[]): Promise<string> {
  const { isGood, words } = await run(command);
  if (!isGood) throw new Error(`${command[0]}: ${words}`);
  return words;
}

/** Compiles the kernels with isas_test.c. @returns the command that runs it */
async function build(
  { architecture, compiler, command, flagsOf, instead }: Processor,
  parent: string,
): Promise<string[]> {
  const sets = recipe.isa[architecture];
  const flags = [...recipe.flags, "-O1", "-pthread", `-iquote${kernels}`, `-D${recipe.hashDefine}=0`];
  const has = sets.map(({ name }) => `-DHAS_${name}`);
  const jobs = [
    ...sets.map((set) => [join(kernels, recipe.isaSource), `-D${set.define}`, ...flagsOf(set)]),
    ...recipe.sources.map((source) => [instead[source] ?? join(kernels, source)]),
    [join(here, "isas_test.c")],
  ].map((words, i) => ({ words, object: join(parent, `${architecture}-${i}.o`) }));
  const waiting = [...jobs];
  await Promise.all(Array.from({ length: availableParallelism() }, async () => {
    for (let job = waiting.shift(); job; job = waiting.shift()) {
      const words = await need([...compiler, ...flags, ...has, ...job.words, "-c", "-o", job.object]);
      if (/warning:/.test(words)) throw new Error(words);
    }
  }));
  const program = join(parent, architecture);
  await need([...compiler, ...jobs.map(({ object }) => object), "-pthread", "-lm", "-ldl", "-o", program]);
  return [...command, program];
}

const nCases = process.argv[2] ?? "300";
const folder = mkdtempSync(join(tmpdir(), "hadal-emulate-"));
const outcomes = new Map<string, string>();
let nFailed = 0;
try {
  for (const processor of processors) {
    const { architecture, compiler, command } = processor;
    const tools = await Promise.all(
      [compiler, command].filter((words) => words.length > 0).map(([program]) => run([program, "--version"])),
    );
    if (tools.some(({ isGood }) => !isGood) || (command.length === 0 && process.arch !== architecture)) {
      console.log(
        `NOTE: nothing is checked of ${architecture}: ${
          [...compiler, ...command.slice(0, 1)].join(" and ")
        } needed`,
      );
      continue;
    }
    try {
      outcomes.set(architecture, await need([...await build(processor, folder), nCases]));
      const names = recipe.isa[architecture].map(({ name }) => name).join(", ");
      console.log(`ok: ${nCases} cases are the same on ${names}`);
    } catch (error) {
      nFailed++;
      console.log(`FAILED: ${architecture}: ${(error as Error).message}`);
    }
  }
  const [first, ...others] = [...outcomes];
  for (const [architecture, lines] of others) {
    const isSame = lines === first[1];
    console.log(`${isSame ? "ok" : "FAILED"}: ${architecture} gives the bits of ${first[0]}`);
    if (isSame) continue;
    nFailed++;
    const wanted = first[1].split("\n");
    console.log(lines.split("\n").filter((line, i) => line !== wanted[i]).slice(0, 10).join("\n"));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = nFailed === 0 ? 0 : 1;
