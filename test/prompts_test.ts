/** Replies that have a form, of models that think or not. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type ChatOptions, type LanguageModel, load, type Message } from "../mod.ts";
import { writeDialect } from "./dialect_folder.ts";

const models = new Map<string, LanguageModel>();
const folder = mkdtempSync(join(tmpdir(), "hadal-prompts-"));

before(async () => {
  for (const kind of ["v31", "r1_0528"]) {
    models.set(kind, await load(writeDialect(folder, kind), { backend: "reference" }));
  }
});
after(async () => {
  for (const model of models.values()) await model.close();
  rmSync(folder, { recursive: true });
});

const question: Message[] = [{ role: "user", content: "Look." }];
const look = { id: "a", type: "function" as const, function: { name: "look", arguments: "{}" } };
const looked: Message[] = [
  ...question,
  { role: "assistant", content: null, toolCalls: [look] },
  { role: "tool", content: "a lamp", toolCallId: "a" },
];

/** What a reply begins with whose model would think before all else; the mark is text under a form. */
function begun(kind: string, messages: readonly Message[], options: ChatOptions) {
  const model = models.get(kind)!;
  const [mark] = model.tokenizer.encode("<think>", { special: true });
  const logitBias = { [mark]: 100 };
  return model.chat(messages, {
    temperature: 0,
    maxTokens: 40,
    logitBias,
    thinkingTokenBudget: 1,
    ...options,
  });
}

test("where thinking is off, a reply that has a form opens no thought", async () => {
  const off: ChatOptions[] = [
    {},
    { thinking: false },
    { reasoningEffort: "none" },
    { templateVariables: { thinking: false } },
  ];
  for (const messages of [question, looked]) {
    for (const options of off) {
      const { text, reasoning } = await begun("v31", messages, { ...options, regex: "(<think>)?never" });
      assert.deepEqual([text, reasoning], ["<think>never", ""], JSON.stringify(options));
      const other = await begun("v31", messages, { ...options, regex: "never" });
      assert.deepEqual([other.text, other.reasoning], ["never", ""], JSON.stringify(options));
    }
  }
});

test("where it is on, or nobody can turn it off, the form follows the thought", async () => {
  for (const messages of [question, looked]) {
    for (const [kind, options] of [["v31", { thinking: true }], ["r1_0528", {}]] as const) {
      const { text, reasoning } = await begun(kind, messages, { ...options, regex: "never" });
      assert.equal(text, "never", kind);
      assert.notEqual(reasoning, "", kind);
    }
  }
});
