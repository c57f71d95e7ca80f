import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { BlockFiles } from "../../src/engine/block_files.ts";
import { blockName, rootName } from "../../src/engine/prefix_cache.ts";
import { unfinishedPath } from "../../src/unfinished.ts";
import { abandonedPath } from "../abandoned.ts";

const parent = mkdtempSync(join(tmpdir(), "hadal-blocks-"));
after(() => rmSync(parent, { recursive: true, force: true }));
const blockBytes = 1000, fileBytes = 64 + blockBytes + 32;

let nFolders = 0;
/** A folder of its own, and what it warned of. */
function open(maxBytes = 1e6, folder = join(parent, `${nFolders++}`)) {
  const warnings: string[] = [];
  const files = new BlockFiles(folder, maxBytes, blockBytes, (sentence) => warnings.push(sentence));
  return { folder, inner: join(folder, "kv-blocks"), files, warnings };
}

const nameOf = (i: number) => blockName(rootName("a tenant"), Int32Array.of(i));
const blockOf = (i: number) => new Uint8Array(blockBytes).map((_, at) => (i * 31 + at * 7) % 256);
const room = () => new Uint8Array(blockBytes);

test("a block that was written is read back, also by others that share the folder", () => {
  const { folder, files } = open();
  files.write(nameOf(1), 64, blockOf(1));
  files.write(nameOf(1), 64, blockOf(1));
  for (const each of [files, open(1e6, folder).files]) {
    const into = room();
    assert.ok(each.has(nameOf(1)) && each.read(nameOf(1), 64, into));
    assert.deepEqual(into, blockOf(1));
    assert.ok(!each.has(nameOf(2)) && !each.read(nameOf(2), 64, into));
    assert.equal(each.counts.bytes, fileBytes);
  }
  assert.equal(files.counts.writtenBlocks, 1);
});

test("files are the user's alone, and neither tenant nor model stands in them", () => {
  const { inner, files } = open();
  files.write(nameOf(1), 3, blockOf(1));
  const [name] = readdirSync(inner);
  assert.match(name, /^[0-9a-f]{64}\.kv$/);
  if (process.platform === "win32") return;
  assert.equal(statSync(inner).mode & 0o777, 0o700);
  assert.equal(statSync(join(inner, name)).mode & 0o777, 0o600);
});

test("a file that was cut, grown, or changed in any of its parts is rejected and deleted", () => {
  const { inner, files } = open();
  const places = [0, 8, 12, 20, 63, 64, 500, 64 + blockBytes, fileBytes - 1];
  const damages: ((path: string) => void)[] = [
    ...places.map((at) => (path: string) => {
      const bytes = readFileSync(path);
      bytes[at] ^= 1;
      writeFileSync(path, bytes);
    }),
    ...[0, 1, 63, 64, fileBytes - 1].map((size) => (path: string) => truncateSync(path, size)),
    (path) => writeFileSync(path, new Uint8Array([...readFileSync(path), 0])),
    (path) => {
      rmSync(path);
      mkdirSync(path);
    },
    (path) => {
      rmSync(path);
      symlinkSync("/dev/zero", path);
    },
  ];
  for (const [i, damage] of damages.entries()) {
    files.write(nameOf(i), 64, blockOf(i));
    damage(join(inner, Buffer.from(nameOf(i), "base64").toString("hex") + ".kv"));
    assert.ok(!files.read(nameOf(i), 64, room()), `damage ${i}`);
    assert.equal(files.counts.rejectedFiles, i + 1);
  }
  files.write(nameOf(99), 64, blockOf(99));
  assert.ok(!files.read(nameOf(99), 63, room()), "another number of tokens");
});

test("a block under another's name is rejected", () => {
  const { inner, files } = open();
  files.write(nameOf(1), 64, blockOf(1));
  const path = (i: number) => join(inner, Buffer.from(nameOf(i), "base64").toString("hex") + ".kv");
  writeFileSync(path(2), readFileSync(path(1)));
  assert.ok(!files.read(nameOf(2), 64, room()));
  assert.ok(files.read(nameOf(1), 64, room()));
});

test("the bytes of all files stay within their limit, and those used longest ago go first", () => {
  const { folder, inner, files } = open(10 * fileBytes);
  for (let i = 0; i < 10; i++) files.write(nameOf(i), 64, blockOf(i));
  const names = readdirSync(inner);
  assert.equal(names.length, 10);
  // Times to the second, whatever the disk: the files' own would all be the same.
  for (let i = 0; i < 10; i++) {
    utimesSync(join(inner, Buffer.from(nameOf(i), "base64").toString("hex") + ".kv"), 1000 + i, 1000 + i);
  }
  assert.ok(files.read(nameOf(0), 64, room()));
  files.write(nameOf(10), 64, blockOf(10));
  assert.deepEqual([0, 1, 2, 9, 10].map((i) => files.has(nameOf(i))), [true, false, true, true, true]);
  assert.equal(files.counts.deletedFiles, 1);
  const other = open(3 * fileBytes, folder).files;
  other.write(nameOf(11), 64, blockOf(11));
  assert.ok(readdirSync(inner).length <= 3 && other.has(nameOf(11)));
  assert.ok(!files.read(nameOf(2), 64, room()), "another process deleted it: that is no error");
  assert.equal(files.counts.rejectedFiles + files.counts.errors, 0);
  const tiny = open(fileBytes - 1);
  tiny.files.write(nameOf(1), 64, blockOf(1));
  assert.deepEqual([readdirSync(tiny.inner).length, tiny.warnings.length], [0, 0]);
});

test("what a killed process left is deleted, and nothing that is not ours", () => {
  const { folder, inner } = open();
  const dead = abandonedPath(`${"a".repeat(64)}.kv`), living = unfinishedPath(`${"a".repeat(64)}.kv`);
  const others = [living, abandonedPath("letter.txt"), "letter.txt", "x.kv"];
  for (const name of [dead, ...others]) writeFileSync(join(inner, name), "words");
  const { files } = open(1, folder);
  assert.deepEqual(readdirSync(inner).sort(), others.sort());
  assert.equal(files.counts.bytes, 0);
});

test("a folder that cannot be written is told once, counted, and given up after a while", () => {
  const file = join(parent, "a file");
  writeFileSync(file, "");
  const { files, warnings } = open(1e6, join(file, "no folder"));
  for (let i = 0; i < 20; i++) {
    files.write(nameOf(i), 64, blockOf(i));
    assert.ok(!files.has(nameOf(i)) && !files.read(nameOf(i), 64, room()));
  }
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /^Cannot keep cache blocks in .*no folder.*: .+; going on without$/);
  assert.ok(files.counts.errors >= 1 && !files.isWritable);
  const gone = open();
  gone.files.write(nameOf(1), 64, blockOf(1));
  rmSync(gone.inner, { recursive: true });
  writeFileSync(gone.inner, "in its place");
  for (let i = 2; i < 30; i++) gone.files.write(nameOf(i), 64, blockOf(i));
  assert.deepEqual([gone.warnings.length, gone.files.isWritable], [1, false]);
  assert.equal(gone.files.counts.errors, 8);
});

test("a folder that others may write into is not trusted", () => {
  if (process.platform === "win32") return;
  const { folder, inner, files } = open();
  files.write(nameOf(1), 64, blockOf(1));
  chmodSync(inner, 0o777);
  const again = open(1e6, folder);
  assert.ok(!again.files.has(nameOf(1)) && !again.files.read(nameOf(1), 64, room()));
  assert.equal(again.warnings.length, 1);
  assert.ok(existsSync(inner));
});
