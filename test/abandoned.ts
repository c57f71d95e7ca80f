/**
 * What a process leaves that is killed while it makes something.
 * @module
 */
import { spawnSync } from "node:child_process";
import process from "node:process";
import { unfinishedPath } from "../src/unfinished.ts";

/** @returns the number of a process that is no more */
export function deadProcess(): number {
  return spawnSync(process.execPath, ["--version"]).pid;
}

/** @returns what `path` would be called while a process made it that was killed */
export function abandonedPath(path: string): string {
  return unfinishedPath(path).replace(`-${process.pid}-`, `-${deadProcess()}-`);
}
