/**
 * What a pull of the tiny model leaves, and how one is refused.
 * @module
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pull, type Pulled, type PullOptions } from "../../../src/checkpoint/hub/pull.ts";
import { DownloadError } from "../../../src/errors.ts";
import { blobName, commit, type Hub, modelId } from "./hub_server.ts";

/** Its folder in the cache. */
export const repo = (hub: Hub) => join(hub.cache, "models--deep-see--tiny");

/** The files that a model needs, of those that the hub has. */
export const needed = [
  "config.json",
  "model-1.safetensors",
  "model-2.safetensors",
  "model.safetensors.index.json",
  "tokenizer.json",
];

export const pullTiny = (hub: Hub, options?: PullOptions): Promise<Pulled> =>
  pull(modelId, hub.settings(), options);

/** Asserts that the cache has what a model needs, byte for byte; partial files may lie beside. */
export function assertSnapshot(hub: Hub): void {
  const snapshot = join(repo(hub), "snapshots", commit);
  assert.deepEqual(readdirSync(snapshot).sort(), needed);
  for (const path of needed) {
    assert.ok(Buffer.compare(readFileSync(join(snapshot, path)), hub.files.get(path)!) === 0, path);
  }
}

/** Asserts that the cache holds what a model needs, byte for byte, and nothing in part. */
export function assertWhole(hub: Hub): void {
  assertSnapshot(hub);
  const blobs = needed.map((path) => blobName(hub.files.get(path)!)).sort();
  assert.deepEqual(readdirSync(join(repo(hub), "blobs")).sort(), blobs);
  assert.deepEqual(readdirSync(join(hub.cache, ".locks", "models--deep-see--tiny")), []);
}

/** Asserts a DownloadError in one sentence. */
export async function refuses(act: Promise<unknown>, message: RegExp, status?: number): Promise<void> {
  await assert.rejects(act, (error) => {
    assert.ok(error instanceof DownloadError, `${(error as Error).stack}`);
    assert.match(error.message, message);
    assert.match(error.message, /^Cannot fetch [^\n]*[^.]$/);
    if (status !== undefined) assert.equal(error.status, status);
    return true;
  });
}
