/** Steps, marks, caches and files: the memory behind the ops. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { CheckpointError } from "../../src/errors.ts";
import type { Backend } from "../../src/backend/backend.ts";
import { everyBackend } from "../backends.ts";
import { type Random, randomFrom } from "./random.ts";
import { attentionShape } from "./sequences.ts";

const backends = await everyBackend({ arenaBytes: 2 ** 22 });

/** A test on every backend, with a fresh folder for weights. */
function onEach(
  words: (name: string) => string,
  body: (backend: Backend, random: Random, folder: string) => void,
  choice = backends,
): void {
  for (const { name, open } of choice) {
    test(words(name), async () => {
      const folder = mkdtempSync(join(tmpdir(), "hadal-ops-"));
      const backend = await open();
      try {
        backend.beginStep();
        body(backend, randomFrom(backend, name, folder), folder);
      } finally {
        backend.close();
        rmSync(folder, { recursive: true, force: true });
      }
    });
  }
}

onEach((name) => `${name} reads back what was uploaded, bit for bit`, (ops, random) => {
  for (const [rows, width] of [[0, 3], [1, 1], [7, 13], [3, 1000]]) {
    const values = random.values(rows * width);
    if (values.length > 2) values.set([NaN, -0, Infinity]);
    const x = ops.upload(values, width);
    assert.deepEqual([x.rows, x.width], [rows, width]);
    assert.deepEqual(ops.read(x), values);
    const room = new Float32Array(rows * width).fill(7);
    assert.equal(ops.read(x, room), room);
    assert.deepEqual(room, values);
  }
});

onEach(
  (name) => `${name} keeps tensors made before a mark, and reuses the memory after it`,
  (ops, random) => {
    const kept = random.values(500);
    const x = ops.upload(kept, 100);
    for (let layer = 0; layer < 200; layer++) {
      const mark = ops.mark();
      // 200 times this would not fit into the 4 MiB of a step.
      const y = ops.upload(new Float32Array(60_000).fill(layer), 100);
      assert.equal(ops.read(ops.gatherRows(y, Int32Array.of(599)))[99], layer);
      ops.release(mark);
    }
    assert.deepEqual(ops.read(x), kept);
  },
);

onEach(
  (name) => `${name} counts what it allocates, maps and uses in a step`,
  (ops, random) => {
    const before = ops.memory();
    const weight = random.weight(64, 128, "bf16");
    assert.equal(weight.sizeBytes, 64 * 128 * 2);
    const mapped = ops.memory();
    assert.ok(mapped.mappedBytes >= before.mappedBytes + weight.sizeBytes);
    assert.ok(
      mapped.allocatedBytes < before.allocatedBytes + weight.sizeBytes,
      "a mapped weight is not copied",
    );
    const shape = { nLayers: 2, nBlocks: 3, kvLoraRank: 64, qkRopeHeadDim: 16, dtype: "f32" } as const;
    const cache = ops.createCache(shape);
    assert.ok(cache.sizeBytes >= 2 * 3 * 64 * 80 * 4);
    assert.ok(ops.memory().allocatedBytes >= mapped.allocatedBytes + cache.sizeBytes);
    ops.upload(new Float32Array(100_000), 10);
    assert.ok(ops.memory().stepPeakBytes >= 400_000);
    ops.beginStep();
    assert.ok(ops.memory().stepPeakBytes >= 400_000, "the peak outlives the step");
  },
  backends.slice(1),
);

