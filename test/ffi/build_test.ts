import assert from "node:assert/strict";
import { appendFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { buildLibrary } from "../../ffi/build.ts";
import { openLibrary } from "../../ffi/open.ts";
import { readSources } from "../../ffi/sources.ts";
import { handshakeSymbols } from "../../ffi/symbols.ts";
import { DeviceError } from "../../src/errors.ts";
import { handshakeSource, tinyKernels } from "./tiny_kernels.ts";

/** Runs `body` with a fresh folder of sources. */
async function withTiny(source: string, body: (folder: string) => Promise<void>): Promise<void> {
  const tiny = tinyKernels(source);
  try {
    await body(tiny.folder);
  } finally {
    tiny.remove();
  }
}

test("the hash changes with a source, and with nothing else", () =>
  withTiny(handshakeSource(1), async (folder) => {
    const first = (await readSources(folder)).hash;
    assert.match(first, /^[0-9a-f]{64}$/);
    writeFileSync(join(folder, "cpu", "README.md"), "words");
    assert.equal((await readSources(folder)).hash, first);
    appendFileSync(join(folder, "cpu", "tiny.c"), "\n");
    assert.notEqual((await readSources(folder)).hash, first);
    await Promise.resolve();
  }));

test("a library carries the hash of its sources", () =>
  withTiny(handshakeSource(7), async (folder) => {
    const sources = await readSources(folder);
    const said: string[] = [];
    await buildLibrary(sources, join(folder, "a.so"), null, (sentence) => said.push(sentence));
    assert.equal(said.length, 1);
    const { calls, close } = await openLibrary(join(folder, "a.so"), handshakeSymbols);
    const hash = new Uint8Array(64);
    assert.equal(calls.abi_version(), 7);
    assert.equal(calls.build_hash(hash, 64), 64);
    assert.equal(new TextDecoder().decode(hash), sources.hash);
    close();
  }));

test("two builds at once both succeed and leave nothing but the library", () =>
  withTiny(handshakeSource(1), async (folder) => {
    const out = join(folder, "out");
    mkdirSync(out);
    const sources = await readSources(folder);
    const build = () => buildLibrary(sources, join(out, "a.so"), null, () => {});
    await Promise.all([build(), build()]);
    assert.deepEqual(readdirSync(out), ["a.so"]);
    (await openLibrary(join(out, "a.so"), handshakeSymbols)).close();
  }));

test("a source that does not compile gives the compiler's words and leaves nothing", () =>
  withTiny("int abi_version(void) { return no_such_name; }\n", async (folder) => {
    const out = join(folder, "out");
    mkdirSync(out);
    await assert.rejects(
      buildLibrary(await readSources(folder), join(out, "a.so"), null, () => {}),
      (error) => {
        assert.ok(error instanceof DeviceError);
        assert.match(error.message, /tiny\.c.*no_such_name/);
        return true;
      },
    );
    assert.deepEqual(readdirSync(out), []);
  }));

test("a compiler that is missing is passed over for the next", () =>
  withTiny(handshakeSource(1), async (folder) => {
    const said: string[] = [];
    await buildLibrary(
      await readSources(folder),
      join(folder, "a.so"),
      "no-such-cc -m64",
      (s) => said.push(s),
    );
    assert.ok(existsSync(join(folder, "a.so")));
    assert.doesNotMatch(said[0], /no-such-cc/);
  }));

test("without any C compiler the error says what was looked for and what to do", () =>
  withTiny(handshakeSource(1), async (folder) => {
    const path = process.env.PATH;
    process.env.PATH = folder;
    try {
      await assert.rejects(
        buildLibrary(await readSources(folder), join(folder, "a.so"), "my-cc", () => {}),
        (error) => {
          assert.ok(error instanceof DeviceError);
          for (
            const word of ["my-cc: not found", "gcc: not found", "clang: not found", "zig cc: not found"]
          ) {
            assert.ok(error.message.includes(word), error.message);
          }
          assert.match(error.message, /install one .*HADAL_CPU_LIBRARY/);
          return true;
        },
      );
    } finally {
      process.env.PATH = path;
    }
  }));

test("a folder without sources is a DeviceError that names it", async () => {
  await assert.rejects(readSources("/no/such/folder"), (error) => {
    assert.ok(error instanceof DeviceError);
    assert.match(error.message, /\/no\/such\/folder/);
    return true;
  });
});
