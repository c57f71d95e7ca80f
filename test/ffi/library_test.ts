import assert from "node:assert/strict";
import { mkdirSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { findLibrary } from "../../ffi/library.ts";
import { readSources } from "../../ffi/sources.ts";
import { abiVersion, results, symbols } from "../../ffi/symbols.ts";
import { DeviceError } from "../../src/errors.ts";
import { abandonedPath } from "../abandoned.ts";
import { handshakeSource, tinyKernels } from "./tiny_kernels.ts";

/** All functions of ops.h, of no effect. */
const idle = Object.keys(symbols).filter((name) => !/^(abi_version|build_hash)$/.test(name)).map((name) =>
  `${results[name] === "f64" ? "double" : "int"} ${name}() { return 5; }\n`
);
const source = handshakeSource(abiVersion) + idle.join("");

/** Runs `body` with sources of their own; `said` is what progress was told. */
async function withSources(
  body: (
    folder: string,
    find: (path: string | null, cacheFolder: string) => Promise<string>,
    said: string[],
  ) => Promise<void>,
): Promise<void> {
  const tiny = tinyKernels(source);
  const said: string[] = [];
  const find = async (path: string | null, cacheFolder: string) => {
    const progress = (sentence: string) => said.push(sentence);
    const library = await findLibrary({ path, cacheFolder, progress }, await readSources(tiny.folder));
    assert.equal(library.calls.isa_best(), 5);
    assert.equal(library.calls.step_mark(1), 5);
    library.close();
    return library.path;
  };
  try {
    await body(tiny.folder, find, said);
  } finally {
    tiny.remove();
  }
}

test("a library is built once, for its owner alone, and found the second time", () =>
  withSources(async (folder, find, said) => {
    const cache = join(folder, "home", "cache");
    const path = await find(null, cache);
    assert.equal(said.length, 1);
    assert.equal(statSync(cache).mode & 0o077, 0);
    assert.equal(await find(null, cache), path);
    assert.equal(said.length, 1);
    assert.equal(readdirSync(cache).length, 1);
  }));

test("other sources make another library, beside the first", () =>
  withSources(async (folder, find, said) => {
    const first = await find(null, folder);
    writeFileSync(join(folder, "cpu", "more.h"), "// more\n");
    assert.notEqual(await find(null, folder), first);
    assert.equal(said.length, 2);
  }));

test("what a build left that was killed goes, also where the library is there by now", () =>
  withSources(async (folder, find, said) => {
    const cache = join(folder, "cache");
    const path = await find(null, cache);
    for (const isThere of [true, false]) {
      const half = abandonedPath(path);
      mkdirSync(half);
      writeFileSync(join(half, "a.o"), "half");
      if (!isThere) rmSync(path);
      assert.equal(await find(null, cache), path);
      assert.deepEqual(readdirSync(cache).map((name) => join(cache, name)), [path]);
    }
    assert.equal(said.length, 2);
  }));

test("a damaged library in the cache is built again", () =>
  withSources(async (folder, find, said) => {
    truncateSync(await find(null, folder), 100);
    await find(null, folder);
    assert.equal(said.length, 2);
  }));

test("a cache folder that cannot be written is replaced by a private temporary one", () =>
  withSources(async (folder, find, said) => {
    // That folder outlives the test: sources that no other run has had.
    writeFileSync(join(folder, "ops.h"), `// ${folder} ${Date.now()}`);
    // Not even the superuser makes a folder below a file.
    writeFileSync(join(folder, "file"), "");
    const path = await find(null, join(folder, "file", "cache"));
    assert.equal(statSync(join(path, "..")).mode & 0o077, 0);
    assert.equal(await find(null, join(folder, "file", "cache")), path);
    assert.equal(said.length, 1);
    rmSync(path);
  }));

test("a library that the user names is taken, and nothing is built for it", () =>
  withSources(async (folder, find, said) => {
    const path = await find(null, folder);
    const other = join(folder, "empty");
    mkdirSync(other);
    assert.equal(await find(path, other), path);
    assert.deepEqual(readdirSync(other), []);
    assert.equal(said.length, 1);
    await assert.rejects(find(join(folder, "none.so"), other), (error) => {
      assert.ok(error instanceof DeviceError);
      assert.match(error.message, /none\.so: not found$/);
      return true;
    });
  }));
