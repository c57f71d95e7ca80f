/**
 * Builds the kernel library from its sources with whatever C compiler the machine has: once, in
 * seconds. Two processes may build at once; the last rename wins, and both results are the same.
 * @module
 */
import { spawn } from "node:child_process";
import { mkdirSync, renameSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import { DeviceError } from "../src/errors.ts";
import { unfinishedPath } from "../src/unfinished.ts";
import type { Sources } from "./sources.ts";

/** Tried in this order after the one that the user names. */
const compilers = ["cc", "gcc", "clang", "zig cc"] as const;

/**
 * Compiles and links into a private folder beside `to`, then renames: nobody sees half a library.
 * @param to path of the library to make; its folder exists
 * @param compiler the user's choice ($CC, may carry arguments) or null; others are tried after it
 * @param progress is told one sentence when the work starts
 * @throws {DeviceError} saying what was tried and why each failed
 */
export async function buildLibrary(
  sources: Sources,
  to: string,
  compiler: string | null,
  progress: (sentence: string) => void,
): Promise<void> {
  const failures: string[] = [];
  const named = compiler?.trim() ? [compiler.trim()] : [];
  for (const command of new Set([...named, ...compilers])) {
    const missing = await whyNot(command);
    if (missing !== null) {
      failures.push(`${command}: ${missing}`);
      continue;
    }
    progress(`Building the CPU kernels with ${command} (once, takes seconds)`);
    const folder = unfinishedPath(to);
    mkdirSync(folder, { mode: 0o700 });
    try {
      await compile(sources, command, folder, basename(to));
      renameSync(join(folder, basename(to)), to);
      return;
    } catch (error) {
      failures.push(`${command}: ${(error as Error).message}`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  throw new DeviceError(
    `Cannot build the CPU kernels: no C compiler did it (${failures.join("; ")}); ` +
      "install one (gcc, clang or zig), set CC to it, or set HADAL_CPU_LIBRARY to a built library",
  );
}

/** @returns null when the command runs, else the reason in a few words */
async function whyNot(command: string): Promise<string | null> {
  try {
    await run(command, ["--version"]);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/** One process for each object, as many at a time as there are CPUs, then the linker. */
async function compile(sources: Sources, command: string, folder: string, name: string): Promise<void> {
  const { recipe, sets, hash } = sources;
  const system = process.platform === "win32" ? "windows" : process.platform;
  const os = recipe.os[system];
  if (os === undefined || sets.length === 0) {
    throw new DeviceError(
      `no recipe for ${system} on ${process.arch}, there are ${Object.keys(recipe.os).join(", ")} on ${
        Object.keys(recipe.isa).join(", ")
      }`,
    );
  }
  const compiled = sets.map((set) => `-DHAS_${set.name}`);
  const flags = [...recipe.flags, ...os.flags, ...compiled, `-D${recipe.hashDefine}=${hash}`, "-c"];
  // The instruction sets take longest, so they start first.
  const jobs = [
    ...sets.map((set) => ({
      object: `${set.name}.o`,
      source: recipe.isaSource,
      extra: [...set.flags, `-D${set.define}`],
    })),
    ...recipe.sources.map((source) => ({ object: `${source}.o`, source, extra: [] as string[] })),
  ];
  const waiting = [...jobs];
  const failures: unknown[] = [];
  const work = async () => {
    for (let job = waiting.shift(); job !== undefined && failures.length === 0; job = waiting.shift()) {
      const { object, source, extra } = job;
      await run(command, [...flags, ...extra, join(sources.folder, source), "-o", join(folder, object)])
        .catch((error) => failures.push(error));
    }
  };
  // All of them end before the caller removes the folder that they write into.
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  if (failures.length > 0) throw failures[0];
  await run(command, [...jobs.map((job) => join(folder, job.object)), ...os.link, "-o", join(folder, name)]);
}

/** @throws {Error} with the first line that says what is wrong */
function run(command: string, parameters: readonly string[]): Promise<void> {
  const [program, ...first] = command.split(/\s+/);
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...first, ...parameters], { stdio: ["ignore", "ignore", "pipe"] });
    let words = "";
    child.stderr.on("data", (chunk) => words += chunk);
    child.on("error", (error: NodeJS.ErrnoException) => {
      reject(new Error(error.code === "ENOENT" ? "not found" : error.message));
    });
    child.on("close", (code) => {
      if (code === 0) return resolve();
      const lines = words.split("\n").filter((line) => line.trim() !== "");
      reject(new Error(lines.find((line) => /error/i.test(line)) ?? lines[0] ?? `exit code ${code}`));
    });
  });
}
