/**
 * What a pull finds in its cache, for mutate.ts: the state of a file in part, and a revision's commit.
 * @module
 */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ModelCache } from "../src/checkpoint/hub/cache.ts";
import { PartialFile, removePartial } from "../src/checkpoint/hub/partial.ts";

/** Opens a file of 100 bytes, of which 47 are there, with this state beside it. */
export function readState(folder: string, state: Uint8Array): void {
  const path = join(folder, "part");
  writeFileSync(path, new Uint8Array(47));
  writeFileSync(`${path}.json`, state);
  const file = new PartialFile(path, 100, 40);
  try {
    assert.ok(file.doneBytes >= 0 && file.doneBytes <= 100 && file.frontier <= 100);
    for (const { begin, end, done } of file.parts) {
      assert.ok(begin <= end && end <= 100 && done <= end - begin);
    }
  } finally {
    file.close();
    removePartial(path);
  }
}

/** Reads the commit of a revision. */
export function findCommit(folder: string, ref: Uint8Array): void {
  const refs = join(folder, "models--a--b", "refs");
  mkdirSync(refs, { recursive: true });
  writeFileSync(join(refs, "main"), ref);
  const commit = new ModelCache(folder, "a/b").commitOf("main");
  assert.ok(commit === null || /^[0-9a-f]{40}$/.test(commit));
}
