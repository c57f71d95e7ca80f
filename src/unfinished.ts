/**
 * Files and folders that are made beside the place where they will appear whole. Their names tell the process
 * that makes them: so what one left that was killed is known, and goes when the next one makes the same.
 * @module
 */
import { granted, isAlive, join, machineName, namesIn, node } from "./runtime.ts";

/** What was not written to for so long is nobody's, also where its process cannot be asked for. */
const abandonedMs = 3_600_000;
const unfinished = /^(.+)\.partial-([0-9a-f]{8})-(\d{1,10})-[0-9a-f]{8}$/s;

/** @returns a path, new each time, for what will be renamed to `path` */
export function unfinishedPath(path: string): string {
  return `${path}.partial-${machineId(machineName())}-${process.pid}-${crypto.randomUUID().slice(0, 8)}`;
}

/**
 * Removes what processes that are no more were making in a folder.
 * @param isWanted says for which names
 */
export function removeAbandoned(folder: string, isWanted: (name: string) => boolean): void {
  try {
    if (!granted({ name: "read", path: folder })) return;
    for (const found of namesIn(folder)) {
      const [, name, machine, pid] = unfinished.exec(found) ?? [];
      if (name === undefined || !isWanted(name)) continue;
      const path = join(folder, found);
      if (isAbandoned(path, machine, Number(pid)) && granted({ name: "write", path })) {
        node.fs.rmSync(path, { recursive: true, force: true, maxRetries: 3 });
      }
    }
  } catch {
    // It is in nobody's way: where it may not be removed it stays.
  }
}

function isAbandoned(path: string, machine: string, pid: number): boolean {
  const here = machineName();
  if (here !== "" && machine === machineId(here) && !isAlive(pid)) return true;
  return Date.now() - writtenMs(path) > abandonedMs;
}

/** @returns when something was last written to a file, or to any in a folder */
function writtenMs(path: string): number {
  const { readdirSync, statSync } = node.fs;
  const status = statSync(path);
  const below = status.isDirectory() ? readdirSync(path, { recursive: true, encoding: "utf8" }) : [];
  return Math.max(status.mtimeMs, ...below.map((name) => statSync(join(path, name)).mtimeMs));
}

function machineId(name: string): string {
  return node.crypto.createHash("sha256").update(name).digest("hex").slice(0, 8);
}
