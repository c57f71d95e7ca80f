/**
 * Runs an example as users run it: a whole process of the runtime that runs the test.
 * @module
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import process from "node:process";
import { wordsToRun } from "./find_runtime.ts";

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** An example that runs; its output so far, and how it ends. */
export interface Started {
  readonly child: ChildProcess;
  readonly output: () => Outcome;
  readonly ended: Promise<Outcome>;
}

export function start(name: string, ...args: string[]): Started {
  return startIn(process.env, name, ...args);
}

export function startIn(env: NodeJS.ProcessEnv, name: string, ...args: string[]): Started {
  const path = join(import.meta.dirname!, "../examples", name);
  const child = spawn(process.execPath, [...wordsToRun(), path, ...args], { stdio: "pipe", env });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (data) => stdout += data);
  child.stderr.on("data", (data) => stderr += data);
  const output = () => ({ code: child.exitCode, stdout, stderr });
  return { child, output, ended: once(child, "close").then(([code]) => ({ ...output(), code })) };
}

/** Starts an example that serves. @returns it with where it listens, once it does */
export async function startServing(name: string, ...args: string[]): Promise<Started & { url: string }> {
  const started = start(name, ...args);
  let url: string | undefined;
  while (url === undefined && started.child.exitCode === null) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    url = /Listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(started.output().stdout)?.[1];
  }
  assert(url, started.output().stderr);
  return { ...started, url };
}
