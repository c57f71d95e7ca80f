import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { runServe } from "../../src/cli/serve.ts";
import { quickBackend, runHadal } from "./run_hadal.ts";

test("serve answers under the name, the key and the limits that it was given, and drains on Ctrl-C", async () => {
  const flags = ["--port", "0", "--api-key", "secret", "--model-name", "fish", "--cors", "*"];
  const args = ["serve", "minnow", ...await quickBackend(), "--context-length", "256", ...flags];
  let asked: Promise<unknown[]> | null = null;
  const { code, stdout, stderr } = await runHadal(args, {}, (child) => {
    let told = "";
    child.stdout!.on("data", (text) => {
      const [, url] = /(http:\S+)\/v1, try:/.exec(told += text) ?? [];
      if (url !== undefined) asked ??= ask(url).finally(() => process.kill(child.pid!, "SIGINT"));
    });
  });
  assert.equal(code, 0, stderr);
  assert.deepEqual(await asked, [401, "fish", "*", 2]);
  assert.match(stderr, /^minnow on \w+ \(.*context: 256 tokens\nFinishing running requests/);
  assert.match(stdout, /^Listening on http:\S+\/v1, try:\n {2}curl .*Bearer \$API_KEY/);
});

async function ask(url: string): Promise<unknown[]> {
  const headers = { authorization: "Bearer secret", origin: "http://a.example" };
  const body = JSON.stringify({ messages: [{ role: "user", content: "Hi" }], max_tokens: 2 });
  const refused = await fetch(`${url}/v1/models`);
  await refused.text();
  const models = await (await fetch(`${url}/v1/models`, { headers })).json();
  const answer = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body });
  const { usage } = await answer.json();
  return [
    refused.status,
    models.data[0].id,
    answer.headers.get("access-control-allow-origin"),
    usage.completion_tokens,
  ];
}

test("what cannot be served so is refused before the model is loaded", async () => {
  const wrong: [string[], RegExp][] = [
    [["a", "b"], /^Error: serve: 2 models were given, one is needed$/],
    [["--port", "65536"], /^Error: --port: "65536" was given/],
    [["--api-key", " "], /^Error: --api-key: the key is empty$/],
    [["--api-key", "two words"], /^TypeError: Cannot use apiKeys: .* without spaces are needed$/],
    [["--allow-host", "http://a"], /^TypeError: Cannot use hosts: "http:\/\/a" was given/],
    [["--cors", "page.example"], /^TypeError: Cannot use cors: "page.example" was given/],
    [["--model-name", ""], /^TypeError: Cannot use the option modelName: a text is needed$/],
    [["--requests-per-minute", "0"], /^Error: --requests-per-minute: "0" was given/],
  ];
  for (const [args, message] of wrong) await assert.rejects(runServe(args), message);
});
