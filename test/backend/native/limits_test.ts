import assert from "node:assert/strict";
import { test } from "node:test";
import { isasOf } from "../../../src/backend/native/isa.ts";
import { LimitMeter } from "../../../src/backend/native/limits.ts";
import { kernelLibrary } from "../../backends.ts";

const kinds = ["read", "copy", "int8", "f32"] as const;
const library = await kernelLibrary();

for (const isa of library === null ? [] : isasOf(library)) {
  for (const threads of [1, 2]) {
    test(`limits of ${isa} with ${threads} threads are positive numbers, again and again`, () => {
      const meter = new LimitMeter({ library: library!, isa, threads, bufferBytes: 2 ** 22 });
      try {
        for (const kind of [...kinds, ...kinds]) {
          const found = meter.measure(kind);
          assert.ok(Number.isFinite(found) && found > 0, `${kind}: ${found}`);
        }
      } finally {
        meter.close();
      }
    });
  }
}

if (library !== null) {
  test("a meter says what it cannot have: memory, an instruction set, a buffer too small", () => {
    const options = { library, isa: isasOf(library)[0], threads: 1, bufferBytes: 2 ** 22 };
    const greedy = new LimitMeter({ ...options, bufferBytes: 2 ** 52 });
    assert.throws(() => greedy.measure("read"), /not enough memory, the system refuses/);
    greedy.close();
    const tiny = new LimitMeter({ ...options, bufferBytes: 100 });
    assert.throws(() => tiny.measure("copy"), /buffer holds 100 bytes, 8192 are needed/);
    assert.ok(tiny.measure("f32") > 0, "what needs no memory works");
    tiny.close();
    assert.throws(() => new LimitMeter({ ...options, isa: "none" }), /no instruction set -1/);
  });
}
