import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type Handler, type LanguageModel, load, openaiHandler } from "../../mod.ts";

let model: LanguageModel;
let handler: Handler;

before(async () => {
  model = await load("minnow", { backend: "reference" });
  handler = openaiHandler(model);
});
after(() => model.close());

async function post(path: string, body: object): Promise<{ status: number; json: Record<string, unknown> }> {
  const request = new Request(`http://localhost${path}`, { method: "POST", body: JSON.stringify(body) });
  const response = await handler(request);
  return { status: response.status, json: await response.json() };
}

const messages = [{ role: "user", content: "What is a bear?" }] as const;

test("a text becomes tokens and tokens become the text", async () => {
  const content = "Once upon a time, há 3 urso.";
  const { json: { tokens, count } } = await post("/tokenize", { content });
  assert.deepEqual(tokens, [...model.tokenizer.encode(content)]);
  assert.equal(count, (tokens as number[]).length);
  assert.equal((await post("/detokenize", { tokens })).json.content, content);
  const { json: { pieces } } = await post("/tokenize", { content: "a bear", with_pieces: true });
  assert.equal((pieces as string[]).join(""), "a bear");
  const { json: { token_strs } } = await post("/tokenize", { prompt: "a bear", return_token_strs: true });
  assert.deepEqual(token_strs, pieces);
});

test("the prompt of a chat can be read and counted", async () => {
  const { text, tokens } = model.renderChat(messages);
  assert.equal((await post("/apply-template", { messages })).json.prompt, text);
  assert.deepEqual((await post("/tokenize", { messages })).json.tokens, tokens);
  const begun = await post("/tokenize", { messages, add_special_tokens: true });
  assert.deepEqual(begun.json.tokens, [model.tokenizer.bosId, ...tokens], "besides the template's own");
  const { usage } = await model.chat(messages, { maxTokens: 1 });
  assert.equal(usage.promptTokens, tokens.length);
});

test("token ids that no text has, and a request for nothing, are refused by name", async () => {
  for (const [path, body] of [["/detokenize", { tokens: [-1] }], ["/tokenize", {}]] as const) {
    const { status, json } = await post(path, body);
    assert.equal(status, 400);
    assert.match((json.error as { param: string }).param, /tokens|content/);
  }
});

test("metrics are lines that Prometheus reads, and count what was asked", async () => {
  await model.complete("Once", { maxTokens: 3, temperature: 0 });
  const response = await handler(new Request("http://localhost/metrics"));
  assert.match(response.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
  const lines = (await response.text()).trimEnd().split("\n");
  const sample = /^hadal_[a-z_]+(\{[a-z_]+="[a-zA-Z_]+"\})? [0-9.e+-]+$/;
  for (const line of lines) assert.match(line, line.startsWith("#") ? /^# (HELP|TYPE) hadal_/ : sample);
  const generated = lines.find((line) => line.startsWith('hadal_tokens_total{kind="generated"}'));
  assert(Number(generated!.split(" ")[1]) >= 3);
});

test("props tell what is served", async () => {
  const response = await handler(new Request("http://localhost/props"));
  const { name, contextLength } = await response.json();
  assert.equal(name, "minnow");
  assert.equal(contextLength, model.info.contextLength);
});
