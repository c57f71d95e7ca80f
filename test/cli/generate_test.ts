import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { runGenerate } from "../../src/cli/generate.ts";
import { type Outcome, quickBackend, runHadal } from "./run_hadal.ts";

const backend = await quickBackend();
const quick = [...backend, "--temperature", "0", "--max-tokens", "6"];
const generate = (args: readonly string[], input: string | Uint8Array | null = null) =>
  runHadal(["generate", ...args], {}, () => {}, input);

test("a text is continued, from the command line or a pipe, and nothing else is on standard output", async () => {
  const [words, piped] = await Promise.all([
    generate(["minnow", "Once", "upon a time", ...quick]),
    generate(["-", "--model", "minnow", ...quick], "Once upon a time\n"),
  ]);
  assert.deepEqual(words, { code: 0, stdout: ", there was a little girl\n", stderr: "" });
  assert.deepEqual(piped, words);
});

test("--json says all of a reply in one line, also of several, in a form, and of a chat", async () => {
  const schema = '{"type": "object", "properties": {"a": {"enum": [7]}}, "required": ["a"]}';
  const [form, several] = await Promise.all([
    generate(["minnow", "--chat", "Hi", ...quick, "--max-tokens", "40", "--json", "--json-schema", schema]),
    generate(["minnow", "Hi", ...quick, "--json", "--beam-width", "2", "--n", "2", "--logprobs"]),
  ]);
  const read = ({ code, stdout, stderr }: Outcome) => {
    assert.equal(code, 0, stderr);
    assert.equal(stdout.indexOf("\n"), stdout.length - 1);
    return JSON.parse(stdout);
  };
  const { model, text, finishReason, usage, timings, choices } = read(form);
  assert.deepEqual(JSON.parse(text), { a: 7 });
  assert.deepEqual([model, finishReason, choices], ["minnow", "stop", undefined]);
  assert(usage.completionTokens > 0 && timings.decodeMs > 0);
  const both = read(several);
  assert(both.usage.promptTokens < usage.promptTokens, "a chat has its template");
  assert.equal(both.choices.length, 2);
  assert(both.choices[0].logprobs.length > 0 && both.choices[0].score >= both.choices[1].score);
});

test("what cannot be is one sentence on standard error, and 2", async () => {
  const wrong: [string[], string | Uint8Array, RegExp][] = [
    [["minnow"], "", /^generate: no text was given, the pipe is empty$/],
    [["minnow"], new Uint8Array([0xff, 0xfe]), /^generate: what came through the pipe is not UTF-8$/],
    [["minnow", "Hi", ...quick, "--temperature", "9"], "", /^Cannot use temperature: 9 found[^\n]*$/],
  ];
  const outcomes = await Promise.all(wrong.map(([args, input]) => generate(args, input)));
  for (const [i, { code, stdout, stderr }] of outcomes.entries()) {
    assert.deepEqual([code, stdout], [2, ""], stderr);
    assert.match(stderr.trimEnd(), wrong[i][2]);
  }
});

test("what does not go together is refused before anything is read or loaded", async () => {
  const wrong: [string[], RegExp][] = [
    [[], /^Error: generate: no model was given/],
    [["minnow", "Hi", "--n", "2"], /^Error: --n: more than one reply needs --json$/],
    [["minnow", "Hi", "--system", "x"], /^Error: --system: --chat is needed$/],
    [["minnow", "Hi", "--bogus"], /--bogus/],
  ];
  for (const [args, message] of wrong) await assert.rejects(runGenerate(args), message);
});

const endless = [...backend, "--ignore-eos", "--context-overflow", "shift", "--max-tokens", "1000000"];

test("Ctrl-C ends a reply with what there is of it, and 130", async () => {
  const { code, stdout, stderr } = await runHadal(["generate", "minnow", "Once", ...endless], {}, (child) => {
    child.stdout!.once("data", () => process.kill(child.pid!, "SIGINT"));
  });
  assert.equal(code, 130, stderr);
  assert.match(stdout, /\S\s*\n$/); // what was said last may be a line's end itself
  assert.equal(stderr, "");
});

test("Ctrl-C while a model is loaded ends the command at once, and says nothing", async () => {
  const silent = createServer().listen(0, "127.0.0.1"); // a hub that never answers
  await once(silent, "listening");
  const { port } = silent.address() as { port: number };
  const cache = mkdtempSync(join(tmpdir(), "hadal-test-"));
  const env = { HF_ENDPOINT: `http://127.0.0.1:${port}`, HF_HOME: cache };
  const outcome = await runHadal(["generate", "some/model", "Hi"], env, (child) => {
    silent.once("connection", () => process.kill(child.pid!, "SIGINT"));
  });
  silent.close();
  rmSync(cache, { recursive: true });
  assert.deepEqual(outcome, { code: 130, stdout: "", stderr: "" });
});

test("a reader that has had enough is no failure", async () => {
  const { code, stderr } = await runHadal(["generate", "minnow", "Once", ...endless], {}, (child) => {
    child.stdout!.once("data", () => child.stdout!.destroy());
  });
  assert.deepEqual([code, stderr], [0, ""]);
});
