/** A thought that may have so many tokens: with draws, choices, beams and guesses, and before a form. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type ChatOptions, type LanguageModel, load, RequestError } from "../mod.ts";
import { writeDialect } from "./dialect_folder.ts";

/** A random network, which never ends a thought by itself: of V3.1, whose prompt opens it, and of R1. */
const kinds = ["v31", "r1_0528"] as const;
const models = new Map<string, LanguageModel>();
const folder = mkdtempSync(join(tmpdir(), "hadal-thoughts-"));

before(async () => {
  for (const kind of kinds) {
    models.set(kind, await load(writeDialect(folder, kind)));
  }
});
after(async () => {
  for (const model of models.values()) await model.close();
  rmSync(folder, { recursive: true });
});

const question = [{ role: "user" as const, content: "Look." }];
const base: ChatOptions = { temperature: 0, maxTokens: 24, ignoreEos: true, thinking: true };
const chat = (options: ChatOptions) => models.get("v31")!.chat(question, { ...base, ...options });
const closing = () => [...models.get("v31")!.tokenizer.encode("</think>", { special: true })];

test("a thought is what it would have been, up to its last token, and then its mark and the answer follow", async () => {
  const plain = await chat({});
  assert.equal(plain.text, "", "the thought ends by itself: it is no subject for this test");
  for (const budget of [0, 1, 5, 12]) {
    const { tokens, text, reasoning } = await chat({ thinkingTokenBudget: budget });
    assert.deepEqual(tokens.slice(0, budget), plain.tokens.slice(0, budget));
    assert.deepEqual(tokens.slice(budget, budget + closing().length), closing());
    assert.ok(text.length > 0, `${budget} tokens, and no answer`);
    assert.ok(plain.reasoning.startsWith(reasoning.replace(/\uFFFD+$/, "")), reasoning);
  }
  assert.deepEqual((await chat({ thinkingTokenBudget: 1000 })).tokens, plain.tokens);
});

test("each choice has its own thought, drawn or searched for", async () => {
  const kinds: ChatOptions[] = [{ temperature: 1.5, seed: 3, n: 3 }, { beam: { width: 4 }, n: 2 }];
  for (const options of kinds) {
    const { choices } = await chat({ ...options, thinkingTokenBudget: 4 });
    assert.equal(choices.length, options.n);
    for (const { tokens } of choices) {
      assert.deepEqual(tokens.slice(4, 4 + closing().length), closing(), JSON.stringify(options));
    }
  }
});

test("guesses change nothing about it, and neither do other requests", async () => {
  const alone = await chat({ thinkingTokenBudget: 6 });
  const guessed = await chat({ thinkingTokenBudget: 6, speculative: "ngram" });
  assert.deepEqual(guessed.tokens, alone.tokens);
  const [among] = await Promise.all([chat({ thinkingTokenBudget: 6 }), chat({}), chat({ seed: 1 })]);
  assert.deepEqual(among.tokens, alone.tokens);
});

test("an answer that has a form follows the mark", async () => {
  const { text } = await chat({ thinkingTokenBudget: 3, choice: ["a", "b"], maxTokens: 40 });
  assert.match(text, /^[ab]$/);
});

test("a thought that the reply opens itself is limited, and one that it does not open is none", async () => {
  const model = models.get("r1_0528")!;
  const ids = (text: string) => [...model.tokenizer.encode(text, { special: true })];
  const options: ChatOptions = { temperature: 0, maxTokens: 30, ignoreEos: true, thinkingTokenBudget: 2 };
  const [opening, ending] = [ids("<think>"), ids("</think>")];
  // The form leaves the mark or an "n", and the bias decides.
  const opened = await model.chat(question, { ...options, regex: "never", logitBias: { [opening[0]]: 100 } });
  assert.deepEqual(opened.tokens.slice(0, opening.length), opening);
  assert.deepEqual(opened.tokens.slice(opening.length + 2, opening.length + 2 + ending.length), ending);
  assert.equal(opened.text, "never");
  const free = await model.chat(question, options);
  const plain = await model.chat(question, { ...options, thinkingTokenBudget: undefined });
  assert.equal(plain.reasoning, "");
  assert.deepEqual(free.tokens, plain.tokens);
});

test("a budget that is no count is refused by name, and only a chat has one", async () => {
  for (const wrong of [-1, 1.5, NaN, "5"]) {
    await assert.rejects(chat({ thinkingTokenBudget: wrong as number }), (error) => {
      assert.ok(error instanceof RequestError);
      assert.equal(error.param, "thinking_token_budget");
      return true;
    });
  }
  const model = models.get("v31")!;
  await assert.rejects(
    model.complete("a", { thinkingTokenBudget: 5 } as ChatOptions),
    /Cannot use thinkingTokenBudget: only a chat has it/,
  );
});
