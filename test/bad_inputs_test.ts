/**
 * The models of bad_inputs.ts opened as a whole: each is refused with an error of ours that names the file
 * and what is wrong with it, nothing stays open, and a sound model loads in the same process.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { load } from "../mod.ts";
import { CheckpointError, UnsupportedError } from "../src/errors.ts";
import { type Bad, cases, folderOf, openAll, soundCopy } from "./bad_inputs.ts";
import type { Cost } from "./bad_inputs_cost.ts";
import { wordsToRun } from "./find_runtime.ts";
import { hostile } from "./hostile_inputs.ts";

/** @returns what is wrong with how a bad model is refused */
async function problemsOf(folder: string, { file }: Bad): Promise<string[]> {
  try {
    await openAll(folder);
  } catch (error) {
    const { message, stack } = error as Error;
    if (!(error instanceof CheckpointError || error instanceof UnsupportedError)) return [stack!];
    const isGood = /^Cannot (read|use) /.test(message) && message.includes(folder) &&
      message.includes(file) &&
      message.length < 1000;
    return isGood ? [] : [message];
  }
  return ["it is not refused"];
}

test("a model that is broken in any way of the list is refused by the file and what is wrong, and a sound one loads after", async () => {
  const parent = mkdtempSync(join(tmpdir(), "hadal-bad-"));
  try {
    const problems: string[] = [];
    await openAll(soundCopy(parent));
    for (const [number, bads] of Object.entries(cases)) {
      for (const [i, bad] of bads.entries()) {
        const folder = folderOf(parent, bad);
        problems.push(
          ...(await problemsOf(folder, bad)).map((problem) => `case ${number}, ${i}: ${problem}`),
        );
        rmSync(folder, { recursive: true });
      }
    }
    assert.deepEqual(problems, []);
    const bad = folderOf(parent, cases[12][0]);
    await assert.rejects(load(bad, { backend: "reference" }), CheckpointError);
    await using model = await load(soundCopy(parent), { backend: "reference", contextLength: 64 });
    assert.ok((await model.logits([0, 1, 2])).every(Number.isFinite));
  } finally {
    rmSync(parent, { recursive: true });
  }
});

/** A table of tensors that has as many as a file may have takes more, whether it is sound at its end or not. */
const mostBytes = (name: string) => (name === "160 000 tensors, and then none" ? 160 : 64) * 2 ** 20;

test("what was made to cost much is refused by its file, and no refusal takes more than 64 MB", () => {
  if (process.platform !== "linux") return; // elsewhere a process cannot ask what it took at most
  const parent = mkdtempSync(join(tmpdir(), "hadal-bad-"));
  try {
    const all = [
      ...Object.entries(cases).flatMap(([number, bads]) =>
        bads.map((bad, i) => [`case ${number}, ${i}`, () => bad] as const)
      ),
      ...Object.entries(hostile),
    ].map(([name, make]) => {
      const bad = make();
      return { name, file: bad.file, folder: folderOf(parent, bad) };
    });
    const program = fileURLToPath(new URL("./bad_inputs_cost.ts", import.meta.url));
    const { stdout, stderr } = spawnSync(
      process.execPath,
      [...wordsToRun(), program, soundCopy(parent), ...all.map(({ folder }) => folder)],
      { encoding: "utf8", maxBuffer: 2 ** 24 },
    );
    const costs: Cost[] = stdout.trim().split("\n").map((line) => JSON.parse(line));
    assert.equal(costs.length, all.length, stderr);
    const problems = all.flatMap(({ name, file, folder }, i) => {
      const { error, extraBytes } = costs[i];
      const isRefused = /^(CheckpointError|UnsupportedError|RequestError): Cannot /.test(error ?? "") &&
        error!.includes(file) && error!.length < 1000;
      const isCheap = extraBytes <= mostBytes(name);
      return isRefused && isCheap
        ? []
        : [`${name}: ${extraBytes / 2 ** 20} MB, ${error?.replace(folder, "")}`];
    });
    assert.deepEqual(problems, []);
  } finally {
    rmSync(parent, { recursive: true });
  }
});
