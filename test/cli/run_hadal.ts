/**
 * Runs the command `hadal`, or another program of this repository, in this runtime, as a user does.
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { kernelLibrary } from "../backends.ts";
import { wordsToRun } from "../find_runtime.ts";

const root = new URL("../../", import.meta.url);

/** @returns flags for the fastest backend of this machine, which then says nothing while it opens */
export async function quickBackend(): Promise<string[]> {
  const library = await kernelLibrary();
  return library === null ? ["--backend", "reference"] : ["--library", library.path];
}

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
 * @param input what comes through the pipe; null for none
 */
export function runHadal(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  watch: (child: ChildProcess) => void = () => {},
  input: string | Uint8Array | null = null,
): Promise<Outcome> {
  return runProgram("src/cli/hadal.ts", args, env, watch, input);
}

/** As `runHadal` does. @param script path in this repository */
export function runProgram(
  script: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  watch: (child: ChildProcess) => void = () => {},
  input: string | Uint8Array | null = null,
): Promise<Outcome> {
  const program = fileURLToPath(new URL(script, root));
  const { PATH, HOME } = process.env;
  const child = spawn(process.execPath, [...wordsToRun(), program, ...args], {
    stdio: [input === null ? "ignore" : "pipe", "pipe", "pipe"],
    env: { PATH, HOME, NO_COLOR: "1", ...env },
  });
  let stdout = "", stderr = "";
  child.stdout!.on("data", (text) => stdout += text);
  child.stderr!.on("data", (text) => stderr += text);
  if (input !== null) {
    child.stdin!.on("error", () => {}); // it may have read enough
    child.stdin!.end(input);
  }
  watch(child);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}
