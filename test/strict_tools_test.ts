/** Strict tools of a model that thinks: minnow's network with the templates of V3.1 and R1. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type LanguageModel, load } from "../mod.ts";
import { writeDialect } from "./dialect_folder.ts";

const models = new Map<string, LanguageModel>();
const folder = mkdtempSync(join(tmpdir(), "hadal-strict-"));

before(async () => {
  const minnow = join(import.meta.dirname!, "../examples/minnow");
  for (const kind of ["v31", "r1_0528"]) {
    models.set(kind, await load(writeDialect(folder, kind, minnow), { contextLength: 512 }));
  }
});
after(async () => {
  for (const model of models.values()) await model.close();
  rmSync(folder, { recursive: true });
});

const parameters = {
  type: "object",
  properties: { city: { enum: ["Oslo", "Rome"] }, days: { type: "integer", minimum: 1, maximum: 9 } },
  required: ["city", "days"],
  additionalProperties: false,
};
const tools = [{ type: "function" as const, function: { name: "weather", parameters, strict: true } }];
const question = [{ role: "user" as const, content: "What is the weather?" }];

test("arguments of a strict tool follow its schema after a thought that spoke of calls", async () => {
  for (const [kind, model] of models) {
    const { tokenizer } = model;
    const idOf = (mark: string) => tokenizer.encode(mark, { special: true });
    // As if the model could think of nothing else: within the thought the mark is text, after it a call begins.
    const logitBias = { [idOf("<｜tool▁calls▁begin｜>")[0]]: 100 };
    for (const seed of [1, 2, 3]) {
      const reply = model.chat(question, {
        tools,
        logitBias,
        ...(kind === "v31" ? { thinking: true } : {}),
        thinkingTokenBudget: 4,
        temperature: 1,
        maxTokens: 200,
        seed,
      });
      const { toolCalls, reasoning } = await reply;
      const isOpened = kind === "v31";
      assert.equal(reasoning !== "", isOpened, `${kind}: ${reasoning}`);
      assert.ok(toolCalls.length > 0, kind);
      const { city, days, ...others } = JSON.parse(toolCalls[0].function.arguments);
      assert.ok(["Oslo", "Rome"].includes(city) && days >= 1 && days <= 9, toolCalls[0].function.arguments);
      assert.deepEqual(others, {});
    }
  }
});
