import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Backend, StoredMatrix } from "../../../src/backend/backend.ts";
import { cpuBackends } from "../../backends.ts";

const rows = 8448, width = 1000;

test("a matrix that is repacked in strips multiplies as its parts do that are repacked whole", async () => {
  const place = mkdtempSync(join(tmpdir(), "hadal-repack-"));
  try {
    const file = join(place, "matrix");
    writeFileSync(file, values(rows * width));
    const whole: StoredMatrix = matrix(file, 0, rows);
    assert(whole.sizeBytes > 2 ** 25, "small enough to be repacked whole");
    for (const { name, open } of (await cpuBackends()).slice(-1)) {
      const backend = await open();
      for (const format of ["int8", "nf4", "bf16", "fp8"] as const) {
        const w = backend.loadWeight(whole, format);
        const half = rows / 2;
        const parts = [0, half].map((row) => backend.loadWeight(matrix(file, row, half), format));
        assert.equal(w.sizeBytes, parts[0].sizeBytes + parts[1].sizeBytes, format);
        const expected = parts.flatMap((part) => [...product(backend, part)]);
        assert.deepEqual([...product(backend, w)], expected, `${format} on ${name}`);
      }
      backend.close();
    }
  } finally {
    rmSync(place, { recursive: true });
  }
});

test("a matrix in strips takes little more memory than the result", async () => {
  const place = mkdtempSync(join(tmpdir(), "hadal-repack-"));
  try {
    const file = join(place, "matrix");
    writeFileSync(file, values(rows * width));
    for (const { name, open } of (await cpuBackends()).slice(-1)) {
      const backend = await open();
      const before = backend.memory();
      const w = backend.loadWeight(matrix(file, 0, rows), "int8");
      const after = backend.memory();
      const extra = after.allocatedBytes - before.allocatedBytes - w.sizeBytes;
      assert(extra <= 2 ** 25, `${name}: ${extra} bytes beside the result`);
      assert.equal(after.mappedBytes, before.mappedBytes);
      backend.close();
    }
  } finally {
    rmSync(place, { recursive: true });
  }
});

/** Rows of the file's matrix. */
function matrix(file: string, row: number, count: number): StoredMatrix {
  const sizes = { offset: 4 * row * width, sizeBytes: 4 * count * width };
  return { name: "matrix", file, dtype: "F32", rows: count, width, ...sizes };
}

function product(backend: Backend, w: ReturnType<Backend["loadWeight"]>): Float32Array {
  backend.beginStep();
  return backend.read(backend.linear(backend.upload(new Float32Array(values(width).buffer), width), w));
}

/** @returns f32 numbers from -1 to 1, the same each time */
function values(count: number): Uint8Array {
  let state = 1;
  const numbers = Float32Array.from({ length: count }, () => {
    state = Math.imul(state, 1664525) + 1013904223 >>> 0;
    return state / 2 ** 31 - 1;
  });
  return new Uint8Array(numbers.buffer);
}
