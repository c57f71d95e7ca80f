import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { StoredTensor, Validation } from "../../src/checkpoint/checkpoint.ts";
import { ModelFile } from "../../src/checkpoint/file.ts";
import { maxHeaderBytes, readSafetensors } from "../../src/checkpoint/safetensors.ts";
import { CheckpointError } from "../../src/errors.ts";
import { dtypeBits } from "../../src/tensor/dtype.ts";
import { folderOf, memoryFile, safetensors, withFolder, writeSparse } from "./write_safetensors.ts";
import { spentBy } from "../spent.ts";

const f32 = (begin: number, end: number, shape = [(end - begin) / 4]) => ({
  dtype: "F32",
  shape,
  data_offsets: [begin, end],
});

function readTable(bytes: Uint8Array, validation: Validation = "basic"): StoredTensor[] {
  return readSafetensors(memoryFile(bytes), validation);
}

/** Asserts that a file is refused quickly, in one sentence that names it and matches `problem`. */
function refuses(bytes: Uint8Array, problem: RegExp): void {
  const spent = spentBy(() => {
    assert.throws(() => readTable(bytes), (error: unknown) => {
      assert.ok(error instanceof CheckpointError, `${error}`);
      assert.match(error.file, /model\.safetensors$/);
      assert.match(error.message, /^Cannot read .*model\.safetensors: [^\n]{1,400}[^.]$/);
      assert.match(error.message, problem);
      return true;
    });
  });
  assert.ok(spent < 5000); // a fifth of a second where it takes longest
}

function refusesHeader(header: unknown, problem: RegExp, data: number | Uint8Array = 8): void {
  refuses(safetensors(typeof header === "string" ? header : JSON.stringify(header), data), problem);
}

test("a sound file gives its tensors, sorted or not, with padding and metadata", () => {
  const header = { __metadata__: { format: "pt" }, b: f32(8, 24, [2, 2]), a: f32(0, 8) };
  const text = JSON.stringify(header) + "   ";
  const table = readTable(safetensors(text, 24));
  const start = 8 + text.length;
  assert.deepEqual(table.map(({ file: _, ...tensor }) => tensor), [
    { name: "b", dtype: "F32", shape: [2, 2], offset: start + 8, sizeBytes: 16 },
    { name: "a", dtype: "F32", shape: [2], offset: start, sizeBytes: 8 },
  ]);
});

test("a file without tensors is sound", () => {
  assert.deepEqual(readTable(safetensors("{}      ")), []);
  assert.deepEqual(readTable(safetensors('{"__metadata__":{"framework":"pt"}}')), []);
});

test("a file too short to have a header is refused", () => {
  refuses(new Uint8Array(0), /it holds 0 bytes/);
  refuses(new Uint8Array(7), /it holds 7 bytes/);
  refuses(new Uint8Array(8), /it holds 8 bytes/);
});

test("a header length past the file, past the limit or past 2^53 is refused", () => {
  refuses(safetensors("{}", 0, 2n ** 64n - 1n), /header claims 18446744073709551615 bytes/);
  refuses(safetensors("{}", 0, 2n ** 63n), /header claims 9223372036854775808 bytes/);
  refuses(safetensors("{}", 0, 2n ** 53n + 1n), /header claims 9007199254740993 bytes/);
  refuses(safetensors("{}", 0, 100_000_001n), /at most 32000000 are read/);
  refuses(safetensors("{}", 0, 3n), /header claims 3 bytes, the file holds 10/);
  refuses(safetensors("{}", 8, 0n), /does not start with '\{'/);
  refuses(safetensors("{}", 8, 1n), /does not start with '\{'/);
});