onEach((name) => `${name} forgets NaN in blocks that are cleared`, (ops, random) => {
  const shape = attentionShape(2, 8, 4, 6, 16);
  const cache = ops.createCache({ nLayers: 2, nBlocks: 3, kvLoraRank: 16, qkRopeHeadDim: 4, dtype: "bf16" });
  const norm = random(16), kvUp = random.weight(28, 16);
  const write = (value: number, blocks: number[], count: number) => {
    const batch = ops.batch([{ firstPosition: 0, count, isPrompt: true, blocks }]);
    const kv = ops.upload(new Float32Array(count * 20).fill(value), 20);
    for (const layer of [0, 1]) {
      ops.appendLatent(cache, layer, batch, kv, norm, 1e-6, random.angles(count, 4), true);
    }
  };
  const attend = (blocks: number[], position: number) => {
    const batch = ops.batch([{ firstPosition: position, count: 1, isPrompt: false, blocks }]);
    return ops.read(ops.latentAttention(cache, 1, batch, random(1, 24), kvUp, shape));
  };
  write(NaN, [2, 0], 128);
  write(1, [1], 64);
  assert.ok(attend([2, 0], 127).every(Number.isNaN));
  ops.clearBlocks(cache, [2, 0]);
  assert.ok(attend([2, 0], 127).every((x) => x === 0), "cleared blocks are zeros");
  assert.ok(attend([1], 63).every((x) => Number.isFinite(x) && x !== 0), "another block is as it was");
});

onEach((name) => `${name} attends to the copy of a block as to the block itself`, (ops, random) => {
  const shape = attentionShape(2, 8, 4, 6, 80);
  const kvUp = random.weight(28, 80), query = random.values(24);
  for (const dtype of ["f32", "bf16", "f16", "int8"] as const) {
    const cache = ops.createCache({ nLayers: 2, nBlocks: 3, kvLoraRank: 80, qkRopeHeadDim: 4, dtype });
    const write = (blocks: number[], firstPosition: number, count: number) => {
      const batch = ops.batch([{ firstPosition, count, isPrompt: true, blocks }]);
      for (const layer of [0, 1]) {
        const kv = random(count, 84), angles = random.angles(count, 4);
        ops.appendLatent(cache, layer, batch, kv, random(80), 1e-6, angles, true);
      }
    };
    const attend = (layer: number, blocks: number[], position: number) => {
      const batch = ops.batch([{ firstPosition: position, count: 1, isPrompt: false, blocks }]);
      return ops.read(ops.latentAttention(cache, layer, batch, ops.upload(query, 24), kvUp, shape));
    };
    write([2, 0], 0, 128);
    write([1], 0, 64);
    const before = [0, 1].map((layer) => attend(layer, [2, 0], 100));
    const other = attend(1, [2], 63);
    ops.copyBlock(cache, 0, 1);
    for (const layer of [0, 1]) assert.deepEqual(attend(layer, [2, 1], 100), before[layer], dtype);
    write([2, 1], 70, 10); // what is written into the copy is not in the block
    assert.deepEqual(attend(1, [2, 0], 100), before[1]);
    assert.notDeepEqual(attend(1, [2, 1], 100), before[1]);
    assert.deepEqual(attend(1, [2], 63), other);
    ops.copyBlock(cache, 1, 1);
  }
});

onEach(
  (name) => `${name} names a file that is cut short between its header and its weights`,
  (ops, random) => {
    for (const keptBytes of [0, 4096, 4 * 64 * 256 - 1]) {
      const stored = random.stored(64, 256, "F32");
      truncateSync(stored.file, keptBytes);
      assert.throws(() => ops.loadWeight(stored, "auto"), (error) => {
        assert.ok(error instanceof CheckpointError, `${error}`);
        assert.ok(error.message.includes(`Cannot read ${stored.file}: `), error.message);
        return true;
      });
    }
  },
  backends.slice(1),
);

onEach(
  (name) => `${name} reports a file that is cut short after it was mapped, and goes on`,
  (ops, random) => {
    const stored = random.stored(4096, 256, "F32");
    const weight = ops.loadWeight(stored, "auto");
    const sound = random.weight(16, 256);
    const x = random(2, 256);
    const expected = ops.read(ops.linear(x, sound));
    truncateSync(stored.file, 8192);
    for (let i = 0; i < 3; i++) {
      assert.throws(() => ops.linear(x, weight), (error) => {
        assert.ok(error instanceof Error);
        assert.match(error.message, /file|truncated|short/i);
        return true;
      });
    }
    assert.throws(() => ops.embed(weight, Int32Array.of(4095)));
    assert.throws(() => ops.loadWeight({ ...stored, name: "again" }, "int8"));
    assert.deepEqual(ops.read(ops.linear(x, sound)), expected);
  },
  backends.slice(1),
);
