/**
 * Waiting for what comes in its own time.
 * @module
 */
import assert from "node:assert/strict";

/** Waits until something holds; a minute is the end of a run in which it never does. @param what it is that is waited for */
export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let tries = 0; !await holds(); tries++) {
    assert(tries < 12_000, `waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
