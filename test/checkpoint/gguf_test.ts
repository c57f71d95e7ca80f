import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openGguf, readGguf } from "../../src/checkpoint/gguf.ts";
import { ggufFileOf } from "../../src/checkpoint/gguf_splits.ts";
import { CheckpointError, UnsupportedError } from "../../src/errors.ts";
import { type FileParts, ggufFile, type Value } from "./gguf_file.ts";
import { memoryFile, withFolder } from "./write_safetensors.ts";
import { spentBy } from "../spent.ts";

const ones = { shape: [2, 4], bytes: new Uint8Array(new Float32Array(8).fill(1).buffer) };
const architecture = ["general.architecture", ["string", "deepseek2"]] as const;

function refuses(
  what: Uint8Array | FileParts,
  problem: RegExp,
  kind: "damaged" | "unsupported" = "damaged",
): void {
  const bytes = what instanceof Uint8Array ? what : ggufFile(what);
  const spent = spentBy(() => {
    assert.throws(() => readGguf(memoryFile(bytes), "basic"), (error: unknown) => {
      assert.ok(error instanceof (kind === "damaged" ? CheckpointError : UnsupportedError), `${error}`);
      assert.match(error.message, /^Cannot read memory[^\n]*[^.]$/);
      assert.match(error.message, problem);
      return true;
    });
  });
  assert.ok(spent < 5000); // a fifth of a second where it takes longest
}

const accepts = (parts: FileParts) => readGguf(memoryFile(ggufFile(parts)), "basic");

test("a file of version 2 or 3 gives its keys with their types, and its tensors outermost size first", () => {
  for (const version of [2, 3]) {
    const { metadata, tensors } = accepts({
      version,
      metadata: [
        architecture,
        ["a.u8", ["u8", 200]],
        ["a.i8", ["i8", -3]],
        ["a.u16", ["u16", 65535]],
        ["a.i16", ["i16", -300]],
        ["a.i32", ["i32", -70000]],
        ["a.f32", ["f32", 0.1]],
        ["a.bool", ["bool", true]],
        ["a.u64", ["u64", 2n ** 63n]],
        ["a.i64", ["i64", -5n]],
        ["a.f64", ["f64", 0.1]],
        ["a.list", ["array", "string", ["x", "", "ü"]]],
      ],
      tensors: [ones, { name: "q", shape: [3, 64], type: 8, bytes: new Uint8Array(3 * 68) }],
    });
    assert.deepEqual(metadata.get("a.u64"), { type: "u64", value: 2n ** 63n });
    assert.deepEqual(metadata.get("a.i64"), { type: "i64", value: -5 });
    assert.deepEqual(metadata.get("a.f32"), { type: "f32", value: Math.fround(0.1) });
    assert.deepEqual(metadata.get("a.list"), { type: "array", of: "string", value: ["x", "", "ü"] });
    assert.equal(metadata.size, 12);
    assert.deepEqual(tensors.map(({ name, type, shape, sizeBytes }) => ({ name, type, shape, sizeBytes })), [
      { name: "t0", type: "F32", shape: [2, 4], sizeBytes: 32 },
      { name: "q", type: "Q8_0", shape: [3, 64], sizeBytes: 204 },
    ]);
    assert.equal(tensors[1].offset - tensors[0].offset, 32);
  }
});

test("a file may be without tensors, have empty ones, and be aligned otherwise than by 32 bytes", () => {
  assert.deepEqual(accepts({}).tensors, []);
  assert.equal(accepts({ tensors: [{ shape: [0, 4] }] }).tensors[0].sizeBytes, 0);
  for (const alignment of [8, 64, 4096]) {
    const metadata = [["general.alignment", ["u32", alignment]]] as const;
    const { tensors } = accepts({ metadata, tensors: [ones, ones] });
    assert.ok(tensors.every(({ offset }) => offset % alignment === 0));
  }
});

