/**
 * Makes the package for npm, hadal-VERSION.tgz: JavaScript, which Deno and Node want in node_modules, with its
 * types. `deno pack` makes both from deno.json; what npm alone wants to know stands in package.json.
 *
 *     deno task pack [--allow-dirty]          npm publish hadal-0.1.0.tgz
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

const root = join(import.meta.dirname!, "..");
/** As registries take it, with room for what is to come. */
const mostBytes = 16e6;

/** @throws {Error} with what the command said */
function run(command: string, args: readonly string[], cwd: string): void {
  const { status, stderr, error } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (status !== 0) throw new Error(`Cannot pack: ${command} ${args[0]} failed: ${error?.message ?? stderr}`);
}

const readJson = (path: string) => JSON.parse(readFileSync(path, "utf8"));

/** @param flags for `deno pack`. @returns the path of the package */
function pack(flags: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), "hadal-pack-"));
  try {
    run(process.execPath, ["pack", "--no-source-maps", ...flags, "-o", join(folder, "deno.tgz")], root);
    run("tar", ["xzf", "deno.tgz"], folder);
    const file = join(folder, "package/package.json");
    const { name, version, description, license, type, engines, dependencies, ...source } = readJson(
      join(root, "package.json"),
    );
    const made = readJson(file);
    const missing = Object.keys(made.dependencies).filter((each) => !Object.hasOwn(dependencies, each));
    if (missing.length > 0 || version !== made.version) {
      throw new Error("Cannot pack: package.json has another version or fewer dependencies than deno.json");
    }
    const { peerDependencies, peerDependenciesMeta } = source;
    const bin = { hadal: "src/cli/hadal.js" };
    const facts = { name, version, description, license, type, engines, bin, exports: made.exports };
    const needs = { dependencies, peerDependencies, peerDependenciesMeta };
    writeFileSync(file, JSON.stringify({ ...facts, ...needs }, null, 2) + "\n");
    makeProgram(join(folder, "package", bin.hadal));
    const out = join(root, `${name}-${version}.tgz`);
    run("tar", ["czf", out, "--owner=0", "--group=0", "package"], folder);
    return out;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What npm links as a command begins with who runs it. */
function makeProgram(path: string): void {
  writeFileSync(path, `#!/usr/bin/env node\n${readFileSync(path, "utf8")}`);
  chmodSync(path, 0o755);
}

try {
  const path = pack(process.argv.slice(2));
  const { size } = statSync(path);
  console.log(`${path}: ${(size / 1e6).toFixed(1)} MB`);
  if (size > mostBytes) throw new Error(`Cannot publish it: at most ${mostBytes / 1e6} MB are taken`);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
