/** Kinds of items, blocks, parts and tools that the clients type: which are read, and which are refused. */
import type Anthropic from "@anthropic-ai/sdk";
import type OpenAI from "openai";

type Kinds<T extends string> = Readonly<Record<T, "read" | "refused">>;

/** Parts of a chat's messages. */
export const partKinds = {
  text: "read",
  image_url: "refused",
  input_audio: "refused",
  file: "refused",
} satisfies Kinds<OpenAI.ChatCompletionContentPart["type"]>;

/** Tools of a chat. */
export const chatToolKinds = {
  function: "read",
  custom: "refused",
} satisfies Kinds<OpenAI.ChatCompletionTool["type"]>;

/** Choices of a chat's tool that are objects. */
export const chatChoiceKinds = {
  function: "read",
  custom: "refused",
  allowed_tools: "read",
} satisfies Kinds<Exclude<OpenAI.ChatCompletionToolChoiceOption, string>["type"]>;

/** Blocks of the Anthropic API. */
export const blockKinds = {
  text: "read",
  thinking: "read",
  tool_use: "read",
  tool_result: "read",
  image: "refused",
  document: "refused",
  search_result: "refused",
  redacted_thinking: "refused",
  server_tool_use: "refused",
  web_search_tool_result: "refused",
  web_fetch_tool_result: "refused",
  code_execution_tool_result: "refused",
  bash_code_execution_tool_result: "refused",
  text_editor_code_execution_tool_result: "refused",
  tool_search_tool_result: "refused",
  container_upload: "refused",
} satisfies Kinds<Anthropic.ContentBlockParam["type"]>;

/** What may be asked for beside a response; of what is not here there is nothing to include. */
export const includable = {
  "message.output_text.logprobs": "given",
  "reasoning.encrypted_content": "given",
  "file_search_call.results": "none here",
  "web_search_call.results": "none here",
  "web_search_call.action.sources": "none here",
  "message.input_image.image_url": "none here",
  "computer_call_output.output.image_url": "none here",
  "code_interpreter_call.outputs": "none here",
} satisfies Record<OpenAI.Responses.ResponseIncludable, "given" | "none here">;

const refusedOf = (kinds: Readonly<Record<string, "read" | "refused">>): string[] =>
  Object.keys(kinds).filter((kind) => kinds[kind] === "refused");

const look = { role: "user", content: "Look." };

/** Where something has a kind, and kinds that are refused there. */
export interface Place {
  readonly path: string;
  readonly kinds: readonly string[];
  bodyOf(type: string): object;
  /** What the refusal names. */
  readonly param: string;
}

/** Every place; kinds that no client types are refused as well, since only those that are read pass. */
export const places: readonly Place[] = [
  {
    path: "/v1/chat/completions",
    kinds: refusedOf(partKinds),
    bodyOf: (type) => ({ messages: [{ role: "user", content: [{ type: "text", text: "A" }, { type }] }] }),
    param: "messages.0.content.1.type",
  },
  {
    path: "/v1/chat/completions",
    kinds: refusedOf(chatToolKinds),
    bodyOf: (type) => ({ messages: [look], tools: [{ type, [type]: { name: "a" } }] }),
    param: "tools.0.type",
  },
  {
    path: "/v1/chat/completions",
    kinds: refusedOf(chatChoiceKinds),
    bodyOf: (type) => ({ messages: [look], tool_choice: { type } }),
    param: "tool_choice.type",
  },
  {
    path: "/v1/responses",
    kinds: ["item_reference", "mcp_call", "custom_tool_call", "web_search_call", "compaction", "program"],
    bodyOf: (type) => ({ input: [look, { type, id: "a" }] }),
    param: "input.1.type",
  },
  {
    path: "/v1/responses",
    kinds: ["input_image", "input_file", "refusal"],
    bodyOf: (type) => ({ input: [{ role: "user", content: [{ type }] }] }),
    param: "input.0.content.0.type",
  },
  {
    path: "/v1/responses",
    kinds: ["web_search", "file_search", "mcp", "code_interpreter", "image_generation", "custom", "shell"],
    bodyOf: (type) => ({ input: "A", tools: [{ type }] }),
    param: "tools.0.type",
  },
  {
    path: "/v1/responses",
    kinds: ["mcp", "custom", "web_search_preview"],
    bodyOf: (type) => ({ input: "A", tool_choice: { type } }),
    param: "tool_choice.type",
  },
  {
    path: "/v1/messages",
    kinds: refusedOf(blockKinds),
    bodyOf: (type) => ({ max_tokens: 2, messages: [{ role: "user", content: [{ type }] }] }),
    param: "messages.0.content.0.type",
  },
  {
    path: "/v1/messages",
    kinds: ["image", "document", "search_result", "tool_reference"],
    bodyOf: (type) => ({
      max_tokens: 2,
      messages: [look, {
        role: "user",
        content: [{ type: "tool_result", tool_use_id: "a", content: [{ type }] }],
      }],
    }),
    param: "messages.1.content.0.content.0.type",
  },
  {
    path: "/v1/messages",
    kinds: ["bash_20250124", "web_search_20250305", "memory_20250818"],
    bodyOf: (type) => ({ max_tokens: 2, messages: [look], tools: [{ type, name: "a" }] }),
    param: "tools.0.type",
  },
  {
    path: "/v1/messages",
    kinds: ["between_tools"],
    bodyOf: (type) => ({ max_tokens: 2, messages: [look], thinking: { type } }),
    param: "thinking.type",
  },
];
