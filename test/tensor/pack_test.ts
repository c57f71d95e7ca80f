/**
 * What the kernels pack is, byte for byte, what is written down in TypeScript: a file made by one is used
 * by the other.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KernelLibrary } from "../../ffi/library.ts";
import { isaNames, isasOf } from "../../src/backend/native/isa.ts";
import { nativeFormats } from "../../src/backend/native/weights.ts";
import type { WeightFormat } from "../../src/tensor/dtype.ts";
import { packFp8, toFp8 } from "../../src/tensor/fp8.ts";
import { isPackedFormat, packedFormats, weightBytes } from "../../src/tensor/packed_format.ts";
import { roundToBf16 } from "../../src/tensor/round.ts";
import { packT16 } from "../../src/tensor/t16.ts";
import { decode } from "../../src/checkpoint/decode.ts";
import { kernelLibrary } from "../backends.ts";

const library = await kernelLibrary();
const shapes = [[1, 1], [16, 64], [17, 65], [5, 31], [130, 300], [33, 2100]] as const;
/** Those that are made; blocks of GGUF files are only read. */
const formats = ["bf16", "fp8", ...packedFormats] as const;

/** Normal numbers, with rows of all sizes, groups of equal values, zeros and outliers. */
function valuesOf(rows: number, width: number): Float32Array {
  let state = 99;
  const random = () => (state = Math.imul(state, 1664525) + 1013904223 >>> 0) / 2 ** 32;
  return Float32Array.from({ length: rows * width }, (_, i) => {
    const row = Math.floor(i / width), group = Math.floor(i % width / 32);
    const value = random() + random() + random() - 1.5;
    if ((row + group) % 11 === 3) return 0.37;
    if ((row + group) % 13 === 5) return 0;
    if (random() < 0.01) return value * 50;
    return value * 2 ** (row % 40 - 26);
  });
}

function expectedBytes(format: WeightFormat, values: Float32Array, rows: number, width: number): Uint8Array {
  if (isPackedFormat(format)) return packT16(values, rows, width, format);
  if (format === "bf16") {
    const bits = new Uint32Array(values.map(roundToBf16).buffer);
    return new Uint8Array(Uint16Array.from(bits, (word) => word >>> 16).buffer);
  }
  const { codes, scales } = packFp8(values, rows, width);
  const scaleAt = Math.ceil(codes.length / 64) * 64;
  const bytes = new Uint8Array(scaleAt + scales.byteLength);
  bytes.set(codes);
  bytes.set(new Uint8Array(scales.buffer), scaleAt);
  return bytes;
}

function packedBy(
  library: KernelLibrary,
  isa: number,
  index: number,
  values: Float32Array,
  rows: number,
  width: number,
) {
  const { calls } = library;
  const device = calls.device_open(isa, 2, 2 ** 16);
  try {
    const data = calls.buffer_create(device, values.byteLength);
    calls.buffer_write(data, 0, values, values.byteLength);
    const packed = calls.weight_pack(calls.weight_create(data, 0, 0, 0, 0, rows, width), index);
    assert.ok(packed > 0);
    return { bytes: calls.weight_bytes(packed), read: readAll(library, packed) };
  } finally {
    calls.device_close(device);
  }
}

/** Bytes in pieces of odd sizes, as far as there are any. */
function readAll({ calls }: KernelLibrary, weight: number): Uint8Array {
  const out: number[] = [];
  for (const size of [1000003, 997, 61, 1]) {
    const piece = new Uint8Array(size);
    while (calls.weight_read(piece, weight, out.length, size) === 0) for (const byte of piece) out.push(byte);
  }
  return Uint8Array.from(out);
}

if (library !== null) {
  for (const isa of isasOf(library)) {
    for (const format of formats) {
      test(`${format} packed on ${isa} has the bytes of the specification`, () => {
        for (const [rows, width] of shapes) {
          const values = valuesOf(rows, width);
          const expected = expectedBytes(format, values, rows, width);
          const index = nativeFormats.indexOf(format);
          const { bytes, read } = packedBy(
            library,
            isaNames.indexOf(isa as "avx2"),
            index,
            values,
            rows,
            width,
          );
          assert.equal(bytes, weightBytes(format, rows, width));
          const wrong = expected.findIndex((byte, i) => byte !== read[i]);
          assert.equal(
            wrong,
            -1,
            `(${rows}, ${width}): byte ${wrong} is ${read[wrong]}, not ${expected[wrong]}`,
          );
          assert.equal(read.length, expected.length);
        }
      });
    }
  }
}

test("each e4m3 value is its own nearest, and halfway between two the even one is", () => {
  const values = decode("F8_E4M3", Uint8Array.from({ length: 0x7f }, (_, code) => code));
  for (const [code, value] of values.entries()) {
    assert.equal(toFp8(value), code);
    assert.equal(toFp8(-value), code | 0x80);
    if (code === 0) continue;
    const middle = (value + values[code - 1]) / 2;
    assert.equal(toFp8(middle), code % 2 === 0 ? code : code - 1);
    assert.equal(toFp8(middle * (1 + 2 ** -20)), code);
  }
  assert.equal(toFp8(1e9), 0x7e);
});
