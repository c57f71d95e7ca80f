import assert from "node:assert/strict";
import { test } from "node:test";
import type { ReplyPart } from "../../src/chat_reply.ts";
import { joined } from "../../src/openai/joined_parts.ts";

const text = (text: string, token: number, rest: object = {}): ReplyPart =>
  ({ type: "text", text, tokens: [token], choice: 0, ...rest }) as ReplyPart;
const call = { index: 0, id: "call_1", name: "f" };

test("text of one choice that came together is one part", () => {
  assert.deepEqual(joined([text("a", 1), text("", 2), text("b", 3)]), [
    { type: "text", text: "ab", tokens: [1, 2, 3], choice: 0 },
  ]);
  assert.deepEqual(joined([]), []);
});

test("thoughts, other choices, calls and tokens with log-probabilities stay apart, in their order", () => {
  const parts = [
    text("t", 1, { type: "reasoning" }),
    text("a", 2),
    text("b", 3, { choice: 1 }),
    text("c", 4),
    text("{", 5, { type: "toolCall", call }),
    text("}", 6, { type: "toolCall", call }),
    text("d", 7, { logprobs: [] }),
    text("e", 8, { logprobs: [] }),
    text("f", 9, { promptLogprobs: [null] }),
    text("g", 10),
  ];
  assert.deepEqual(joined(parts), parts);
});
