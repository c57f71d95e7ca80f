import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import fc from "fast-check";
import { CheckpointError } from "../src/errors.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { readTokenizer } from "../src/tokenizer_cache.ts";
import { abandonedPath } from "./abandoned.ts";

const scratch = mkdtempSync(join(tmpdir(), "hadal-tokenizers-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

/** minnow's, with white space around it: only large files are kept. */
const json = new TextEncoder().encode(
  readFileSync(new URL("../examples/minnow/tokenizer.json", import.meta.url), "utf8") + " ".repeat(1 << 20),
);
const plain = Tokenizer.parse(json);
let nFolders = 0;
const newFolder = () => join(scratch, `${nFolders++}`);
const read = (folder: string | null, bytes: Uint8Array<ArrayBuffer> = json) =>
  readTokenizer(bytes, null, "tokenizer.json", folder);
const kept = (folder: string) =>
  readdirSync(join(folder, "tokenizers")).map((n) => join(folder, "tokenizers", n));

function assertSame(tokenizer: Tokenizer): void {
  assert.equal(tokenizer.vocabSize, plain.vocabSize);
  const special = { special: true };
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => {
    const marked = `${text} Once upon <｜User｜> ${text}`;
    assert.deepEqual(tokenizer.encode(marked, special), plain.encode(marked, special));
  }));
  for (let id = 0; id < plain.vocabSize; id += 7) {
    assert.deepEqual(tokenizer.tokenBytes(id), plain.tokenBytes(id));
    assert.equal(tokenizer.isSpecial(id), plain.isSpecial(id));
  }
}

test("a tokenizer from the cache is the one from its file", async () => {
  const folder = newFolder();
  assertSame(await read(folder)); // makes it
  const [path] = kept(folder);
  rmSync(path);
  writeFileSync(abandonedPath(path), "half"); // of a process that was killed
  assertSame(await read(folder));
  assert.deepEqual(kept(folder), [path]);
  const made = statSync(path);
  if (process.platform !== "win32") assert.equal(made.mode & 0o777, 0o600);
  assertSame(await read(folder));
  assertSame(await read(folder));
  assert.deepEqual([kept(folder).length, statSync(path).mtimeMs], [1, made.mtimeMs]);
});

test("small files and machines without a cache folder do without", async () => {
  const folder = newFolder();
  assertSame(await read(folder, json.subarray(0, json.length - (1 << 20))));
  assert.throws(() => statSync(folder), /ENOENT|No such file/);
  assertSame(await read(null));
  writeFileSync(join(scratch, "file"), "");
  assertSame(await read(join(scratch, "file"))); // no folder can be made there
});

test("what is damaged, cut off, of another kind or writable by others is made anew", async () => {
  const folder = newFolder();
  await read(folder);
  const [path] = kept(folder);
  const whole = readFileSync(path);
  const other = Buffer.from(whole);
  other[7]++;
  const flipped = Buffer.from(whole);
  flipped[whole.length >> 1] ^= 1; // in its tables, which nothing else would tell
  for (
    const bytes of [
      whole.subarray(0, whole.length - 1),
      Buffer.concat([whole, whole]),
      new Uint8Array(),
      other,
      flipped,
    ]
  ) {
    writeFileSync(path, bytes);
    assertSame(await read(folder));
    assert.ok(!readFileSync(path).equals(bytes));
  }
  if (process.platform === "win32") return;
  chmodSync(path, 0o666);
  assertSame(await read(folder));
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

test("another file is another tokenizer, one that is refused is not kept, and the oldest go", async () => {
  const folder = newFolder();
  await assert.rejects(read(folder, new Uint8Array(1 << 21).fill(0x7b)), CheckpointError);
  assert.throws(() => kept(folder), /ENOENT|No such file/);
  const clean = readFileSync(new URL("../examples/minnow/tokenizer.json", import.meta.url), "utf8");
  for (let n = 0; n < 10; n++) {
    await read(folder, new TextEncoder().encode(clean + " ".repeat((1 << 20) + n)));
  }
  assert.equal(kept(folder).length, 8);
});
