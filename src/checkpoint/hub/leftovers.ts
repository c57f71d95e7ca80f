/**
 * Removes what killed processes left beside contents: locks, and parts of what is whole by now.
 * @module
 */
import { rmSync } from "node:fs";
import { basename, dirname } from "node:path";
import { removeAbandoned } from "../../unfinished.ts";
import type { ModelCache } from "./cache.ts";
import { asidePath, tryLock } from "./lock.ts";
import { removePartial } from "./partial.ts";

/** What a living process holds, and what a pull can go on from, stays. */
export function removeLeftovers(cache: ModelCache): void {
  for (const name of cache.leftovers()) {
    const lock = cache.lock(name);
    try {
      const release = tryLock(lock);
      if (release === null) continue;
      try {
        if (cache.hasBlob(name)) removePartial(cache.partial(name));
        rmSync(asidePath(lock), { force: true });
        removeAbandoned(dirname(lock), (name) => name === basename(lock));
      } finally {
        release();
      }
    } catch {
      // A cache that may only be read: nothing in it is in the way.
    }
  }
}
