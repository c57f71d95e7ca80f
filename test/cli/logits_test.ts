import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { load } from "../../mod.ts";
import { runLogits } from "../../src/cli/logits.ts";
import { quickBackend, runHadal } from "./run_hadal.ts";

const backend = await quickBackend();
const logits = (...args: string[]) => runHadal(["logits", "minnow", ...backend, ...args]);

test("logits says each token, how likely it was, and what is likely next; all of them go into a file", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hadal-test-")), file = join(folder, "all.npy");
  try {
    await using model = await load(
      "minnow",
      backend[0] === "--library" ? { library: backend[1] } : { backend: "reference" },
    );
    const tokens = Array.from(model.promptTokens("Once upon a time"));
    const [table, json] = await Promise.all([
      logits("Once upon a time"),
      logits("--tokens", tokens.join(), "--json", "--top", "1", "--npy", file),
    ]);
    assert.equal(table.code, 0, table.stderr);
    const lines = table.stdout.trimEnd().split("\n");
    assert.match(lines[2], /^ +\d+ +-0\.\d{3} {2}" upon" +then " a" 99\.\d %, /);
    assert.match(lines.at(-1)!, /^5 tokens, perplexity \d+\.\d{4}$/);

    assert.equal(json.code, 0, json.stderr);
    const places = json.stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
    const whole = places.pop();
    assert.equal(whole.tokens, tokens.length);
    assert(Math.abs(Math.exp(-whole.logprob / (tokens.length - 1)) - whole.perplexity) < 1e-9);
    const { promptLogprobs } = await model.complete(tokens, { maxTokens: 1, promptLogprobs: 1 });
    for (const [i, found] of promptLogprobs!.entries()) {
      assert.equal(places[i].token, tokens[i]);
      if (found === null) assert.equal(places[i].logprob, null);
      else assert(Math.abs(found.logprob - places[i].logprob) < 1e-5, `token ${i}`);
    }

    const bytes = readFileSync(file), begin = 10 + bytes.readUInt16LE(8);
    assert.equal(bytes.toString("latin1", 1, 6), "NUMPY");
    assert.equal(begin % 64, 0);
    assert.match(bytes.toString("latin1", 10, begin), /^\{'descr': '<f4', .*'shape': \(5, 4096\), \} +\n$/);
    const values = new Float32Array(new Uint8Array(bytes.subarray(begin)).buffer);
    assert.deepEqual(values, await model.logits(tokens));

    const again = await logits("--tokens", "0", "--npy", file);
    assert.deepEqual([again.code, again.stdout], [2, ""]);
    assert.match(again.stderr, /^Cannot write \S+: it is there already[^\n]*\n$/);

    const nowhere = join(folder, "nowhere", "all.npy");
    const none = await logits("--tokens", "0", "--npy", nowhere);
    assert.deepEqual([none.code, none.stdout], [2, ""]);
    assert.equal(none.stderr, `Cannot write ${nowhere}: there is no folder ${join(folder, "nowhere")}\n`);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("what does not go together is refused before anything is read or loaded", async () => {
  const wrong: [string[], RegExp][] = [
    [[], /^Error: logits: no model was given/],
    [["minnow", "--tokens", "0,x"], /^Error: --tokens: "0,x" was given, ids/],
    [["minnow", "--tokens", "0", "Once"], /^Error: --tokens: a text was given as well$/],
    [["minnow", "Once", "--top", "1000"], /^Error: --top: "1000" was given/],
  ];
  for (const [args, message] of wrong) await assert.rejects(runLogits(args), message);
});
