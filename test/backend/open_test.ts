import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { isaNames, isasOf } from "../../src/backend/native/isa.ts";
import { type BackendOptions, openBackend } from "../../src/backend/open.ts";
import { DeviceError } from "../../src/errors.ts";
import { kernelLibrary } from "../backends.ts";

const options: BackendOptions = {
  backend: "auto",
  isa: null,
  library: null,
  threads: "auto",
  exact: true,
  arenaBytes: 2 ** 20,
};

test("the reference opens by name, with nothing passed over", async () => {
  const { backend, passedOver } = await openBackend({ ...options, backend: "reference" });
  assert.equal(backend.info.name, "reference");
  assert.deepEqual(passedOver, []);
});

test("auto takes the reference where no kernels can be had, and keeps the reason", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hadal-test-"));
  const path = process.env.PATH;
  process.env.PATH = folder;
  try {
    const build = { cacheFolder: folder, progress: () => {} };
    const { backend, passedOver } = await openBackend({ ...options, build });
    assert.equal(backend.info.name, "reference");
    assert.equal(passedOver[0].backend, "cpu");
    assert.match(passedOver[0].reason, /no C compiler did it .*gcc: not found/);
    await assert.rejects(openBackend({ ...options, build, backend: "cpu" }), DeviceError);
    await assert.rejects(openBackend({ ...options, build, isa: "portable" }), DeviceError);
  } finally {
    process.env.PATH = path;
    rmSync(folder, { recursive: true });
  }
});

test("a library that the caller names and that does not open is an error, not a reason to be slow", async () => {
  await assert.rejects(openBackend({ ...options, library: "/no/such/library.so" }), (error) => {
    assert.ok(error instanceof DeviceError);
    assert.match(error.message, /\/no\/such\/library\.so: not found/);
    return true;
  });
});

const library = await kernelLibrary();
if (library !== null) {
  test("auto opens the kernels with the best instruction set, and says which", async () => {
    const { backend, passedOver } = await openBackend({ ...options, library: library.path });
    assert.equal(backend.info.name, "cpu");
    assert.equal(backend.info.kernels, isaNames[library.calls.isa_best()]);
    assert.ok(backend.info.threads >= 1);
    assert.deepEqual(passedOver, []);
    backend.close();
  });

  test("an instruction set can be forced, by a name that exists on this machine", async () => {
    const forced = { ...options, backend: "cpu", library: library.path } as const;
    const { backend } = await openBackend({ ...forced, isa: "portable", threads: 3 });
    const { name, kernels, threads, build } = backend.info;
    assert.deepEqual({ name, kernels, threads }, { name: "cpu", kernels: "portable", threads: 3 });
    assert.match(build, /^[0-9a-f]{64}/);
    backend.close();
    await assert.rejects(openBackend({ ...forced, isa: "sse9" }), /"sse9" found, one of portable, avx2/);
    const absent = isaNames.find((name) => !isasOf(library).includes(name));
    assert.ok(absent !== undefined, "no machine is x86 and ARM at once");
    await assert.rejects(
      openBackend({ ...forced, isa: absent }),
      new RegExp(`no ${absent}, it has portable`),
    );
  });

  test("a number of threads that is none is refused", async () => {
    for (const threads of [0, -1, 1.5, NaN, 100_000]) {
      await assert.rejects(
        openBackend({ ...options, backend: "cpu", library: library.path, threads }),
        RangeError,
      );
    }
  });
}
