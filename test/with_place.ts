/**
 * A folder for a test.
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Runs with a new folder, and removes it in any case. */
export async function withPlace(use: (place: string) => Promise<void>): Promise<void> {
  const place = mkdtempSync(join(tmpdir(), "hadal-test-"));
  try {
    await use(place);
  } finally {
    rmSync(place, { recursive: true });
  }
}
