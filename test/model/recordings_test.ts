/** Steps of few tokens are recorded once and run again: nobody can tell by their results. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Backend, recordedRows, type Run } from "../../src/backend/backend.ts";
import type { Network } from "../../src/model/network.ts";
import { cpuBackends } from "../backends.ts";
import { openGolden, openNetwork } from "./golden.ts";

const folders = {
  v3bf16: openGolden("v3bf16")!.folder,
  v2lite: openGolden("v2lite")!.folder,
  minnow: fileURLToPath(new URL("../../examples/minnow", import.meta.url)),
};

const backends = await cpuBackends({ exact: false });
for (const { name, open } of backends) {
  for (const [model, folder] of Object.entries(folders)) {
    if (model === "minnow" && name !== backends.at(-1)!.name) continue; // its size takes the others too long
    test(`${model} on ${name} computes bit for bit the same in recorded steps, while sequences come and go`, async () => {
      const backend = await open();
      try {
        assertSameTalk(openNetwork(folder, backend));
      } finally {
        backend.close();
      }
    });
  }
}

for (const { name, open } of backends.slice(-1)) {
  test(`a recorded step on ${name} that fails leaves the ones after it as they are`, async () => {
    const backend = await open();
    try {
      const network = openNetwork(folders.minnow, backend);
      const [cache, other] = [network.createCache(1, "f32"), network.createCache(1, "f32")];
      const step = (to: typeof cache, position: number, token: number) =>
        stepOf(network, to, [{ firstPosition: position, count: 1, isPrompt: false, blocks: [0] }], [token]);
      const expected = [5, 6].map((token, i) => step(other, i, token));
      assert.deepEqual(step(cache, 0, 5), expected[0]);
      assert.throws(
        () => step(cache, 1, network.config.vocabSize),
        /^RangeError: embed: tokens\[0\] is \d+, 0 to \d+ are possible$/,
      );
      assert.throws(() => step(cache, 64, 6), /^RangeError: batch: 1 blocks found, 2 needed$/);
      assert.deepEqual(step(cache, 1, 6), expected[1]);
    } finally {
      backend.close();
    }
  });

  test(`recorded steps of all sizes on ${name} share the memory of the largest`, async () => {
    const backend = await open();
    try {
      const network = openNetwork(folders.v2lite, backend);
      const cache = network.createCache(recordedRows, "f32");
      const bytesAfter = (nRows: number) => {
        const runs = Array.from({ length: nRows }, (_, i) => ({
          firstPosition: 0,
          count: 1,
          isPrompt: false,
          blocks: [i],
        }));
        stepOf(network, cache, runs, runs.map((_, i) => i));
        return backend.memory().allocatedBytes;
      };
      const before = backend.memory().allocatedBytes;
      const after = bytesAfter(1);
      assert.ok(after > before);
      for (let nRows = 2; nRows <= recordedRows; nRows++) assert.equal(bytesAfter(nRows), after);
      const again = network.createCache(1, "f32");
      const withAnother = backend.memory().allocatedBytes;
      stepOf(network, again, [{ firstPosition: 0, count: 1, isPrompt: false, blocks: [0] }], [1]);
      assert.equal(backend.memory().allocatedBytes, withAnother, "those of another cache, too");
    } finally {
      backend.close();
    }
  });
}

/** A sequence of the talk: its tokens stand at `next` and after it. */
interface Speaker {
  readonly blocks: readonly number[];
  next: number;
}

/**
 * Steps of 1 to 20 rows over two caches, on one by recordings: sequences that generate, that have guesses to
 * be judged and that begin, across borders of blocks and of 4096 positions.
 */
function assertSameTalk(network: Network): void {
  const { backend } = network;
  const recorded = countRecordings(backend);
  const starts = [0, 60, 4090, 127, 30, 64, 1, 190];
  let nBlocks = 0;
  const speakers: Speaker[] = starts.map((next) => {
    const count = Math.ceil((next + 60) / 64);
    return { next, blocks: Array.from({ length: count }, () => nBlocks++).reverse() };
  });
  const caches = [network.createCache(nBlocks, "f32"), network.createCache(nBlocks, "f32")];
  for (let step = 0; step < 24; step++) {
    const runs: Run[] = [];
    const here = speakers.filter((_, i) => (step * 5 + i * 3) % 8 <= step % 8);
    for (const [i, speaker] of here.entries()) {
      const count = step % 4 === 3 ? 1 + i % 4 : 1;
      const blocks = speaker.blocks.slice(0, Math.ceil((speaker.next + count) / 64));
      runs.push({ firstPosition: speaker.next, count, isPrompt: step % 8 === 7 && i === 0, blocks });
      speaker.next += count;
    }
    const nTokens = runs.reduce((sum, { count }) => sum + count, 0);
    const tokens = Array.from({ length: nTokens }, (_, i) => (31 * step + 7 * i) % network.config.vocabSize);
    const [found, expected] = caches.map((cache, i) => stepOf(network, cache, runs, tokens, i === 1));
    assert.deepEqual(found, expected, `step ${step} of ${nTokens} tokens`);
    assert.ok(found.every(Number.isFinite));
  }
  for (let block = 0; block < nBlocks; block++) {
    const [found, expected] = caches.map((cache) => {
      const bytes = new Uint8Array(backend.blockBytes(cache));
      backend.readBlock(cache, block, bytes);
      return bytes;
    });
    assert.deepEqual(found, expected, `block ${block}`);
  }
  assert.deepEqual([...new Set(recorded)], recorded, "each number of rows once");
  assert.ok(
    recorded.includes(1) && recorded.length > 5 && Math.max(...recorded) <= recordedRows,
    `${recorded}`,
  );
}

/**
 * @param isPlain someone looks on, so that nothing is recorded
 * @returns the logits of all tokens, then their last states, then the likeliest tokens
 */
function stepOf(
  network: Network,
  cache: Parameters<Network["forward"]>[0],
  runs: readonly Run[],
  tokens: readonly number[],
  isPlain = false,
): Float32Array {
  const all = Int32Array.from(tokens.keys());
  const observer = isPlain ? {} : undefined;
  const step = network.predict(cache, runs, Int32Array.from(tokens), all, [...tokens.keys()], observer);
  const { backend } = network;
  return Float32Array.from(
    [backend.read(step.logits!), backend.read(step.hidden), step.best].flatMap((x) => [...x]),
  );
}

/** @returns the rows of each step that is recorded from now on */
function countRecordings(backend: Backend): number[] {
  const rows: number[] = [];
  const record = backend.record!.bind(backend);
  backend.record = (nTokens, compute) => {
    rows.push(nTokens);
    return record(nTokens, compute);
  };
  return rows;
}
