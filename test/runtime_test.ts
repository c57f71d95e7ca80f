import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { realpathSync, statSync, symlinkSync } from "node:fs";
import path, { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import * as runtime from "../src/runtime.ts";
import { withFolder } from "./checkpoint/write_safetensors.ts";

const source = JSON.stringify(new URL("../src/runtime.ts", import.meta.url).href);

/**
 * Runs lines in a program of this runtime, under another name: where Deno sees its own, it hands the
 * program all of its permissions.
 */
function program(lines: string, options: { args?: string[]; env?: Record<string, string> } = {}) {
  const env = { PATH: process.env.PATH, HOME: "/home/x", NO_COLOR: "1", ...options.env };
  return withFolder({ "program.ts": `import * as runtime from ${source};\n${lines}` }, (folder) => {
    const alias = join(folder, "alias");
    symlinkSync(process.execPath, alias);
    const words = ["run", ...(options.args ?? []), join(folder, "program.ts"), "one", "--two"];
    return spawnSync(alias, words, { encoding: "utf8", env, cwd: folder });
  });
}

const isDeno = runtime.runtime.name === "deno";
const allow = isDeno ? ["--no-check", "-A"] : [];

test("the runtime is named with its version", () => {
  assert.match(runtime.runtime.name, /^(deno|bun|node)$/);
  assert.match(runtime.runtime.version, /^\d+\.\d+\.\d+/);
  assert.equal(runtime.runtime.name === "bun", process.versions.bun !== undefined);
});

test("memory and cores of this machine are known and plausible", () => {
  const bytes = runtime.availableMemory();
  assert.ok(bytes !== null && Number.isSafeInteger(bytes) && bytes > 1e6, `${bytes}`);
  const cores = runtime.coreCount();
  assert.ok(Number.isSafeInteger(cores) && cores >= 1 && cores <= 4096, `${cores}`);
});

test("the machine's name, its free disk and the user's folder are known", () => {
  assert.notEqual(runtime.machineName(), "");
  assert.ok(runtime.freeDiskBytes(import.meta.dirname!)! > 0);
  assert.equal(runtime.freeDiskBytes("/no/such/folder"), null);
  const { stdout } = program("console.log(runtime.homeDirectory());", { args: allow });
  assert.equal(stdout.trim(), "/home/x");
});

test("arguments and environment are those of the program", () => {
  const { stdout } = program(
    `console.log(JSON.stringify([
      runtime.commandLine(), runtime.environment("GREETING"), runtime.environment("NOT_SET") ?? null,
    ]));`,
    { args: allow, env: { GREETING: "hello" } },
  );
  assert.deepEqual(JSON.parse(stdout), [["one", "--two"], "hello", null]);
});

test("the cache directory follows the platform, and no relative or missing home", () => {
  if (process.platform === "win32") return console.log("NOTE: not tried on Windows");
  const inHome = process.platform === "darwin" ? "/home/x/Library/Caches/hadal" : "/home/x/.cache/hadal";
  const cases: [Record<string, string>, string | null][] = [
    [{}, inHome],
    [{ XDG_CACHE_HOME: "/var/x" }, "/var/x/hadal"],
    [{ XDG_CACHE_HOME: "relative" }, inHome],
    [{ XDG_CACHE_HOME: "" }, inHome],
    [{ HOME: "" }, null],
    [{ HOME: "relative" }, null],
  ];
  for (const [env, expected] of cases) {
    const { stdout } = program("console.log(JSON.stringify(runtime.cacheDirectory()));", {
      args: allow,
      env,
    });
    assert.equal(JSON.parse(stdout), expected, JSON.stringify(env));
  }
});

test("without any permission Deno is not asked, and answers are not known", () => {
  if (!isDeno) return console.log(`NOTE: ${runtime.runtime.name} has no permissions`);
  const { status, stdout, stderr } = program(
    `console.log(JSON.stringify([
      runtime.environment("HOME") ?? null, runtime.cacheDirectory(), runtime.availableMemory(), runtime.coreCount() >= 1,
      runtime.commandLine(), runtime.homeDirectory(), runtime.freeDiskBytes("/"), runtime.machineName(), runtime.userId(),
    ]));`,
    { args: ["--no-check"] },
  );
  assert.deepEqual(JSON.parse(stdout), [null, null, null, true, ["one", "--two"], null, null, "", null]);
  assert.equal(stderr, "");
  assert.equal(status, 0);
});

/** Words that paths are made of, those with a meaning among them. */
const pathText = fc.array(fc.constantFrom("a", "b.c", "..", ".", "", "...", "x y"), { maxLength: 5 })
  .map((words) => words.join("/")).chain((path) => fc.constantFrom(path, `/${path}`));

test("paths are put together as node:path does it", () => {
  fc.assert(fc.property(pathText, pathText, (one, other) => {
    assert.equal(runtime.join(one, other), path.join(one, other));
    assert.equal(runtime.resolve(one), path.resolve(one));
    assert.equal(runtime.basename(one), path.basename(one));
    assert.equal(runtime.isAbsolute(one), path.isAbsolute(one));
    const [folder, within] = [path.resolve("/", one), path.resolve("/", other)];
    const isOutside = path.relative(folder, within).split(path.sep)[0] === "..";
    assert.equal(runtime.isWithin(folder, within), !isOutside, `${folder} ${within}`);
  }));
  for (const name of ["a b", "100%", "ä"]) {
    assert.equal(runtime.pathOf(pathToFileURL(path.resolve(name))), path.resolve(name));
  }
});

test("files are what node:fs says they are", () => {
  withFolder({ "a.txt": "0123456789" }, (folder) => {
    const file = runtime.join(folder, "a.txt");
    const { size, uid, mode } = statSync(file);
    const isFile = { isFile: true, isDirectory: false, sizeBytes: size };
    const owned = process.platform === "win32" ? { uid: null, mode: null } : { uid, mode };
    assert.deepEqual({ ...runtime.statusAt(file) }, { ...isFile, ...owned });
    assert.equal(runtime.statusAt(folder).isDirectory, true);
    assert.deepEqual([runtime.exists(file), runtime.exists(`${file}x`)], [true, false]);
    assert.deepEqual(runtime.namesIn(folder), ["a.txt"]);
    assert.equal(runtime.realPath(folder), realpathSync(folder));
    assert.equal(new TextDecoder().decode(runtime.readWhole(file)), "0123456789");
    const open = runtime.openFile(file), bytes = new Uint8Array(4);
    try {
      assert.equal(open.sizeBytes, 10);
      assert.deepEqual([open.readInto(bytes, 3), new TextDecoder().decode(bytes)], [4, "3456"]);
      assert.deepEqual([open.readInto(bytes, 8), open.readInto(bytes, 10)], [2, 0]);
    } finally {
      open.close();
    }
    for (
      const act of [runtime.statusAt, runtime.namesIn, runtime.realPath, runtime.readWhole, runtime.openFile]
    ) {
      assert.throws(() => act(`${file}x`), { code: "ENOENT" }, act.name);
    }
  });
});

test("system, processor and user are those of the process", () => {
  assert.deepEqual([runtime.platform, runtime.architecture], [process.platform, process.arch]);
  assert.equal(runtime.userId(), process.getuid?.() ?? null);
  assert.equal(runtime.workingFolder(), process.cwd());
});
