/** The AI SDK, over HTTP as its OpenAI-compatible provider asks and in process through ours: one outcome. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import {
  APICallError,
  type EmbeddingModel,
  embedMany,
  generateText,
  isStepCount,
  jsonSchema,
  type LanguageModel,
  Output,
  streamText,
  tool,
  ToolLoopAgent,
} from "ai";
import { hadal, hadalEmbedding } from "../../ai_sdk.ts";
import { Animal, apiKey, enders, type ModelName, modelNames, servedModels, untilIdle } from "./served.ts";

(globalThis as { AI_SDK_LOG_WARNINGS?: boolean }).AI_SDK_LOG_WARNINGS = false;

const at = servedModels();

/** The two ways to one model. */
function waysTo(name: ModelName): { way: string; model: LanguageModel; embedding: EmbeddingModel }[] {
  const baseURL = `${at(name).url}/v1`;
  const overHttp = createOpenAICompatible({
    name: "hadal",
    baseURL,
    apiKey,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
  const { model } = at(name);
  return [
    { way: "over HTTP", model: overHttp(name), embedding: overHttp.embeddingModel(name) },
    { way: "in process", model: hadal(model), embedding: hadalEmbedding(model) },
  ];
}

const prompt = "Tell me a story about a fish.";
const short = { prompt, maxOutputTokens: 12, temperature: 0, maxRetries: 0 } as const;
const weather = tool({
  description: "Tells the weather.",
  inputSchema: jsonSchema<{ city: string }>({ type: "object", properties: { city: { type: "string" } } }),
});

for (const name of modelNames) {
  test(`${name}: both ways generate what the model's own chat writes, thoughts and usage too`, async () => {
    const own = await at(name).model.chat([{ role: "user", content: prompt }], {
      maxTokens: 12,
      temperature: 0,
    });
    for (const { way, model } of waysTo(name)) {
      const { text, reasoningText, finishReason, usage } = await generateText({ model, ...short });
      assert.equal(text, own.text, way);
      assert.equal(reasoningText ?? "", own.reasoning, way);
      assert.equal(finishReason, "length", way);
      assert.equal(usage.inputTokens, own.usage.promptTokens, way);
      assert.equal(usage.outputTokens, own.usage.completionTokens, way);
      assert.equal(usage.outputTokenDetails.reasoningTokens, own.usage.reasoningTokens, way);
    }
  });

  test(`${name}: both ways stream it`, async () => {
    const [whole] = await Promise.all([generateText({ model: waysTo(name)[1].model, ...short })]);
    for (const { way, model } of waysTo(name)) {
      let text = "", reasoning = "";
      const stream = streamText({ model, ...short });
      for await (const part of stream.stream) {
        if (part.type === "text-delta") text += part.text;
        if (part.type === "reasoning-delta") reasoning += part.text;
        assert.notEqual(part.type, "error");
      }
      assert.equal(text, whole.text, way);
      assert.equal(reasoning, whole.reasoningText ?? "", way);
      assert.equal((await stream.usage).totalTokens, whole.usage.totalTokens, way);
      assert.equal(await stream.finishReason, "length", way);
    }
  });

  test(`${name}: both ways call the tool that is chosen, with the same arguments`, async () => {
    const forced = { tools: { weather }, toolChoice: { type: "tool", toolName: "weather" } } as const;
    const inputs = [];
    for (const { model } of waysTo(name)) {
      const { toolCalls: [call] } = await generateText({ model, ...short, ...forced });
      assert.equal(call.toolName, "weather");
      inputs.push(call.input);
      let deltas = "";
      for await (const part of streamText({ model, ...short, ...forced }).stream) {
        if (part.type === "tool-input-delta") deltas += part.delta;
      }
      assert(deltas.length > 0);
      inputs.push(typeof call.input === "string" ? deltas : JSON.parse(deltas));
    }
    for (const input of inputs) assert.deepEqual(input, inputs[0]);
  });

  test(`${name}: both ways embed alike`, async () => {
    const values = ["a fox and a lamp", "the sea"];
    const own = (await at(name).model.embed(values)).map((vector) => [...vector]);
    for (const { way, embedding: model } of waysTo(name)) {
      const { embeddings, usage } = await embedMany({ model, values });
      assert.deepEqual(embeddings, own, way);
      assert(usage.tokens > 0);
    }
  });
}

for (const name of enders) {
  test(`${name}: both ways give an object of the schema, whole and streamed`, async () => {
    const asked = { ...short, maxOutputTokens: 200, output: Output.object({ schema: Animal }) };
    for (const { way, model } of waysTo(name)) {
      const { output, warnings } = await generateText({ model, ...asked });
      assert.deepEqual(Animal.parse(output), output, way);
      assert.deepEqual(warnings ?? [], [], way);
      let last: unknown;
      for await (const partial of streamText({ model, ...asked }).partialOutputStream) last = partial;
      assert.deepEqual(last, output, way);
    }
  });
}

test("an agent calls a tool, and goes on with its result", async () => {
  for (const name of modelNames) {
    for (const { way, model } of waysTo(name)) {
      const asked: unknown[] = [];
      const draw = tool({
        inputSchema: Animal,
        execute: (input) => {
          asked.push(input);
          return "a picture";
        },
      });
      const agent = new ToolLoopAgent({
        model,
        temperature: 0,
        maxOutputTokens: 100,
        tools: { draw },
        // None of these models was taught to call: the first step is told to, the second not to.
        prepareStep: ({ stepNumber }) => ({
          toolChoice: stepNumber === 0 ? { type: "tool", toolName: "draw" } : "none",
        }),
        stopWhen: isStepCount(2),
      });
      const { steps } = await agent.generate({ prompt });
      assert.deepEqual(steps.map(({ toolCalls }) => toolCalls.length), [1, 0], `${name} ${way}`);
      Animal.parse(asked[0]);
      assert.equal(steps[0].finishReason, "tool-calls");
      assert.equal(steps[0].toolResults[0].output, "a picture");
    }
  }
});

test("a wrong setting is an error of the call, and is not asked again", async () => {
  const [{ model }] = waysTo("minnow");
  await assert.rejects(generateText({ model, ...short, maxRetries: 2, temperature: 9 }), (error) => {
    assert(APICallError.isInstance(error));
    assert.equal(error.statusCode, 400);
    assert.match(error.message, /temperature/);
    return !error.isRetryable;
  });
});

test("a signal ends a stream, and its place is free", async () => {
  for (const { way, model } of waysTo("v2lite")) {
    const abort = new AbortController();
    const stream = streamText({ model, prompt, maxOutputTokens: 1000, abortSignal: abort.signal });
    const types = [];
    for await (const { type } of stream.stream) {
      types.push(type);
      abort.abort();
    }
    assert.equal(types.at(-1), "abort", way);
    await untilIdle(at("v2lite").model);
  }
});
