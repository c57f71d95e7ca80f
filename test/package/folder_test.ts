/** The package where it is not a folder of files: its modules are imported from a server. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { readSources } from "../../ffi/sources.ts";
import { packageFolder } from "../../src/package/folder.ts";
import { ownRuntime, wordsToRun } from "../find_runtime.ts";
import { root, withPackageServer } from "./package_server.ts";

test("the manifest is that of the files", () => {
  const tool = join(root, "tools/package_manifest.ts");
  const checked = spawnSync(process.execPath, [...wordsToRun(), tool, "--check"], { encoding: "utf8" });
  assert.equal(checked.status, 0, checked.stderr);
});

test("folders of a package that lies in files are where they lie", async () => {
  assert.equal(await packageFolder("kernels"), join(root, "kernels"));
  assert(existsSync(join(await packageFolder("examples/minnow"), "config.json")));
});

/** Asks the embedded model, and the server, both of them imported from `url`. */
const program = (url: string) => `
import { load, openaiHandler } from "${url}mod.ts";
import { packageFolder } from "${url}src/package/folder.ts";
import { readSources } from "${url}ffi/sources.ts";
const stages = new Set<string>();
const onProgress = ({ stage }: { stage: string }) => stages.add(stage);
const model = await load("minnow", { backend: "reference", onProgress });
const { text } = await model.chat([{ role: "user", content: "Hi" }], { maxTokens: 3, temperature: 0 });
const answer = await openaiHandler(model)(new Request("http://localhost/v1/models"));
const kernels = (await readSources(await packageFolder("kernels"))).hash;
console.log(JSON.stringify({
  name: model.info.name, text, stages: [...stages], served: (await answer.json()).data[0].id, kernels,
}));
// The model is not closed: a program ends all the same.
`;

test("Deno runs it from a server, which is asked for files once; Bun imports nothing from servers", async () => {
  if (ownRuntime === "bun") return console.log("NOTE: Bun imports no modules from servers");
  const folder = mkdtempSync(join(tmpdir(), "hadal-test-"));
  try {
    await withPackageServer(async ({ url, asked }) => {
      // What publishing writes into each module stands in an import map here, and packages come from this clone.
      for (const file of ["package.json", "deno.json"]) cpSync(join(root, file), join(folder, file));
      const { imports } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
      writeFileSync(join(folder, "deno.json"), JSON.stringify({ nodeModulesDir: "manual", imports }));
      symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
      writeFileSync(join(folder, "program.ts"), program(url));
      const first = await runDeno(folder);
      const { text, ...rest } = JSON.parse(first);
      assert.notEqual(text, "");
      assert.deepEqual(rest, {
        name: "minnow",
        stages: ["download", "checkpoint", "backend", "weights"],
        served: "minnow",
        kernels: (await readSources()).hash,
      });
      const isFile = (path: string) => !path.endsWith(".ts");
      assert(asked.some(isFile));
      const before = asked.length;
      assert.equal(JSON.parse(await runDeno(folder)).text, text);
      assert.deepEqual(asked.slice(before).filter(isFile), []);
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** @returns what the program in the folder prints, with caches of its own there */
function runDeno(folder: string): Promise<string> {
  const env = { ...process.env, DENO_DIR: join(folder, "deno"), XDG_CACHE_HOME: join(folder, "cache") };
  const words = [...wordsToRun(), "--no-lock", "program.ts"];
  const child = spawn(process.execPath, words, {
    cwd: folder,
    env: { ...env, NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "", stderr = "";
  child.stdout.on("data", (text) => stdout += text);
  child.stderr.on("data", (text) => stderr += text);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => code === 0 ? resolve(stdout) : reject(new Error(stderr)));
  });
}
