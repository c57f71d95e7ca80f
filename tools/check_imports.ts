/**
 * Holds the sources against the house: imports point down the list of rooms, never up and never round,
 * and two files alone ask which runtime they are on. Run by `deno task ok`; prints each arrow and line
 * that does not fit and exits with 1.
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import process from "node:process";

/** Rooms from the top of the house down; a file belongs to the first one that it starts with. */
const rooms = [
  "tools/",
  "bench/",
  "test/",
  "examples/",
  "mod.ts",
  "ai_sdk.ts",
  "src/cli/",
  "src/load.ts",
  "src/openai/",
  "src/ai_sdk/",
  "src/language_model.ts",
  "src/text/",
  "src/engine/",
  "src/grammar/",
  "src/model/",
  "src/backend/",
  "src/package/",
  "src/checkpoint/",
  "src/tensor/",
  "ffi/",
  "src/unfinished.ts",
  "src/runtime.ts",
  "src/machine.ts",
  "src/json_scanner.ts",
  "src/errors.ts",
];

/** Walls on top of the order: files on the left may import nothing of ours but what is on the right. */
const walls: readonly (readonly [from: RegExp, allowed: RegExp, why: string])[] = [
  [
    /^examples\//,
    /^((mod|ai_sdk)\.ts$|examples\/)/,
    "examples import what users may import and nothing else",
  ],
  [
    /^src\/model\//,
    /^src\/(model|checkpoint|tensor)\/|^src\/backend\/backend\.ts$|^src\/errors\.ts$/,
    "the network knows no implementation of a backend",
  ],
  [/^src\/backend\/backend\.ts$/, /^src\/tensor\//, "the contract knows no implementation"],
  [
    /^src\/engine\/(client|protocol)\.ts$/,
    /^src\/(engine|tensor)\/|^src\/grammar\/(spec|vocabulary)\.ts$|^src\/errors\.ts$/,
    "the model lives across the Worker",
  ],
  [/^src\/text\//, /^src\/text\/|^src\/(errors|json_scanner)\.ts$/, "text knows no network"],
  [/^src\/grammar\//, /^src\/grammar\/|^src\/errors\.ts$/, "grammar knows no network and no tokenizer"],
  [/^ffi\//, /^ffi\/|^src\/(errors|runtime|unfinished)\.ts$/, "ffi knows no tensors"],
];

/** What is published runs alike in both runtimes, but for these two files. */
const published = /^(src|ffi|examples)\/|^(mod|ai_sdk)\.ts$/;
const asksRuntime = /^(ffi\/open|src\/runtime)\.ts$/;
/** Globals, versions and built-in modules of one runtime. */
const ofRuntime = /\b(Deno|Bun)\b|\bversions\b.*\b(deno|bun)\b|"bun(:\w+)?"/;

const root = normalize(join(import.meta.dirname!, ".."));

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) return /^(\.|node_modules)/.test(entry.name) ? [] : sources(path);
    return entry.name.endsWith(".ts") ? [path] : [];
  });
}

/** @returns the lines, comments left out, that only one runtime understands or gives */
function runtimeLinesOf(text: string): string[] {
  return text.split("\n").flatMap((line, i) => {
    const code = line.replace(/^\s*(\*|\/\*|\/\/).*|\s\/\/ .*/, "");
    return ofRuntime.test(code) ? [`${i + 1}: ${code.trim()}`] : [];
  });
}

function importsOf(path: string, text: string): string[] {
  const pattern =
    /(?:^\s*(?:import|export)\b[^;]*?\bfrom\s*|\bimport\s*\(\s*|^\s*import\s*|new URL\(\s*)"(\.[^"]+)"/gm;
  return [...text.matchAll(pattern)].map((match) =>
    relative(root, normalize(join(root, dirname(path), match[1])))
  )
    .filter((target) => target.endsWith(".ts"));
}

function roomOf(path: string): number {
  return rooms.findIndex((room) =>
    path === room || (room.endsWith("/") && path.startsWith(room)) || neighbour(path, room)
  );
}

/** Small files beside load.ts and language_model.ts belong to them. */
function neighbour(path: string, room: string): boolean {
  return room === "src/language_model.ts" && /^src\/[a-z_]+\.ts$/.test(path) &&
    !rooms.some((other) => other === path);
}

/** @returns a cycle through `path`, or null */
function cycleFrom(path: string, arrows: Map<string, string[]>): string[] | null {
  const queue: string[][] = [[path]];
  const seen = new Set<string>();
  for (let trail = queue.shift(); trail; trail = queue.shift()) {
    for (const target of arrows.get(trail[trail.length - 1]) ?? []) {
      if (target === path) return [...trail, path];
      if (!seen.has(target)) queue.push([...trail, target]);
      seen.add(target);
    }
  }
  return null;
}

const problems: string[] = [];
const arrows = new Map<string, string[]>();
for (const path of sources("")) {
  const text = readFileSync(join(root, path), "utf8");
  arrows.set(path, importsOf(path, text));
  if (!published.test(path) || asksRuntime.test(path)) continue;
  for (const line of runtimeLinesOf(text)) {
    problems.push(`${path}:${line}: only ffi/open.ts and src/runtime.ts ask which runtime they are on`);
  }
}
for (const [path, targets] of arrows) {
  if (roomOf(path) < 0) problems.push(`${path}: stands in no room of the house`);
  for (const target of targets) {
    if (roomOf(target) < roomOf(path)) problems.push(`${path} -> ${target}: points up`);
    for (const [from, allowed, why] of walls) {
      if (from.test(path) && !allowed.test(target)) problems.push(`${path} -> ${target}: ${why}`);
    }
  }
  const cycle = cycleFrom(path, arrows);
  if (cycle && path === [...cycle].sort()[0]) problems.push(`${cycle.join(" -> ")}: goes round`);
}
for (const problem of problems) console.error(problem);
console.log(
  `${arrows.size} files, ${[...arrows.values()].flat().length} imports, ${problems.length} that do not fit`,
);
process.exit(problems.length === 0 ? 0 : 1);
