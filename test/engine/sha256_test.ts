import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { sha256 } from "../../src/engine/sha256.ts";

const expected = (...pieces: readonly Uint8Array[]) => {
  const hash = createHash("sha256");
  for (const piece of pieces) hash.update(piece);
  return new Uint8Array(hash.digest());
};

test("a hash is the system's, for every length around the blocks", () => {
  for (let length = 0; length <= 260; length++) {
    const bytes = Uint8Array.from({ length }, (_, i) => i * 7 + length);
    assert.deepEqual(sha256(bytes), expected(bytes), `${length} bytes`);
  }
});

test("pieces hash as one text", () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 4 }), (pieces) => {
    assert.deepEqual(sha256(...pieces), expected(...pieces));
  }));
});
