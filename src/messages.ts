/**
 * The messages of a chat as callers write them.
 * @module
 */
import { RequestError } from "./errors.ts";
import type { ChatMessage, ToolCall } from "./text/chat_message.ts";

/** One message of a chat. */
export interface Message {
  /** "developer" is another word for "system"; a "tool" says what one of the calls before it gave. */
  readonly role: "system" | "developer" | "user" | "assistant" | "tool";
  /** Several parts are joined by line breaks. Null where an assistant only called tools. */
  readonly content: string | readonly { readonly type: "text"; readonly text: string }[] | null;
  /** What an assistant thought before it wrote the content; most models forget it. */
  readonly reasoning?: string;
  /** What an assistant called. */
  readonly toolCalls?: readonly ToolCall[];
  /** Which call a tool's message answers. */
  readonly toolCallId?: string;
}

/**
 * What templates take; whether they know a message's role is theirs to say.
 * @throws {RequestError} naming the message that is none, in the JSON API's spelling
 */
export function checkMessages(messages: readonly Message[]): ChatMessage[] {
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new RequestError("Cannot read messages: a list of at least one is needed", { param: "messages" });
  }
  return messages.map((message: Message, i): ChatMessage => {
    if (typeof message !== "object" || message === null) {
      const param = `messages.${i}`;
      throw new RequestError(`Cannot read ${param}: an object with role and content is needed`, { param });
    }
    const { role, content, reasoning, toolCalls, toolCallId } = message;
    const calls = checkCalls(toolCalls, i);
    const more = {
      ...(reasoning === undefined ? {} : { reasoning }),
      ...(calls.length === 0 ? {} : { toolCalls: calls }),
      ...(toolCallId === undefined ? {} : { toolCallId: String(toolCallId) }),
    };
    // Templates tell by null that an assistant only called tools.
    if (calls.length > 0 && (content === null || content === "")) return { role, content: null, ...more };
    const texts = typeof content === "string" ? [content] : Array.isArray(content) ? content.map(textOf) : [];
    if (texts.length === 0 || !texts.every((text) => typeof text === "string")) {
      const param = `messages.${i}.content`;
      throw new RequestError(`Cannot read ${param}: a text or a list of text parts is needed`, { param });
    }
    return { role, content: texts.join("\n"), ...more };
  });
}

function checkCalls(calls: readonly ToolCall[] | undefined, message: number): readonly ToolCall[] {
  if (calls === undefined) return [];
  const isText = (value: unknown) => typeof value === "string";
  const isCall = (call: ToolCall | null) =>
    isText(call?.id) && isText(call?.function?.name) && isText(call?.function?.arguments);
  if (Array.isArray(calls) && calls.every(isCall)) {
    return calls.map(({ id, function: { name, arguments: json } }) => ({
      id,
      type: "function",
      function: { name, arguments: json },
    }));
  }
  const param = `messages.${message}.tool_calls`;
  const needed = "a list of calls with id, function.name and function.arguments (JSON as text) is needed";
  throw new RequestError(`Cannot read ${param}: ${needed}`, { param });
}

function textOf(part: { type?: string; text?: string } | null): string | undefined {
  return part?.type === "text" ? part.text : undefined;
}
