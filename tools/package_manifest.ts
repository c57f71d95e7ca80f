/**
 * Writes src/package/manifest.ts: what the files are that a package on a server must have beside its modules.
 * With --check nothing is written, and a manifest that is not that of the files is said and exits with 1.
 *
 *     deno task manifest
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

const root = join(import.meta.dirname!, "..");
const out = join(root, "src/package/manifest.ts");

/** What of a folder is read by the program that runs. */
const folders: readonly (readonly [folder: string, files: RegExp])[] = [
  ["examples/minnow", /^[^/]+\.(json|safetensors)$/],
  ["kernels", /^(ops\.h|cpu\/[^/]+\.(c|h|json))$/],
];

/** @returns the text of the manifest of the files as they are */
function manifestText(): string {
  const lines = folders.flatMap(([folder, files]) => {
    const paths = readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .map((path) => path.replaceAll("\\", "/")).filter((path) => files.test(path)).sort();
    return [`  "${folder}": {`, ...paths.map((path) => lineOf(folder, path)), "  },"];
  });
  return `/**
 * The files beside the modules: bytes, and SHA-256. Made by tools/package_manifest.ts ("deno task manifest").
 * @module
 */

/** By folder, then by path in it. */
export const manifest = {
${lines.join("\n")}
} as const;
`;
}

function lineOf(folder: string, path: string): string {
  const bytes = readFileSync(join(root, folder, path));
  return `    "${path}": [${bytes.length}, "${createHash("sha256").update(bytes).digest("hex")}"],`;
}

const text = manifestText();
if (!process.argv.includes("--check")) writeFileSync(out, text);
else if (readFileSync(out, "utf8") !== text) {
  console.error('src/package/manifest.ts is not that of the files: run "deno task manifest" and commit it');
  process.exit(1);
}
