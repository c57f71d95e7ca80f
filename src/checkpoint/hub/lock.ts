/**
 * A lock between processes on a file's download. The operating system's own locks are out of reach in
 * one of the runtimes: so a lock is a file that says who holds it, touched while they live.
 *
 * It saves work and is not what keeps files whole: should two processes ever hold one, both write the
 * same bytes to the same places, and a content appears under its hash only after it was verified.
 * @module
 */
import {
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { isAlive, machineName } from "../../runtime.ts";
import { unfinishedPath } from "../../unfinished.ts";
import { attempt } from "../write_safetensors.ts";
import { sleep } from "./retry.ts";

/** A lock is touched this often, and nobody's once it was not for `staleMs`. */
const touchMs = 5_000, staleMs = 30_000;

/** Who holds a lock. */
interface Holder {
  readonly pid: number;
  readonly host: string;
  /** Of this one act of locking. */
  readonly id: string;
}

/**
 * Waits until the lock at `path` can be had, or is no longer wanted.
 * @param isDone asked between attempts: true when another holder did the work
 * @param onWait told once, when the lock is found held
 * @returns releases it; null when `isDone` said so
 */
export async function lock(
  path: string,
  signal: AbortSignal,
  isDone: () => boolean,
  onWait: () => void = () => {},
): Promise<(() => void) | null> {
  attempt(path, () => mkdirSync(dirname(path), { recursive: true }));
  for (let waited = false;; waited = true) {
    signal.throwIfAborted();
    if (isDone()) return null;
    const release = tryLock(path);
    if (release !== null) return release;
    if (!waited) onWait();
    await sleep(100 + 100 * Math.random(), signal);
  }
}

/**
 * @param path in a folder that is there
 * @returns releases the lock; null when somebody holds it
 */
export function tryLock(path: string): (() => void) | null {
  const holder: Holder = { pid: process.pid, host: machineName(), id: crypto.randomUUID() };
  const isMine = take(path, holder) || (removeStale(path) && take(path, holder));
  return isMine ? hold(path, holder) : null;
}

/** Where a stale lock at `path` lies while it is removed; what a process that was killed there left. */
export function asidePath(path: string): string {
  return `${path}.stale`;
}

/** Makes the lock appear with its holder in it: one that a kill left without would count for `staleMs`. */
function take(path: string, holder: Holder): boolean {
  if (existsSync(path)) return false;
  const made = unfinishedPath(path), text = JSON.stringify(holder);
  return attempt(path, () => {
    try {
      writeFileSync(made, text);
      return linkNew(made, path) || writeNew(path, text);
    } finally {
      rmSync(made, { force: true });
    }
  });
}

/** @returns whether it was done, which some disks cannot, or something is there */
function linkNew(made: string, path: string): boolean {
  try {
    linkSync(made, path);
    return true;
  } catch {
    return false;
  }
}

/** @returns whether nothing was there */
function writeNew(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as { code: string }).code === "EEXIST") return false;
    throw error;
  }
}

function hold(path: string, holder: Holder): () => void {
  const timer = setInterval(() => {
    try {
      utimesSync(path, new Date(), new Date());
    } catch {
      // Somebody took it for stale: see above.
    }
  }, touchMs);
  return () => {
    clearInterval(timer);
    if (holderOf(path)?.id === holder.id) rmSync(path, { force: true });
  };
}

/** @returns whether a lock was removed, or there is none */
function removeStale(path: string): boolean {
  const found = holderOf(path);
  if (found === undefined) return true;
  if (!isStale(path, found)) return false;
  const aside = asidePath(path);
  try {
    renameSync(path, aside);
  } catch {
    return true; // another process was faster
  }
  try {
    // Between the look and the rename it may have become somebody's: then it is put back.
    if (holderOf(aside)?.id !== found?.id) linkSync(aside, path);
  } catch {
    // Somebody else has taken it by now, or this disk has no links: see above.
  } finally {
    rmSync(aside, { force: true });
  }
  return true;
}

/** @returns null for a lock that says nothing of its holder, undefined when there is none */
function holderOf(path: string): Holder | null | undefined {
  let text;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function isStale(path: string, holder: Holder | null): boolean {
  const touched = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Infinity;
  if (Date.now() - touched > staleMs) return true;
  return holder !== null && holder.host !== "" && holder.host === machineName() && !isAlive(holder.pid);
}
