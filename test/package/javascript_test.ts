/** The package as it is on npm: JavaScript in node_modules. `deno task pack` makes it, which takes too long here. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import * as nodeModule from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { wordsToRun } from "../find_runtime.ts";
import { root } from "./package_server.ts";

/** What either runtime has to take types out of a module. */
interface Strippers {
  readonly stripTypeScriptTypes?: (code: string) => string;
  readonly Bun?: { readonly Transpiler: new (options: object) => { transformSync(code: string): string } };
}

function stripper(): (code: string) => string {
  const { stripTypeScriptTypes } = nodeModule as Strippers;
  if (stripTypeScriptTypes !== undefined) return stripTypeScriptTypes;
  const bun = new (globalThis as Strippers).Bun!.Transpiler({ loader: "ts", target: "bun" });
  return (code) => bun.transformSync(code);
}

/** Writes the modules as `deno pack` does: without types, and with other names where they import each other. */
function writePackage(folder: string): void {
  const strip = stripper();
  const modules = ["src", "ffi"].flatMap((room) =>
    readdirSync(join(root, room), { recursive: true, encoding: "utf8" }).map((path) => join(room, path))
  );
  for (const path of ["mod.ts", ...modules].filter((path) => path.endsWith(".ts"))) {
    const code = strip(readFileSync(join(root, path), "utf8"))
      .replace(/\b(from\s*|import\s*\(?\s*)"(\.[^"]+)\.ts"/g, '$1"$2.js"');
    const file = join(folder, path.replace(/\.ts$/, ".js"));
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, code);
  }
  for (const data of ["examples", "kernels"]) symlinkSync(join(root, data), join(folder, data));
  const { dependencies, version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({ name: "hadal", version, type: "module", exports: { ".": "./mod.js" }, dependencies }),
  );
  for (const name of Object.keys(dependencies)) {
    const link = join(folder, "..", name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(realpathSync(join(root, "node_modules", name)), link);
  }
}

const program = `
import { load, openaiHandler } from "hadal";
const model = await load("minnow", { backend: "reference" });
const { text } = await model.chat([{ role: "user", content: "Hi" }], { maxTokens: 3, temperature: 0 });
const answer = await openaiHandler(model)(new Request("http://localhost/v1/models"));
console.log(JSON.stringify([model.info.name, text !== "", (await answer.json()).data[0].id]));
// The model is not closed: a program ends all the same.
`;

test("as JavaScript in node_modules it loads, answers and serves", () => {
  const folder = mkdtempSync(join(tmpdir(), "hadal-test-"));
  try {
    writePackage(join(folder, "node_modules/hadal"));
    writeFileSync(
      join(folder, "package.json"),
      JSON.stringify({ type: "module", dependencies: { hadal: "*" } }),
    );
    writeFileSync(join(folder, "program.mjs"), program);
    const { status, stdout, stderr } = spawnSync(process.execPath, [...wordsToRun(), "program.mjs"], {
      cwd: folder,
      encoding: "utf8",
      env: { ...process.env, NO_COLOR: "1" },
    });
    assert.equal(status, 0, stderr);
    assert.deepEqual(JSON.parse(stdout), ["minnow", true, "minnow"]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
