import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import type { Backend } from "../../../src/backend/backend.ts";
import { openNative } from "../../../src/backend/native/open.ts";
import { kernelLibrary } from "../../backends.ts";

const scratch = mkdtempSync(join(tmpdir(), "hadal-pages-"));
after(() => rmSync(scratch, { recursive: true, force: true }));
const library = await kernelLibrary();

/** 40 MB, so that there is more than one chunk and an end that is no whole page; sums stay exact in f32. */
const rows = 10_243, width = 1024;
const sizeBytes = 4 * rows * width;

/** Written a page at a time, so that it lies in small ones. */
function writeMatrix(): string {
  const path = join(scratch, "weights");
  const values = new Float32Array(1024);
  const file = openSync(path, "w");
  for (let row = 0; row < rows; row++) writeSync(file, new Uint8Array(values.fill(row % 97).buffer));
  closeSync(file);
  return path;
}

function sums(backend: Backend, path: string): () => Float32Array {
  const matrix = backend.loadWeight(
    { name: "weights", file: path, offset: 0, sizeBytes, dtype: "F32", rows, width },
    "auto",
  );
  return () => {
    backend.beginStep();
    return backend.read(backend.linear(backend.upload(new Float32Array(width).fill(1), width), matrix));
  };
}

if (library !== null) {
  const options = { library, isa: null, threads: 2, exact: true, arenaBytes: 1 << 20 };

  test("weights say the same before, while and after they are moved into huge pages", async () => {
    const backend = openNative({ ...options, movableBytes: sizeBytes });
    try {
      const products = sums(backend, writeMatrix());
      const expected = Float32Array.from({ length: rows }, (_, row) => width * (row % 97));
      assert.equal(backend.memory().pendingBytes, sizeBytes);
      while (backend.memory().pendingBytes > 0) {
        assert.deepEqual(products(), expected);
        await setTimeout(1);
      }
      assert.deepEqual(products(), expected);
      // Other systems, and file systems that keep even this file in large pieces, leave it where it is.
      const { movedBytes } = backend.memory();
      console.log(`${movedBytes} of ${sizeBytes} bytes were moved`);
      assert.ok(movedBytes === 0 || movedBytes % 2 ** 21 === 0 && movedBytes > sizeBytes - 2 ** 22);
      if (process.platform !== "linux") assert.equal(movedBytes, 0);
    } finally {
      backend.close();
    }
  });

  test("nothing is moved beyond what may be, and closing does not wait for it", () => {
    const path = writeMatrix();
    for (const movableBytes of [0, sizeBytes - 1, sizeBytes]) {
      const backend = openNative({ ...options, movableBytes });
      const products = sums(backend, path);
      // Moving begins after a second: on a busy machine the products may be as long in coming.
      const { pendingBytes, movedBytes } = backend.memory();
      assert.equal(pendingBytes, movableBytes === sizeBytes ? sizeBytes : 0);
      assert.equal(movedBytes, 0);
      assert.equal(products()[98], width);
      backend.close();
    }
  });
}
