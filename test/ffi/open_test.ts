import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { buildLibrary } from "../../ffi/build.ts";
import { openKernels } from "../../ffi/library.ts";
import { openLibrary } from "../../ffi/open.ts";
import { readSources } from "../../ffi/sources.ts";
import { abiVersion, handshakeSymbols } from "../../ffi/symbols.ts";
import { DeviceError } from "../../src/errors.ts";
import { handshakeSource, tinyKernels } from "./tiny_kernels.ts";

const tiny = tinyKernels(handshakeSource(abiVersion));
const other = tinyKernels(handshakeSource(abiVersion + 41));
const library = join(tiny.folder, "library.so");
const otherLibrary = join(other.folder, "library.so");
before(async () => {
  await buildLibrary(await readSources(tiny.folder), library, null, () => {});
  await buildLibrary(await readSources(other.folder), otherLibrary, null, () => {});
});
after(() => {
  tiny.remove();
  other.remove();
});

function refusal(...words: RegExp[]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof DeviceError, String(error));
    for (const word of words) assert.match(error.message, word);
    return true;
  };
}

test("numbers and windows of arrays of any type arrive in C as they are", async () => {
  const { calls, close } = await openLibrary(
    library,
    { sum: ["x: bytes", "n: i32", "factor: f32"], wide: ["x: f64", "y: i32"], nothing: [] },
    { wide: "f64", nothing: "void" },
  );
  const values = new Float32Array([100, 1, 2, 3, 200]);
  assert.equal(calls.sum(values.subarray(1, 4), 3, 1.5), 9);
  assert.equal(calls.sum(new Uint8Array(values.buffer, 4, 12), 3, 1), 6);
  assert.equal(calls.sum(new Float32Array(0), 0, 1), 0);
  assert.equal(calls.wide(2 ** 53 - 2, 1), 2 ** 53 - 1);
  assert.equal(calls.wide(0.5, -2), -1.5);
  calls.nothing();
  close();
});

test("a file that does not exist is not found", async () => {
  await assert.rejects(
    openLibrary(join(tiny.folder, "none.so"), handshakeSymbols),
    refusal(/none\.so: not found$/),
  );
  await assert.rejects(
    openLibrary("libhadal-none.so.7", handshakeSymbols),
    refusal(/libhadal-none\.so\.7: not found$/),
  );
});

test("a file that is no library is refused as such", async () => {
  for (const [name, content] of [["text.so", "no library at all ".repeat(9)], ["empty.so", ""]]) {
    writeFileSync(join(tiny.folder, name), content);
    await assert.rejects(
      openLibrary(join(tiny.folder, name), handshakeSymbols),
      refusal(/not a library that this machine can load/),
    );
  }
});

test("a missing function is named", async () => {
  await assert.rejects(
    openLibrary(library, { no_such_function: [] }),
    refusal(/lacks the function no_such_function$/),
  );
});

test("a library of another ABI version is refused before its other functions are looked for", async () => {
  await assert.rejects(
    openKernels(otherLibrary, (await readSources(other.folder)).hash),
    refusal(new RegExp(`ABI version is ${abiVersion + 41}, ${abiVersion} is needed`)),
  );
});

test("a library of other sources is refused, naming both hashes", async () => {
  const hash = (await readSources(tiny.folder)).hash;
  await assert.rejects(openKernels(library, "00ff"), refusal(new RegExp(`${hash}, 00ff is needed`)));
});

test("a library that passes the handshake but lacks the kernels is refused", async () => {
  await assert.rejects(
    openKernels(library, (await readSources(tiny.folder)).hash),
    refusal(/lacks the function/),
  );
});
