/**
 * Runs the command `hadal`, or another program of this repository, in this runtime, as a user does.
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { wordsToRun } from "../find_runtime.ts";

const root = new URL("../../", import.meta.url);

/** What a command left. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * @param args what stands behind `hadal`
 * @param env beside PATH and HOME
 * @param watch gets the process, and may send it a signal
 */
export function runHadal(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  watch: (child: ChildProcess) => void = () => {},
): Promise<Outcome> {
  return runProgram("src/cli/hadal.ts", args, env, watch);
}

/** As `runHadal` does. @param script path in this repository */
export function runProgram(
  script: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  watch: (child: ChildProcess) => void = () => {},
): Promise<Outcome> {
  const program = fileURLToPath(new URL(script, root));
  const { PATH, HOME } = process.env;
  const child = spawn(process.execPath, [...wordsToRun(), program, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH, HOME, NO_COLOR: "1", ...env },
  });
  let stdout = "", stderr = "";
  child.stdout!.on("data", (text) => stdout += text);
  child.stderr!.on("data", (text) => stderr += text);
  watch(child);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}
