import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { StoredMatrix } from "../../src/backend/backend.ts";
import { UnsupportedError } from "../../src/errors.ts";
import type { Dtype } from "../../src/tensor/dtype.ts";
import { roundToPacked } from "../../src/tensor/group_formats.ts";
import { int8Scale } from "../../src/tensor/int8.ts";
import { type PackedFormat, packedFormats, packedShape } from "../../src/tensor/packed_format.ts";
import { packT16, unpackT16 } from "../../src/tensor/t16.ts";
import { everyBackend } from "../backends.ts";

const shapes = [[1, 1], [16, 64], [17, 65], [5, 31], [33, 32], [48, 200], [20, 4100]] as const;

/** The largest magnitude that each format holds: that of its largest code, and of f16. */
const largest: Readonly<Record<PackedFormat, number>> = {
  int8: 127 * 65504,
  int4: 9.5 * 65504,
  int4a: 65504,
  int3: 4.75 * 65504,
  nf4: 127 * 65504,
};

/** Magnitudes from 2^-40 to 2^17, zeros and ties among them. */
function valuesOf(count: number, most: number): Float32Array {
  let state = 12345;
  const random = () => (state = Math.imul(state, 1664525) + 1013904223 >>> 0) / 2 ** 32;
  const values = Float32Array.from({ length: count }, () => {
    const kind = random();
    if (kind < 0.05) return 0;
    if (kind < 0.1) return -0;
    if (kind < 0.3) return Math.round(random() * 254 - 127) / 2; // halves: ties where the scale is 1
    return (random() - 0.5) * 2 ** Math.floor(random() * 12 - 6);
  });
  for (let start = 0; start < count; start += 7 * 32) {
    const factor = 2 ** Math.floor(random() * 50 - 40);
    for (let i = start; i < Math.min(count, start + 64); i++) values[i] *= factor;
  }
  for (let i = 3; i < count; i += 32) if (random() < 0.2) values[i] = 127;
  return values.map((value) => Math.max(-most, Math.min(most, value)));
}

for (const format of packedFormats) {
  test(`a matrix in ${format} reads back as the values that it was rounded to`, () => {
    for (const [rows, width] of shapes) {
      const values = valuesOf(rows * width, largest[format]);
      const bytes = packT16(values, rows, width, format);
      assert.equal(bytes.length, packedShape(format, rows, width).reduce((a, b) => a * b));
      const found = unpackT16(bytes, rows, width, format);
      roundToPacked(format, values, width);
      for (let i = 0; i < values.length; i++) {
        assert(found[i] === values[i], `(${rows}, ${width}) at ${i}: ${found[i]}, ${values[i]} needed`);
      }
    }
  });

  test(`values that ${format} cannot hold are refused`, () => {
    for (const value of [NaN, Infinity, -Infinity, 1e7]) {
      const values = new Float32Array(70);
      values[40] = value;
      assert.throws(() => packT16(values, 2, 35, format), RangeError);
    }
  });

  test(`a matrix in ${format} is on every backend the one that it packs itself`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "hadal-t16-"));
    try {
      for (const { name, open } of await everyBackend()) {
        const backend = await open();
        try {
          for (const [rows, width] of shapes) {
            const [plain, packed] = store(folder, rows, width, format);
            const tokens = Int32Array.from({ length: rows }, (_, row) => row);
            const [expected, found] = [plain, packed].map((stored) => {
              const weight = backend.loadWeight(stored, format);
              assert.equal(weight.format, format);
              backend.beginStep();
              return backend.read(backend.embed(weight, tokens));
            });
            for (let i = 0; i < found.length; i++) {
              assert(
                found[i] === expected[i],
                `${name}: (${rows}, ${width}) at ${i}: ${found[i]}, ${expected[i]}`,
              );
            }
          }
        } finally {
          backend.close();
        }
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}

test("the largest value of int8 is 127 times the largest f16", () => {
  assert.equal(int8Scale(127 * 65504), 65504);
});

test("a T16 matrix of another size, unaligned, or of another format than int8 is refused", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hadal-t16-"));
  try {
    const [, packed] = store(folder, 17, 65, "int8");
    for (const { name, open } of await everyBackend()) {
      const backend = await open();
      try {
        assert.equal(backend.loadWeight(packed, "auto").format, "int8", name);
        assert.throws(() => backend.loadWeight({ ...packed, rows: 33 }, "auto"), RangeError);
        assert.throws(
          () => backend.loadWeight({ ...packed, sizeBytes: packed.sizeBytes - 64 }, "auto"),
          RangeError,
        );
        assert.throws(() => backend.loadWeight({ ...packed, offset: 32 }, "auto"), RangeError);
        assert.throws(
          () => backend.loadWeight({ ...packed, offset: 64 }, "auto"),
          /4416.*the file holds 4352/,
        ); // past the end
        assert.throws(() => backend.loadWeight({ ...packed, packed: undefined }, "auto"), UnsupportedError);
        assert.throws(() => backend.loadWeight(packed, "bf16"), UnsupportedError);
      } finally {
        backend.close();
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** @returns a matrix in f32 and the same in a packed format, each in a file of its own */
function store(
  folder: string,
  rows: number,
  width: number,
  format: PackedFormat,
): [plain: StoredMatrix, packed: StoredMatrix] {
  const values = valuesOf(rows * width, largest[format]);
  const save = (file: string, bytes: Uint8Array, dtype: Dtype): StoredMatrix => {
    writeFileSync(file, bytes);
    return { name: "matrix", file, offset: 0, sizeBytes: bytes.length, dtype, rows, width };
  };
  const path = join(folder, `${rows}-${width}-${format}`);
  const plain = save(`${path}.f32`, new Uint8Array(values.buffer), "F32");
  return [plain, { ...save(`${path}.t16`, packT16(values, rows, width, format), "U8"), packed: format }];
}
