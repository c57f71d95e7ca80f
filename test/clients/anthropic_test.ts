/** Anthropic's official client against the running server, with each of the models. */
import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";
import { Animal, apiKey, enders, type ModelName, modelNames, servedModels, untilIdle } from "./served.ts";

const at = servedModels();
const clientOf = (name: ModelName, maxRetries = 0) =>
  new Anthropic({ baseURL: at(name).url, apiKey, maxRetries });

const question = { role: "user" as const, content: "Tell me a story about a fish." };
const shortOf = (model: ModelName) => ({ model, messages: [question], max_tokens: 12, temperature: 0 });
const tool = {
  name: "get_weather",
  description: "Tells the weather.",
  input_schema: { type: "object" as const, properties: { city: { type: "string" } } },
};
const forced = { tools: [tool], tool_choice: { type: "tool" as const, name: tool.name } };

for (const name of modelNames) {
  test(`${name}: a message says what a chat says, thoughts in a block of their own`, async () => {
    const own = await at(name).model.chat([question], { maxTokens: 12, temperature: 0 });
    const { content, stop_reason, usage } = await clientOf(name).messages.create(shortOf(name));
    assert.equal(content.map((block) => block.type === "text" ? block.text : "").join(""), own.text);
    assert.equal(
      content.map((block) => block.type === "thinking" ? block.thinking : "").join(""),
      own.reasoning,
    );
    assert.equal(stop_reason, "max_tokens");
    assert.equal(usage.output_tokens, 12);
    assert.equal(usage.input_tokens + usage.cache_read_input_tokens!, own.usage.promptTokens);
  });

  test(`${name}: a stream adds up to the whole message`, async () => {
    const client = clientOf(name);
    const whole = await client.messages.create(shortOf(name));
    const stream = client.messages.stream(shortOf(name));
    let text = "", thinking = "";
    stream.on("text", (delta) => text += delta).on("thinking", (delta) => thinking += delta);
    const { content, usage, stop_reason } = await stream.finalMessage();
    const said = (kind: "text" | "thinking") =>
      whole.content.map((block) =>
        block.type === kind ? (block as unknown as Record<string, string>)[kind] : ""
      )
        .join("");
    assert.equal(text, said("text"));
    assert.equal(thinking, said("thinking"));
    assert.deepEqual(
      content.filter((block) => block.type !== "text" || block.text !== ""),
      whole.content.filter((block) => block.type !== "text" || block.text !== ""),
    );
    assert.equal(usage.output_tokens, 12);
    assert.equal(stop_reason, "max_tokens");
  });

  test(`${name}: a chosen tool is called, and the result goes back`, async () => {
    const client = clientOf(name);
    const whole = await client.messages.create({ ...shortOf(name), ...forced });
    const [block] = whole.content;
    assert(block.type === "tool_use" && block.name === tool.name);
    let json = "", started = "";
    for await (const event of await client.messages.create({ ...shortOf(name), ...forced, stream: true })) {
      if (event.type === "content_block_start" && event.content_block.type === "tool_use") {
        started += event.content_block.name;
      }
      if (event.type === "content_block_delta" && event.delta.type === "input_json_delta") {
        json += event.delta.partial_json;
      }
    }
    assert.equal(started, tool.name);
    assert(json.length > 0);
    const messages = [
      question,
      { role: "assistant" as const, content: whole.content },
      {
        role: "user" as const,
        content: [{ type: "tool_result" as const, tool_use_id: block.id, content: "sunny" }],
      },
    ];
    const counted = await client.messages.countTokens({ model: name, messages, tools: [tool] });
    const { usage } = await client.messages.create({ ...shortOf(name), messages, tools: [tool] });
    assert.equal(counted.input_tokens, usage.input_tokens + usage.cache_read_input_tokens!);
  });

  test(`${name}: tokens are counted as they are read`, async () => {
    const client = clientOf(name);
    const system = "Be brief.";
    const { input_tokens } = await client.messages.countTokens({ model: name, messages: [question], system });
    const { usage } = await client.messages.create({ ...shortOf(name), system });
    assert.equal(input_tokens, usage.input_tokens + usage.cache_read_input_tokens!);
  });
}

for (const name of enders) {
  test(`${name}: a message is held to a schema, and a call to the tool's`, async () => {
    const client = clientOf(name);
    const asked = { ...shortOf(name), max_tokens: 200 };
    const parsed = await client.messages.parse({
      ...asked,
      output_config: { format: zodOutputFormat(Animal) },
    });
    assert.deepEqual(Animal.parse(parsed.parsed_output), parsed.parsed_output);
    assert.equal(parsed.stop_reason, "end_turn");
    const { content: [block], stop_reason } = await client.messages.create({
      ...asked,
      tools: [{ name: "draw", input_schema: z.toJSONSchema(Animal) as { type: "object" } }],
      tool_choice: { type: "tool", name: "draw" },
    });
    assert(block.type === "tool_use" && block.name === "draw");
    Animal.parse(block.input);
    assert.equal(stop_reason, "tool_use");
  });
}

test("errors have the statuses and the words that the client tells apart", async () => {
  const client = clientOf("minnow", 2);
  const wrong = (fields: object) => client.messages.create({ ...shortOf("minnow"), ...fields });
  await assert.rejects(wrong({ temperature: 9 }), Anthropic.BadRequestError);
  await assert.rejects(wrong({ messages: [] }), Anthropic.BadRequestError);
  await assert.rejects(wrong({ model: "other" }), Anthropic.NotFoundError);
  const stranger = new Anthropic({ baseURL: at("minnow").url, apiKey: "wrong" });
  await assert.rejects(stranger.messages.create(shortOf("minnow")), Anthropic.AuthenticationError);
});

test("a client that leaves a stream frees its place", async () => {
  const endless = { ...shortOf("v2lite"), max_tokens: 1000, stream: true as const };
  for await (const _ of await clientOf("v2lite").messages.create(endless)) break;
  await untilIdle(at("v2lite").model);
});