test("a sparse file of 5 TB with a header past the limit is refused without being read", () => {
  const folder = folderOf({});
  try {
    const path = join(folder, "model.safetensors");
    writeSparse(path, safetensors("{}", 0, BigInt(maxHeaderBytes + 1)), 5e12);
    const file = new ModelFile(path);
    assert.throws(() => readSafetensors(file, "basic"), /header claims 32000001 bytes/);
    file.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("tensors beyond 4 GB keep their exact places", () => {
  const folder = folderOf({});
  try {
    const path = join(folder, "model.safetensors");
    const gap = 5 * 2 ** 30;
    const header = { a: { dtype: "U8", shape: [5, 2 ** 30], data_offsets: [0, gap] }, b: f32(gap, gap + 4) };
    const start = safetensors(JSON.stringify(header));
    writeSparse(path, start, start.length + gap + 4);
    const file = new ModelFile(path);
    const b = readSafetensors(file, "basic")[1];
    assert.equal(b.offset, start.length + gap);
    assert.deepEqual([...file.read(b.offset, b.sizeBytes)], [0, 0, 0, 0]);
    file.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a header that starts with anything but a brace is refused", () => {
  for (const header of [" {}", "\n{}", "[]", "null", "\ufeff{}"]) {
    refusesHeader(header, /does not start with '\{'/);
  }
});

test("a header that is no UTF-8 is refused", () => {
  refuses(
    safetensors(new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d]), 8),
    /a string before byte \d+ is not UTF-8/,
  );
  refuses(
    safetensors(new Uint8Array([0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x7d]), 8),
    /a string before byte \d+ is not UTF-8/,
  );
});

test("a header that is no JSON, or goes on after it, is refused", () => {
  for (
    const header of ["{", '{"a', '{"a":', '{"__metadata__":{}', "{}{}", "{},", "{'a':1}", "{NaN}", '{"a":1,}']
  ) {
    refusesHeader(header, /header/);
  }
  refusesHeader("{}\n", /padded with other characters than spaces/);
  refusesHeader("{}\0", /found "\\u0000" at byte 2, needed the end/);
});

test("a name, a field or an escaped name that comes twice is refused", () => {
  const tensor = JSON.stringify(f32(0, 8));
  refusesHeader(`{"a":${tensor},"a":${tensor}}`, /has the key "a" twice/);
  refusesHeader(`{"a":${tensor},"\\u0061":${tensor}}`, /has the key "a" twice/);
  refusesHeader(
    '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"dtype":"U8"}}',
    /has the key "dtype" twice/,
  );
  refusesHeader('{"__metadata__":{"x":"1","x":"2"}}', /has the key "x" twice/, 0);
  refusesHeader('{"__metadata__":{},"__metadata__":{}}', /has the key "__metadata__" twice/, 0);
});

test("names that mean something in JavaScript are only names", () => {
  const names = [
    "__proto__",
    "constructor",
    "toString",
    "",
    "hasOwnProperty",
    "n".repeat(1_000_000),
    "\0",
    "😀",
  ];
  const header = names.map((name, i) => `${JSON.stringify(name)}:${JSON.stringify(f32(4 * i, 4 * i + 4))}`);
  const table = readTable(safetensors(`{${header.join()}}`, 4 * names.length));
  assert.deepEqual(table.map(({ name }) => name), names);
  assert.equal(({} as Record<string, unknown>).dtype, undefined);
});

test("offsets that are reversed, negative, fractional, text or beyond exact numbers are refused", () => {
  for (
    const range of [
      "[8,0]",
      "[-4,4]",
      "[0,8.0]",
      "[0.5,8]",
      '["0","8"]',
      "[0,9007199254740993]",
      "[0,1e400]",
      "[0,8e0]",
    ]
  ) {
    refusesHeader(
      `{"a":{"dtype":"F32","shape":[2],"data_offsets":${range}}}`,
      /data_offsets|before it begins/,
    );
  }
  for (const range of ["[]", "[0]", "[0,4,8]"]) {
    refusesHeader(`{"a":{"dtype":"F32","shape":[2],"data_offsets":${range}}}`, /data_offsets, 2 are needed/);
  }
  for (const range of ["null", "{}", "8"]) {
    refusesHeader(`{"a":{"dtype":"F32","shape":[2],"data_offsets":${range}}}`, /needed an array/);
  }
  refusesHeader({ a: f32(0, 12) }, /ends at byte \d+, the file holds/);
  refusesHeader(
    { a: { dtype: "F32", shape: [2], data_offsets: [2 ** 53 - 9, 2 ** 53 - 1] } },
    /the file holds/,
  );
});

test("tensors that overlap, leave a hole, or leave bytes before or after are refused", () => {
  refusesHeader({ a: f32(0, 8), b: f32(4, 12) }, /"b" at byte \d+ overlaps/, 12);
  refusesHeader({ a: f32(0, 8), b: f32(0, 8) }, /overlaps/, 8);
  refusesHeader({ a: f32(0, 4), b: f32(8, 12) }, /"b" at byte \d+ leaves a hole/, 12);
  refusesHeader({ a: f32(4, 12) }, /leaves a hole/, 12);
  refusesHeader({ a: f32(0, 8) }, /tensors end at byte \d+, the file holds/, 9);
  refusesHeader("{}", /tensors end at byte 10, the file holds 18/);
});

test("a truncated file is refused with the bytes claimed and found, wherever it ends", () => {
  const whole = safetensors(JSON.stringify({ a: f32(0, 8), b: f32(8, 24) }), 24);
  for (let size = 0; size < whole.length; size++) {
    refuses(
      whole.slice(0, size),
      size < 9 ? new RegExp(`holds ${size} bytes`) : new RegExp(`holds ${size}$`),
    );
  }
});

test("a shape that does not give the range is refused, also where its product wraps", () => {
  refusesHeader({ a: f32(0, 8, [3]) }, /\[3\] in F32 needs 12 bytes, its range has 8/);
  refusesHeader({ a: f32(0, 8, []) }, /needs 4 bytes/);
  // 4194305 * 4194305 * 211106198978564 * 4 is 4 modulo 2^64.
  refusesHeader({ a: f32(0, 4, [4194305, 4194305, 211106198978564]) }, /needs too many bytes/, 4);
  refusesHeader(
    { a: { dtype: "U8", shape: [2 ** 32, 2 ** 32], data_offsets: [0, 0] } },
    /needs too many bytes/,
    0,
  );
  for (const size of ["-1", "1.5", "2.0", '"2"', "null", "[2]"]) {
    refusesHeader(`{"a":{"dtype":"F32","shape":[${size}],"data_offsets":[0,8]}}`, /whole number .* shape/);
  }
  refusesHeader(f32(0, 8), /header/);
});

test("a dtype that the format does not have is refused, and all that it has are read", () => {
  for (const dtype of ["F128", "f32", "", "toString", "__proto__"]) {
    refusesHeader({ a: { dtype, shape: [2], data_offsets: [0, 8] } }, /unknown dtype/);
  }
  for (const dtype of ["null", "4", "{}"]) {
    refusesHeader(`{"a":{"dtype":${dtype},"shape":[2],"data_offsets":[0,8]}}`, /a string for dtype/);
  }
  for (const [dtype, bits] of Object.entries(dtypeBits)) {
    const [tensor] = readTable(
      safetensors(JSON.stringify({ a: { dtype, shape: [8], data_offsets: [0, bits] } }), bits),
    );
    assert.equal(tensor.dtype, dtype);
  }
  refusesHeader({ a: { dtype: "F4", shape: [3], data_offsets: [0, 1] } }, /\[3\] in F4 needs/, 1);
});

test("empty tensors, scalars and a hundred dimensions are legal", () => {
  const header = {
    empty: f32(0, 0, [0]),
    first: f32(0, 4, []),
    between: { dtype: "BF16", shape: [7, 0, 3], data_offsets: [4, 4] },
    many: f32(4, 8, Array(100).fill(1)),
    last: f32(8, 8, [0, 0]),
  };
  const table = readTable(safetensors(JSON.stringify(header), 8));
  assert.deepEqual(table.map(({ sizeBytes }) => sizeBytes), [0, 4, 0, 4, 0]);
  refusesHeader({ a: f32(0, 8), b: f32(4, 4, [0]) }, /overlaps/);
});

test("missing fields are refused, unknown ones are passed over", () => {
  refusesHeader({ a: {} }, /"a" needs dtype, shape and data_offsets/);
  refusesHeader({ a: { dtype: "F32", shape: [2] } }, /needs dtype, shape and data_offsets/);
  refusesHeader({ a: [] }, /needed an object/);
  assert.equal(
    readTable(safetensors(JSON.stringify({ a: { ...f32(0, 8), x: [{ y: null }] } }), 8)).length,
    1,
  );
});

test("metadata other than text to text is refused", () => {
  for (const metadata of ["[]", '"x"', "null", '{"a":1}', '{"a":{}}', '{"a":null}']) {
    refusesHeader(`{"__metadata__":${metadata}}`, /__metadata__/, 0);
  }
});

test("a header nested a million deep is refused", () => {
  refusesHeader(`{"a":{"x":${"[".repeat(1_000_000)}`, /nested deeper than 128/);
});

test("a hundred thousand tensors are read in seconds at most", () => {
  const entries = Array.from(
    { length: 100_000 },
    (_, i) => [`model.layers.${i}.weight`, f32(4 * i, 4 * i + 4)],
  );
  const bytes = safetensors(JSON.stringify(Object.fromEntries(entries)), 400_000);
  const spent = spentBy(() => {
    assert.equal(readTable(bytes).length, 100_000);
  });
  assert.ok(spent < 5000); // a quarter of a second where nothing else runs
});

test("validation none keeps ranges inside the file and lets holes be", () => {
  const hole = safetensors(JSON.stringify({ a: f32(4, 8) }), 16);
  assert.equal(readTable(hole, "none")[0].sizeBytes, 4);
  for (
    const header of [{ a: f32(0, 12) }, { a: f32(0, 8, [1]) }, {
      a: { dtype: "F3", shape: [2], data_offsets: [0, 8] },
    }]
  ) {
    assert.throws(() => readTable(safetensors(JSON.stringify(header), 8), "none"), CheckpointError);
  }
});

test("a file that shrinks after it was opened is an error when it is read", () => {
  withFolder({ "model.safetensors": safetensors(JSON.stringify({ a: f32(0, 8) }), 8) }, (folder) => {
    const path = join(folder, "model.safetensors");
    const file = new ModelFile(path);
    const [tensor] = readSafetensors(file, "basic");
    writeSparse(path, new Uint8Array(4), 4);
    assert.throws(
      () => file.read(tensor.offset, tensor.sizeBytes),
      /ends at byte \d+, it held \d+ when it was opened/,
    );
    file.close();
    assert.throws(() => file.read(0, 1), /it has been closed/);
  });
});
