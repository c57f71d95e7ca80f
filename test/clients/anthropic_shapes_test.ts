/** The shapes of Anthropic's answers, as its official client sees them: minnow alone. */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { apiKey, servedModels } from "./served.ts";

const at = servedModels(["minnow"]);
let client: Anthropic;
before(() => void (client = new Anthropic({ baseURL: at("minnow").url, apiKey, maxRetries: 0 })));

const messages = [{ role: "user" as const, content: "Tell me a story about a fish." }];
const short = { model: "minnow", messages, max_tokens: 12, temperature: 0 };

test("a message has the shape that the API has", async () => {
  const message = await client.messages.create(short);
  assert.match(message.id, /^msg_[0-9a-f]{32}$/);
  assert.equal(message.type, "message");
  assert.equal(message.role, "assistant");
  assert.equal(message.stop_reason, "max_tokens");
  assert.equal(message.stop_sequence, null);
  assert.equal(message.usage.output_tokens, 12);
  const [block] = message.content;
  assert(block.type === "text" && block.text.length > 10);
});

test("a stream tells its events in the API's order", async () => {
  const stream = client.messages.stream(short);
  const types = new Set<string>();
  stream.on("streamEvent", ({ type }) => types.add(type));
  await stream.done();
  assert.deepEqual([...types], [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
  ]);
});

test("a stop sequence is told by name", async () => {
  const { content: [block] } = await client.messages.create(short);
  assert(block.type === "text");
  const stop = block.text.trim().split(" ")[2];
  const message = await client.messages.create({ ...short, stop_sequences: ["not there", stop] });
  assert.equal(message.stop_reason, "stop_sequence");
  assert.equal(message.stop_sequence, stop);
});

test("a system prompt and text blocks are what the same words are to the other API", async () => {
  const system = "Speak of the sea.";
  const chat = [{ role: "system", content: system }, ...messages] as const;
  const same = await at("minnow").model.chat(chat, { maxTokens: 12, temperature: 0 });
  const blocks = messages.map(({ role, content }) => ({
    role,
    content: [{ type: "text" as const, text: content }],
  }));
  const message = await client.messages.create({ ...short, system, messages: blocks });
  assert.deepEqual(message.content, [{ type: "text", text: same.text }]);
});

test("a wrong request gets an error in the API's words", async () => {
  const wrong = (fields: object) => client.messages.create({ ...short, ...fields });
  await assert.rejects(wrong({ max_tokens: 0 }), (error: InstanceType<typeof Anthropic.BadRequestError>) => {
    assert.equal(error.status, 400);
    const body = error.error as { type: string; error: { type: string; message: string } };
    assert.equal(body.type, "error");
    assert.equal(body.error.type, "invalid_request_error");
    assert.match(body.error.message, /max_tokens/);
    return true;
  });
});
