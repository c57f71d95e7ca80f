/** Thoughts and errors that clients send back: they reach the prompt, in the words of each API. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CallMemory } from "../../../src/openai/call_memory.ts";
import { countRequest, messagesOf as messagesOfAnthropic } from "../../../src/openai/anthropic_request.ts";
import { messagesOf, responsesInput } from "../../../src/openai/responses_items.ts";
import { sealed } from "../../../src/openai/sealed_thought.ts";

const itemsOf = (input: unknown) => messagesOf({ input: responsesInput.parse(input) });
const question = { role: "user", content: "Look." };
const call = { type: "function_call", call_id: "a", name: "look", arguments: "{}" };
const toolCalls = [{ id: "a", type: "function", function: { name: "look", arguments: "{}" } }];

test("a thought that is sent back reaches the template with what the same reply said or called", () => {
  const thought = { type: "reasoning", summary: [], content: [{ type: "reasoning_text", text: "Hm." }] };
  const said = { type: "message", role: "assistant", content: [{ type: "output_text", text: "Yes." }] };
  assert.deepEqual(itemsOf([question, thought, said, thought, call]), [
    question,
    { role: "assistant", content: "Yes.", reasoning: "Hm." },
    { role: "assistant", content: null, reasoning: "Hm.", toolCalls },
  ]);
  assert.deepEqual(
    itemsOf([question, thought, question]),
    [question, question],
    "one of no reply is forgotten",
  );
  const blocks = [{ type: "thinking", thinking: "Hm.", signature: "" }, { type: "text", text: "Yes." }];
  const { messages } = countRequest.parse({ messages: [question, { role: "assistant", content: blocks }] });
  const [, reply] = messagesOfAnthropic({ messages, system: undefined }, new CallMemory(), "");
  assert.deepEqual(reply, { role: "assistant", content: "Yes.", reasoning: "Hm." });
});

test("a thought comes back as well in the form in which clients without state keep it", () => {
  const kept = (encrypted_content: string) => [{ type: "reasoning", summary: [], encrypted_content }, call];
  assert.deepEqual(itemsOf(kept(sealed("Grüße 🐻"))), [
    { role: "assistant", content: null, reasoning: "Grüße 🐻", toolCalls },
  ]);
  assert.throws(() => itemsOf(kept("gAAAAA")), /Cannot read input\.0\.encrypted_content/);
});

test("a tool's error is told to the model, and an empty result is one", () => {
  const resultOf = (result: object) => {
    const content = [{ type: "tool_result", tool_use_id: "a", ...result }];
    const { messages } = countRequest.parse({ messages: [{ role: "user", content }] });
    return messagesOfAnthropic({ messages, system: undefined }, new CallMemory(), "")[0].content;
  };
  assert.equal(resultOf({ content: "no such file", is_error: true }), "Error: no such file");
  assert.equal(resultOf({ content: [{ type: "text", text: "no file" }], is_error: true }), "Error: no file");
  assert.equal(resultOf({ is_error: true }), "Error");
  assert.equal(resultOf({ content: "a lamp", is_error: false }), "a lamp");
  assert.equal(resultOf({}), "");
});
