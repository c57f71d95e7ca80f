import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { kernelLibrary } from "../backends.ts";

const repository = fileURLToPath(new URL("../../", import.meta.url));
const deno = process.versions.bun === undefined ? process.execPath : "deno";
const library = await kernelLibrary();

/** Opens the library, loads a weight from a file, and runs an op on it. */
const program = `
import { findLibrary } from "${repository}ffi/library.ts";
import { openNative } from "${repository}src/backend/native/open.ts";
const [path, file] = Deno.args;
const library = await findLibrary({ path });
const backend = openNative({ library, isa: null, threads: 2, exact: true, arenaBytes: 1 << 20 });
const stored = { name: "w", file, offset: 0, sizeBytes: 16, dtype: "F32", rows: 2, width: 2 };
const y = backend.linear(backend.upload(Float32Array.of(1, 10), 2), backend.loadWeight(stored, "auto"));
console.log([...backend.read(y)].join(" "));
backend.close();
`;

/** Runs the program in Deno with permission flags. */
function runWith(
  flags: readonly string[],
  path: string,
  folder: string,
): { status: number | null; output: string } {
  const script = join(folder, "program.ts"), file = join(folder, "weight");
  writeFileSync(script, program);
  writeFileSync(file, new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer));
  const { status, stdout, stderr } = spawnSync(
    deno,
    ["run", "--no-prompt", "--no-check", "--no-config", ...flags, script, path, file],
    { encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } },
  );
  return { status, output: `${stdout}${stderr}` };
}

const hasDeno = spawnSync(deno, ["--version"]).status === 0;
if (!hasDeno) console.error("NOTE: Deno is not on this machine: its permissions are not tested");

if (hasDeno && library !== null) {
  const { path } = library;
  const folder = mkdtempSync(join(tmpdir(), "hadal-test-"));
  const read = `--allow-read=${repository},${folder}`;

  test("a grant of one file is enough to open a library, map weights and compute", () => {
    const { status, output } = runWith([`--allow-ffi=${path}`, read], path, folder);
    assert.equal(status, 0, output);
    assert.equal(output.trim(), "21 43");
  });

  test("without the grant the error names the flag", () => {
    const { status, output } = runWith([read], path, folder);
    assert.notEqual(status, 0);
    assert.ok(
      output.includes(`Cannot open ${path}: not permitted, run again with --allow-ffi=${path}`),
      output,
    );
  });

  test("a grant of another file is not enough", () => {
    const { status, output } = runWith([`--allow-ffi=${folder}/other.so`, read], path, folder);
    assert.notEqual(status, 0);
    assert.match(output, /not permitted/);
    rmSync(folder, { recursive: true, force: true });
  });
}