test("a file that is cut off anywhere is refused", () => {
  const whole = ggufFile({
    metadata: [architecture, ["l", ["array", "u16", [1, 2, 3]]]],
    tensors: [ones, ones],
  });
  for (let length = 0; length < whole.length; length++) {
    refuses(whole.slice(0, length), /short|ends|byte|needs?|left/);
  }
});

test("another magic number, version or byte order is refused by its name", () => {
  refuses({ magic: "GGML" }, /does not begin with "GGUF"/);
  refuses(new Uint8Array(), /holds 0 bytes/);
  refuses({ version: 0 }, /version 0, 2 and 3 are read/, "unsupported");
  refuses({ version: 1 }, /version 1, 2 and 3 are read; convert the original/, "unsupported");
  refuses({ version: 4 }, /version 4/, "unsupported");
  refuses({ version: 3 << 24 }, /big-endian/, "unsupported");
});

test("counts and lengths beyond the file are refused before anything is allocated", () => {
  for (const huge of [2n ** 63n - 1n, 2n ** 64n - 1n, 2n ** 61n + 1n, 1_000_001n, 999_999n]) {
    refuses({ nTensors: huge }, /number of tensors is|need more than the file/);
    refuses({ nKeys: huge }, /number of keys is|need more than the file/);
    refuses({ metadata: [["a", ["array", "u8", [1], huge]]] }, /length of "a" is|"a" has \d+ entries/);
  }
  const start = ggufFile({ metadata: [["a", ["string", "bc"]]] });
  for (const [at, huge] of [[24, 2n ** 64n - 1n], [37, 2n ** 40n], [24, 3n], [37, 40n]] as const) {
    const bytes = start.slice();
    new DataView(bytes.buffer).setBigUint64(at, huge, true);
    refuses(bytes, /has \d+ bytes, the file has \d+ more|has type/);
  }
});

test("keys that are empty, twice there, no UTF-8 or of no type are refused", () => {
  refuses({ metadata: [["", ["u8", 1]]] }, /a key is empty/);
  refuses({ metadata: [["a", ["u8", 1]], ["a", ["u8", 1]]] }, /key "a" is there twice/);
  refuses({ metadata: [["a", [13, 0]]] }, /key "a" has type 13, 0 to 12 are known/);
  refuses({ metadata: [["a", ["array", 13, [0]]]] }, /key "a" has type 13/);
  refuses({ metadata: [["a", ["array", "array", []]]] }, /array of arrays/);
  refuses(
    { metadata: [["a", ["u8", 2]], ["b", ["bool", 2 as unknown as boolean]]] },
    /is 2, 0 or 1 is needed/,
  );
  const bytes = ggufFile({ metadata: [["ab", ["u8", 1]]] });
  bytes[33] = 0xff;
  refuses(bytes, /no valid UTF-8/);
});

test("an alignment that is no power of two from 8 to a million, or no u32, is refused", () => {
  const alignments: Value[] = [0, 1, 3, 4, 13, 2 ** 21, 2 ** 31].map((value) => ["u32", value]);
  for (
    const value of [...alignments, ["i32", 32], ["u64", 32n], ["string", "32"], ["array", "u32", [
      32,
    ]]] as Value[]
  ) {
    refuses({ metadata: [["general.alignment", value]], tensors: [ones] }, /general\.alignment is/);
  }
});

