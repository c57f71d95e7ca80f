/**
 * Holds files of the cache against the hashes that they are named by: a disk may lose what was whole once.
 * @module
 */
import { realpathSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { ModelFile } from "../file.ts";
import { BlobHash } from "./verify.ts";

/** Read at once. */
const pieceBytes = 1 << 22;

/**
 * Reads files and removes those that are not what their names say, so that the next pull fetches them anew.
 * Gives way to others after each piece.
 * @param folder of a commit
 * @param paths in it
 * @returns the paths that were removed, and how many had no hash to be held against: copies, where a disk
 *   has no links
 */
export async function removeDamaged(
  folder: string,
  paths: readonly string[],
  signal: AbortSignal,
): Promise<{ removed: string[]; unknown: number }> {
  const removed: string[] = [];
  let unknown = 0;
  for (const path of paths) {
    const blob = realpathSync(join(folder, ...path.split("/")));
    const name = basename(blob);
    if (!/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(name)) {
      unknown++;
      continue;
    }
    if (await hashOf(blob, name, signal) === name) continue;
    // The link stays, to nothing: were it the first to go, a kill would leave the damage to the next pull.
    rmSync(blob, { force: true });
    removed.push(path);
  }
  return { removed, unknown };
}

async function hashOf(path: string, name: string, signal: AbortSignal): Promise<string> {
  const file = new ModelFile(path);
  try {
    const hash = new BlobHash(name, file.sizeBytes);
    for (let done = 0; done < file.sizeBytes; done += pieceBytes) {
      signal.throwIfAborted();
      hash.update(file.read(done, Math.min(pieceBytes, file.sizeBytes - done)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    return hash.digest();
  } finally {
    file.close();
  }
}
