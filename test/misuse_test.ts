import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type LanguageModel, load, RequestError } from "../mod.ts";

let model: LanguageModel;
const folder = mkdtempSync(join(tmpdir(), "hadal-misuse-"));
before(async () => {
  model = await load("minnow", { contextLength: 128 });
});
after(async () => {
  await model.close();
  rmSync(folder, { recursive: true });
});

const question = [{ role: "user" as const, content: "Say hello." }];
const few = { maxTokens: 2, temperature: 0 };

/** As a caller without types writes it. */
// deno-lint-ignore no-explicit-any
const untyped = (value: unknown): any => value;

async function refuses(act: () => PromiseLike<unknown>, sentence: RegExp, what: string): Promise<void> {
  await assert.rejects(async () => await act(), (error) => {
    assert(error instanceof RequestError || error instanceof TypeError, `${what}: ${error}`);
    assert.match(error.message, sentence, what);
    return true;
  });
}

test("options that are none are refused in one sentence, and the model goes on", async () => {
  for (
    const [options, sentence] of [
      [null, /^Cannot use the options: null found, an object needed$/],
      [[], /^Cannot use the options: a list found, an object needed$/],
      [5, /^Cannot use the options: 5 found, an object needed$/],
      ["warm", /^Cannot use the options: "warm" found, an object needed$/],
      [{ signal: {} }, /^Cannot use signal: object found, an AbortSignal needed$/],
    ] as const
  ) {
    await refuses(() => model.chat(question, untyped(options)), sentence, `chat ${options}`);
    await refuses(() => model.complete([1], untyped(options)), sentence, `complete ${options}`);
    await refuses(() => model.logits([1], untyped(options)), sentence, `logits ${options}`);
    await refuses(() => model.embed([[1]], untyped(options)), sentence, `embed ${options}`);
  }
  await refuses(
    () => model.logits([1], untyped({ sginal: null, abort: 1 })),
    /^Cannot use abort: the options here are signal$/,
    "one that is misspelt",
  );
  await refuses(
    () => model.loadConversation("x", untyped({ tenent: "a" })),
    /^Cannot use tenent: the options here are tenant$/,
    "one that is misspelt",
  );
  for (const toolChoice of [5, "always", {}, { name: 5 }]) {
    const tools = [{ type: "function" as const, function: { name: "look" } }];
    await refuses(
      () => model.chat(question, untyped({ ...few, tools, toolChoice })),
      /^Cannot use tool_choice: "none", "auto", "required", the name of a tool or allowed ones are needed$/,
      JSON.stringify(toolChoice),
    );
  }
  await refuses(
    () => model.chat(question, { maxTokens: 2, beam: untyped({ groups: 2 }) }),
    /^Cannot use beam: no width found, one from 1 to 128 needed$/,
    "a beam without width",
  );
  assert.equal((await model.chat(question, few)).tokens.length, 2);
});

test("prompts that are none are refused before anything is made of them", async () => {
  const none = /^Cannot read the prompt: a text or token ids are needed$/;
  for (const prompt of [undefined, null, 5, {}, { length: -1 }, { length: 1.5 }, { length: "a" }]) {
    await refuses(() => model.complete(untyped(prompt), few), none, `complete ${JSON.stringify(prompt)}`);
    await refuses(() => model.logits(untyped(prompt)), none, `logits ${JSON.stringify(prompt)}`);
  }
  await refuses(() => model.complete(untyped({ length: 1e15 }), few), /the context holds 128/, "a huge one");
  await refuses(() => model.complete(new Float32Array(2 ** 20), few), /the context holds 128/, "a long one");
  for (const ids of [[1n], BigInt64Array.of(1n), ["1"], [null], [1.5], [2 ** 31], [Symbol("a")], [, 1]]) {
    await refuses(
      () => model.complete(untyped(ids), few),
      /whole numbers needed as token ids$/,
      typeof ids[0],
    );
  }
  for (const texts of [undefined, 5, null, { length: 1 }, new Int32Array(2)]) {
    const needed = /^Cannot embed: .+ found, a text or a list of texts, or of token ids, needed$/;
    await refuses(() => model.embed(untyped(texts)), needed, String(texts));
  }
  for (const message of [null, 5, "hello"]) {
    const needed = /^Cannot read messages\.0: an object with role and content is needed$/;
    await refuses(() => model.chat(untyped([message]), few), needed, String(message));
  }
  await refuses(
    () => model.chat([{ role: untyped("robot"), content: "Hi" }], few),
    /the role "robot", one of system, user, assistant, tool, developer is needed$/,
    "a role",
  );
});

test("the tokenizer takes texts and lists of ids alone", () => {
  const { tokenizer } = model;
  for (const text of [undefined, null, 5, ["a"]]) {
    assert.throws(
      () => tokenizer.encode(untyped(text)),
      /^TypeError: Cannot encode: \w+ found, a text needed$/,
    );
    const special = { special: true };
    assert.throws(() => tokenizer.encode(untyped(text), special), /^TypeError: Cannot encode/);
  }
  for (const ids of [undefined, null, 5, "5", {}]) {
    assert.throws(
      () => tokenizer.decode(untyped(ids)),
      /^TypeError: Cannot decode: \w+ found, token ids needed$/,
    );
  }
  assert.equal(tokenizer.decode(new Set(tokenizer.encode("a b"))), "a b");
});

test("a path that cannot be written or read is named, and leaves nothing", async () => {
  const nowhere = join(folder, "nowhere", "talk");
  await assert.rejects(model.saveConversation(nowhere, question), (error: Error) => {
    assert.equal(error.message, `Cannot write ${nowhere}: ENOENT: no such file or directory`);
    return true;
  });
  const taken = join(folder, "taken");
  mkdirSync(taken);
  await assert.rejects(model.saveConversation(taken, question), (error: Error) => {
    assert(error.message.startsWith(`Cannot write ${taken}: `), error.message);
    return true;
  });
  assert.deepEqual(readdirSync(folder), ["taken"]);
  const missing = `Cannot read ${nowhere}: there is no such file`;
  await assert.rejects(model.loadConversation(nowhere), { name: "RequestError", message: missing });
  for (const path of [undefined, 5, "", "a\0b"]) {
    const needed = /found, a path or a name needed$/;
    await refuses(() => model.saveConversation(untyped(path), question), needed, String(path));
    await refuses(() => model.loadConversation(untyped(path)), needed, String(path));
    await refuses(() => load(untyped(path)), needed, String(path));
  }
});
