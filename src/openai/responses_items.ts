/**
 * The items of a conversation as the Responses API has them, and the messages that they become.
 * @module
 */
import { z } from "zod";
import { RequestError } from "../errors.ts";
import type { Message } from "../messages.ts";
import type { ToolCall } from "../text/chat_message.ts";
import { harmless, noItems, notYet, optional } from "./field_types.ts";
import { unsealed } from "./sealed_thought.ts";

const direct = optional(z.object({ type: z.literal("direct", "only the model itself calls tools here") }));
const labels = { id: harmless, status: harmless };

const textPart = z.object({
  type: z.literal(["input_text", "output_text", "text"], "only text is read"),
  text: z.string(),
  annotations: noItems,
  logprobs: harmless,
  prompt_cache_breakpoint: harmless,
});
const messageItem = z.object({
  type: optional(z.literal("message")),
  role: z.literal(
    ["system", "developer", "user", "assistant"],
    'the roles are "system", "developer", "user" and "assistant"',
  ),
  content: z.union([z.string(), z.array(textPart)], "a string or a list of text parts is needed"),
  phase: harmless,
  ...labels,
});
/** What an earlier reply thought: templates decide whether to show it. */
const reasoningItem = z.object({
  type: z.literal("reasoning"),
  content: optional(z.array(z.object({ type: z.literal("reasoning_text"), text: z.string() }))),
  summary: optional(z.array(z.object({ type: z.literal("summary_text"), text: z.string() }))),
  encrypted_content: optional(z.string()),
  ...labels,
});
const callItem = z.object({
  type: z.literal("function_call"),
  call_id: z.string(),
  name: z.string(),
  arguments: z.string(),
  async: notYet(false),
  caller: direct,
  namespace: notYet(),
  ...labels,
});
const resultItem = z.object({
  type: z.literal("function_call_output"),
  call_id: z.string(),
  output: z.union([z.string(), z.array(textPart)]),
  caller: direct,
  name: harmless, // call_id says whose output it is
  namespace: notYet(),
  ...labels,
});
const item = z.discriminatedUnion(
  "type",
  [messageItem, reasoningItem, callItem, resultItem],
  'items of the types "message", "reasoning", "function_call" and "function_call_output" are read',
);

/** What a response answers: a text, or a conversation. */
export const responsesInput = z.union(
  [z.string(), z.array(item).min(1, "at least one item is needed")],
  "a string or a list of items is needed",
);

/** The messages in hadal's words. */
export function messagesOf(
  { input, instructions }: {
    readonly input: z.output<typeof responsesInput>;
    readonly instructions?: string;
  },
): Message[] {
  const messages: Message[] = instructions === undefined ? [] : [{ role: "system", content: instructions }];
  if (typeof input === "string") return [...messages, { role: "user", content: input }];
  let thought: string | undefined; // goes before what the same reply said or called
  let calls: ToolCall[] | null = null; // those of one reply are items one after the other, and one message
  for (const [at, item] of input.entries()) {
    if (item.type === "reasoning") {
      const text = thoughtOf(item, at);
      thought = thought === undefined ? text : `${thought}\n${text}`;
      calls = null;
      continue;
    }
    const reasoning = thought === undefined ? {} : { reasoning: thought };
    if (item.type === "function_call") {
      const { call_id: id, name, arguments: json } = item;
      if (calls === null) {
        messages.push({ role: "assistant", content: null, ...reasoning, toolCalls: calls = [] });
        thought = undefined;
      }
      calls.push({ id, type: "function", function: { name, arguments: json } });
      continue;
    }
    calls = null;
    if (item.type === "function_call_output") {
      messages.push({ role: "tool", content: textOf(item.output), toolCallId: item.call_id });
      continue;
    }
    const { role, content } = item;
    const isReply = role === "assistant";
    messages.push({
      role: role === "developer" ? "system" : role,
      content: textOf(content),
      ...(isReply ? reasoning : {}),
    });
    thought = undefined;
  }
  return messages;
}

const textOf = (content: string | readonly { readonly text: string }[]): string =>
  typeof content === "string" ? content : content.map(({ text }) => text).join("\n");

/** A client without our state gives back what it was sent: the thought itself, or the form that is to be kept. */
function thoughtOf({ content, encrypted_content }: z.output<typeof reasoningItem>, at: number): string {
  if (content !== undefined && content.length > 0) return textOf(content);
  if (encrypted_content === undefined) return "";
  const thought = unsealed(encrypted_content);
  if (thought !== null) return thought;
  const param = `input.${at}.encrypted_content`;
  throw new RequestError(`Cannot read ${param}: it is not of this server's`, { param });
}
