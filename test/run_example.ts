/**
 * Runs an example as users run it: a whole process of the runtime that runs the test.
 * @module
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { join } from "node:path";
import process from "node:process";
import { wordsToRun } from "./find_runtime.ts";

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** An example that runs. */
export interface Started {
  readonly child: ChildProcess;
  /** Resolves once it has said what is looked for; fails where it ends without. */
  readonly says: (where: "stdout" | "stderr", wanted: RegExp) => Promise<RegExpExecArray>;
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
  let hasEnded = false;
  const news = new EventEmitter();
  child.stdout.on("data", (data) => news.emit("any", stdout += data));
  child.stderr.on("data", (data) => news.emit("any", stderr += data));
  child.on("close", () => news.emit("any", hasEnded = true));
  const says: Started["says"] = async (where, wanted) => {
    while (true) {
      const found = wanted.exec({ stdout, stderr }[where]);
      if (found !== null) return found;
      assert(!hasEnded, `${name} ended without saying ${wanted}: ${stderr}`);
      await once(news, "any");
    }
  };
  return { child, says, ended: once(child, "close").then(([code]) => ({ code, stdout, stderr })) };
}

/** Starts an example that serves. @returns it with where it listens, once it does */
export async function startServing(name: string, ...args: string[]): Promise<Started & { url: string }> {
  const started = start(name, ...args);
  const [, url] = await started.says("stdout", /Listening on (http:\/\/127\.0\.0\.1:\d+)/);
  return { ...started, url };
}