test("tensors with impossible names, dimensions or sizes are refused", () => {
  refuses({ tensors: [{ ...ones, name: "" }] }, /name is empty/);
  refuses({ tensors: [{ ...ones, name: "x".repeat(256) }] }, /has 256 bytes, at most 255/);
  refuses({ tensors: [{ ...ones, name: "a" }, { ...ones, name: "a" }] }, /"a" is there twice/);
  for (const nDimensions of [0, 5, 2 ** 32 - 1]) {
    refuses({ tensors: [{ ...ones, nDimensions }] }, /dimensions, 1 to 4 are needed/);
  }
  for (const size of [2n ** 62n - 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    refuses({ tensors: [{ shape: [size] }] }, /at most 9007199254740991 is possible/);
  }
  // Products that are small in 64 bits.
  refuses({ tensors: [{ shape: [2 ** 32, 2 ** 32] }] }, /needs too many bytes/);
  refuses({ tensors: [{ shape: [4194305, 4194305, 211106198978564n] }] }, /needs too many bytes/);
  refuses({ tensors: [{ shape: [2 ** 50, 32], type: 2 }] }, /needs too many bytes/);
  refuses(
    { tensors: [{ shape: [2, 48], type: 8, bytes: new Uint8Array(102) }] },
    /Q8_0 needs a multiple of 32/,
  );
  refuses(
    { tensors: [{ shape: [1, 128], type: 12, bytes: new Uint8Array(72) }] },
    /Q4_K needs a multiple of 256/,
  );
});

test("tensors outside the file, between its units or upon each other are refused", () => {
  refuses({ tensors: [{ ...ones, offset: 32n }], cut: 1 }, /ends at byte/);
  refuses({ tensors: [ones], cut: 1 }, /ends at byte \d+, the file holds/);
  refuses({ tensors: [{ ...ones, offset: 2n ** 63n }] }, /ends at byte/);
  refuses({ tensors: [{ ...ones, offset: 2n ** 64n - 32n }] }, /ends at byte/);
  refuses({ tensors: [{ ...ones, offset: 16n }] }, /begins at 16, a multiple of 32/);
  refuses({ tensors: [ones, { ...ones, offset: 0n }] }, /overlaps the one before/);
  refuses({ tensors: [{ shape: [16], bytes: new Uint8Array(64) }, { ...ones, offset: 32n }] }, /overlaps/);
});

test("types that are unknown or given up are unsupported, not damage", () => {
  refuses({ tensors: [{ ...ones, type: 4 }] }, /type 4 \(Q4_2\), which GGUF has given up/, "unsupported");
  refuses({ tensors: [{ ...ones, type: 9 }] }, /type 9, which is not known; known are F32/, "unsupported");
  refuses({ tensors: [{ ...ones, type: 2 ** 31 }] }, /not known/, "unsupported");
});

const part = (no: number, count: number, more: FileParts = {}) =>
  ggufFile({
    ...more,
    metadata: [
      ...(no === 0 ? [architecture] : []),
      ["split.no", ["u16", no]],
      ["split.count", ["u16", count]],
      ["split.tensors.count", ["i32", 3]],
    ],
  });
const parts = {
  "m-00001-of-00003.gguf": part(0, 3, { tensors: [{ ...ones, name: "a" }] }),
  "m-00002-of-00003.gguf": part(1, 3, { tensors: [{ ...ones, name: "b" }] }),
  "m-00003-of-00003.gguf": part(2, 3, { tensors: [{ ...ones, name: "c" }] }),
};

test("a model in parts has the tensors of all, each in its file", () => {
  withFolder(parts, (folder) => {
    const first = join(folder, "m-00001-of-00003.gguf");
    assert.equal(ggufFileOf(folder), first);
    const model = openGguf(first);
    assert.deepEqual([...model.tensors.keys()], ["a", "b", "c"]);
    assert.equal(model.tensors.get("c")!.file, join(folder, "m-00003-of-00003.gguf"));
    assert.equal(model.files.size, 3);
    model.close();
  });
});

test("parts that are missing, renamed, of another model or not the first are refused", () => {
  const refusesParts = (files: Record<string, Uint8Array>, problem: RegExp, open = "m-00001-of-00003.gguf") =>
    withFolder(files, (folder) => {
      assert.throws(() => openGguf(join(folder, open)), (error: unknown) => {
        assert.ok(error instanceof CheckpointError, `${error}`);
        assert.match(error.message, problem);
        return true;
      });
    });
  const { "m-00002-of-00003.gguf": second, ...others } = parts;
  refusesParts(others, /m-00002-of-00003\.gguf: there is no such file/);
  refusesParts(
    { ...parts, "m-00002-of-00003.gguf": parts["m-00003-of-00003.gguf"] },
    /its split\.no is 2, 1 of 3/,
  );
  refusesParts(parts, /it is part 2 of 3, the first part is needed/, "m-00002-of-00003.gguf");
  refusesParts(
    { "x.gguf": parts["m-00001-of-00003.gguf"] },
    /a name that ends in -00001-of-00003\.gguf/,
    "x.gguf",
  );
  const twice = part(1, 3, { tensors: [{ ...ones, name: "a" }] });
  refusesParts({ ...parts, "m-00002-of-00003.gguf": twice }, /tensor "a" is also in/);
  const more = part(1, 3, { tensors: [{ ...ones, name: "b" }, { ...ones, name: "d" }] });
  refusesParts({ ...parts, "m-00002-of-00003.gguf": more }, /split\.tensors\.count is 3, the 3 parts hold 4/);
  const open = (no: number, count: number) =>
    refusesParts({ "m-00001-of-00003.gguf": part(no, count) }, /split\.(no|count) is/);
  open(3, 3);
  open(0, 20_000);
  assert.ok(second.length > 0);
});

test("a link out of the folder is refused in a folder, and followed where a user names it", () => {
  const outside = mkdtempSync(join(tmpdir(), "hadal-test-"));
  try {
    writeFileSync(join(outside, "x"), ggufFile({ tensors: [ones] }));
    withFolder({}, (folder) => {
      symlinkSync(join(outside, "x"), join(folder, "a.gguf"));
      assert.throws(() => ggufFileOf(folder), /link that leads outside the folder/);
      openGguf(join(folder, "a.gguf")).close();
    });
  } finally {
    rmSync(outside, { recursive: true });
  }
});

test("a part that is a link out of the folder is refused", () => {
  const outside = mkdtempSync(join(tmpdir(), "hadal-test-"));
  try {
    writeFileSync(join(outside, "secret"), parts["m-00002-of-00003.gguf"]);
    const { "m-00002-of-00003.gguf": _, ...others } = parts;
    withFolder(others, (folder) => {
      symlinkSync(join(outside, "secret"), join(folder, "m-00002-of-00003.gguf"));
      assert.throws(
        () => openGguf(join(folder, "m-00001-of-00003.gguf")),
        /link that leads outside the folder/,
      );
    });
  } finally {
    rmSync(outside, { recursive: true });
  }
});

test("a folder is a GGUF model when it holds one and no other weights; several must be told apart", () => {
  const file = ggufFile({});
  withFolder({ "a.gguf": file }, (folder) => assert.equal(ggufFileOf(folder), join(folder, "a.gguf")));
  withFolder(
    { "a.gguf": file, "config.json": {} },
    (folder) => assert.equal(ggufFileOf(folder), join(folder, "a.gguf")),
  );
  for (const name of ["model.safetensors", "pytorch_model.bin"]) {
    withFolder({ "a.gguf": file, [name]: "" }, (folder) => assert.equal(ggufFileOf(folder), null));
  }
  withFolder({ "notes.txt": "" }, (folder) => assert.equal(ggufFileOf(folder), null));
  withFolder({ "a.gguf": file, "b.gguf": file }, (folder) => {
    assert.throws(() => ggufFileOf(folder), /holds 2 GGUF models \(a\.gguf, b\.gguf\)/);
  });
});

test("all GGUF files of the fixtures open", () => {
  const folder = fileURLToPath(new URL("../../../shared/fixtures/gguf/", import.meta.url));
  if (!existsSync(folder)) {
    return console.log("NOTE: ../shared/fixtures/gguf is not here: its files are not opened");
  }
  const names = readdirSync(folder).filter((name) => name.endsWith(".gguf"));
  assert.ok(names.length >= 10);
  for (const name of names) {
    const model = openGguf(join(folder, name));
    assert.ok(model.tensors.size >= 31, name);
    model.close();
  }
});
