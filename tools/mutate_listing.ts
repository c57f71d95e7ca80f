/**
 * Answers of a hub about a model, for mutate.ts: a server on this machine sends what was changed.
 * @module
 */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Endpoint } from "../src/checkpoint/hub/endpoint.ts";
import { choosePaths, fetchListing } from "../src/checkpoint/hub/listing.ts";
import { isSafePath } from "../src/checkpoint/hub/names.ts";
import { DownloadError } from "../src/errors.ts";
import type { Parser } from "./mutation.ts";

const commit = "0123456789abcdef0123456789abcdef01234567";
const siblings = [
  "config.json",
  "model.safetensors.index.json",
  "a.safetensors",
  "onnx/model.onnx",
  "q4.gguf",
]
  .map((rfilename) => ({ rfilename, size: 12, blobId: commit }));
const listing = { _id: "1", id: "a/b", private: false, sha: commit, siblings, config: { model_type: "x" } };
const utf8 = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

let answer = new Uint8Array();
const server = createServer((_, response) => response.end(answer));
let endpoint: Endpoint | null = null;

async function start(): Promise<Endpoint> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return new Endpoint({
    endpoint: `http://127.0.0.1:${port}`,
    token: null,
    cache: "",
    offline: false,
    patience: { idleMs: 30_000, tries: 1, firstWaitMs: 1, longestWaitMs: 1 },
  });
}

/** The listing of a revision, an index that it leads to, and a web page in place of both. */
export const listingParser: Parser = {
  kind: "json",
  seeds: [utf8(listing), utf8({ weight_map: { x: "a.safetensors", y: "a.safetensors" } })],
  async parse(bytes, seed) {
    endpoint ??= await start();
    answer = seed === 0 ? new Uint8Array(bytes) : utf8(listing);
    const found = await fetchListing(endpoint, "a/b", "main", new AbortController().signal, false);
    if (found === null) throw new DownloadError("Cannot fetch a/b: it did not answer");
    const index = seed === 1 ? bytes : utf8({ weight_map: { x: "a.safetensors" } });
    const chosen = await choosePaths(
      found,
      { include: [], exclude: [] },
      "a/b",
      () => Promise.resolve(index),
    );
    for (const path of chosen) assert.ok(isSafePath(path));
  },
  async close() {
    if (endpoint === null) return;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  },
};
