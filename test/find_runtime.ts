/**
 * Finds Deno and Bun on this machine.
 * @module
 */
import { spawnSync } from "node:child_process";
import process from "node:process";

/** Versions that npx fetches where a machine has only Node. */
const pinned = { deno: "deno@2.9.6", bun: "bun@1.4.5" } as const;

/** A runtime that tests run in. */
export type TestRuntime = keyof typeof pinned;

/** The one that this process runs in. */
export const ownRuntime: TestRuntime = process.versions.bun === undefined ? "deno" : "bun";

/**
 * The words between a runtime and a program of this repository that it shall run. Deno would lock node_modules
 * to bring it up to date, and where several start at once say on stderr that they wait for that; but the tests
 * themselves run from what lies there.
 */
export function wordsToRun(runtime: TestRuntime = ownRuntime): string[] {
  return runtime === "deno" ? ["run", "-A", "--no-check", "--node-modules-dir=manual"] : [];
}

/** @returns how to start a runtime: this process's own, one on the PATH, or npm's; null where there is none */
export function findRuntime(runtime: TestRuntime): string[] | null {
  if (runtime === ownRuntime) return [process.execPath];
  const works = (command: string[]) => spawnSync(command[0], [...command.slice(1), "--version"]).status === 0;
  return [[runtime], ["npx", "--yes", pinned[runtime]]].find(works) ?? null;
}
