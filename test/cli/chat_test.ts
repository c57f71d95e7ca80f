import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { quickBackend, runHadal } from "./run_hadal.ts";

const backend = await quickBackend();
const chat = (args: readonly string[], input: string) =>
  runHadal(["chat", ...backend, ...args], {}, () => {}, input);

test("the lines of a pipe are answered, remembered until it is reset, and go on beyond the context", async () => {
  const more = ["Tell me a story of a fox.", "And then?", "And then?", "And then?"];
  const input = ["Say hello.", "/reset", "/bogus", "Say hello.", ...more, "/quit", "Say nothing."].join("\n");
  const limits = ["--context-length", "48", "--max-tokens", "8"];
  const { code, stdout, stderr } = await chat(["minnow", "--temperature", "0", ...limits], input);
  assert.deepEqual([code, stderr], [0, ""]);
  const [first, told, again, ...others] = stdout.trimEnd().split("\n");
  assert.equal(told, "The commands are /reset, /quit and /help");
  assert(first.length > 5);
  assert.equal(again, first);
  assert.equal(others.length, more.length);
});

test("a chat may search for its replies", async () => {
  const { code, stdout, stderr } = await chat(["--beam-width", "2", "--max-tokens", "4"], "Hi\n");
  assert.deepEqual([code, stderr], [0, ""]);
  assert(stdout.trim().length > 0);
});

test("what a pipe's message cannot have ends the chat with one sentence and 2", async () => {
  const { code, stdout, stderr } = await chat(["--top-p", "9"], "Hi\nHi\n");
  assert.deepEqual([code, stdout], [2, ""]);
  assert.match(stderr, /^Cannot use top_p: 9 found[^\n]*\n$/);
});

test("Ctrl-C ends the chat of a pipe with 130", async () => {
  const endless = ["--ignore-eos", "--context-overflow", "shift", "--max-tokens", "1000000"];
  const { code } = await runHadal(["chat", ...backend, ...endless], {}, (child) => {
    child.stdout!.once("data", () => process.kill(child.pid!, "SIGINT"));
  }, "Hi\nHi\nHi\n");
  assert.equal(code, 130);
});
