/** A conversation's file is carried from this runtime to the other, and another one comes back. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { findRuntime, ownRuntime, wordsToRun } from "./find_runtime.ts";
import { continueTalk, openTalker, saveTalk, type Talk } from "./talk_in_file.ts";

const folder = mkdtempSync(join(tmpdir(), "hadal-carried-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const there = ownRuntime === "deno" ? "bun" : "deno";
const command = findRuntime(there);

/** Goes on with a file in the other runtime, and brings back one that was computed there. */
async function continueThere(command: readonly string[], from: string, to: string): Promise<Talk> {
  const program = join(import.meta.dirname!, "talk_in_file.ts");
  const child = spawn(command[0], [...command.slice(1), ...wordsToRun(there), program, from, to], {
    stdio: "pipe",
  });
  let stdout = "", stderr = "";
  child.stdout.on("data", (data) => stdout += data);
  child.stderr.on("data", (data) => stderr += data);
  const [code] = await once(child, "close");
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

if (command === null) {
  const missing =
    `${there} is not on this machine: no conversation was carried from ${ownRuntime} to it, or back`;
  test("the other runtime is here where CI needs it", () => {
    console.error(`NOTE: ${missing}`);
    assert.notEqual(process.env.CI, "true", missing);
  });
} else {
  test(`a conversation goes on from its file in ${there} as here, and comes back from there byte by byte`, async () => {
    const ours = join(folder, "ours.hadal"), theirs = join(folder, "theirs.hadal");
    await using model = await openTalker();
    await saveTalk(model, ours);
    const foundThere = await continueThere(command, ours, theirs);
    assert.equal(foundThere.messages.length, 6);
    assert.ok(foundThere.keptTokens > 64, "more than a block");
    assert.equal(foundThere.cachedTokens, foundThere.keptTokens, "nothing is computed again");
    assert.deepEqual(await continueTalk(model, theirs), foundThere);
    assert.ok(readFileSync(theirs).equals(readFileSync(ours)), "both runtimes write the same bytes");
  });
}
