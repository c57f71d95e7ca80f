/** The fields of a chat completion as the openai client types them. */
import type OpenAI from "openai";
import {
  harmless,
  honoured,
  needed,
  refused,
  refusedWith,
  refusedWithin,
  type RowsOf,
  seen,
  type Table,
} from "./row.ts";

export const question = { role: "user", content: "Look." };
/** Drawn at random, by a seed. */
export const drawn = { temperature: 1.5, max_tokens: 12 };
export const short = { temperature: 0, max_tokens: 5, seed: 1 };
export const chat = { ...short, messages: [question] };
export const schema = { type: "object", properties: { city: { enum: ["Oslo"] } }, required: ["city"] };
const tool = { type: "function", function: { name: "look", description: "Looks.", parameters: schema } };
/** Long enough that what has been written comes again, or does not. */
export const repeated = { temperature: 0.5, max_tokens: 40 };
/** A text that is known; the bias is for its first letter, and against a thought before it. */
export const fixed = { regex: "abcdef", logit_bias: { 67: 100 }, max_tokens: 16 };

/** How text is drawn, which chat and text completions have in common. */
export const drawing = {
  frequency_penalty: honoured(2, repeated),
  logit_bias: honoured({ 5: 100 }),
  presence_penalty: honoured(2, repeated),
  seed: honoured(7, drawn),
  stop: honoured("d", fixed),
  temperature: honoured(2, { max_tokens: 12 }),
  top_p: honoured(0.01, drawn),
};

const rows = {
  messages: needed,
  model: refusedWith(404, "nothing"),
  ...drawing,
  audio: refused({ voice: "a", format: "wav" }),
  function_call: refused({ name: "f" }, "auto", "none"),
  functions: refused([{ name: "f" }], []),
  logprobs: honoured(true),
  max_completion_tokens: honoured(2),
  max_tokens: honoured(2),
  metadata: harmless({ a: "b" }),
  modalities: refusedWithin(".1", ["text", "audio"], ["text"]),
  moderation: refused({ model: "omni-moderation-latest" }),
  n: honoured(2),
  parallel_tool_calls: seen(
    "reply_grammar_test.ts",
    "forced calls are whole calls of tools that were offered",
  ),
  prediction: harmless({ type: "content", content: "A bear" }),
  prompt_cache_key: harmless("x"),
  prompt_cache_options: refusedWithin(".prewarm", { prewarm: true }, { ttl: "30m", mode: "explicit" }),
  prompt_cache_retention: harmless("24h"),
  reasoning_effort: honoured("high"),
  response_format: honoured({ type: "json_schema", json_schema: { name: "a", schema } }, { max_tokens: 40 }),
  safety_identifier: harmless("x"),
  service_tier: harmless("flex"),
  store: harmless(true),
  stream: seen("openai/handler_test.ts", "streamed"),
  stream_options: refusedWithin(".include_obfuscation", { include_obfuscation: true }, {
    include_usage: true,
  }),
  tool_choice: honoured("none", { tools: [tool] }),
  tools: honoured([tool]),
  top_logprobs: honoured(2, { logprobs: true }),
  user: harmless("somebody"),
  verbosity: harmless("low"),
  web_search_options: refused({}),
} satisfies RowsOf<OpenAI.ChatCompletionCreateParams>;

const inMessage = (base: object, fields: object, role: string) => ({
  ...base,
  messages: [question, { role, content: "I see.", ...fields }, question],
});

const ofAssistant = {
  role: needed,
  content: honoured("You see."),
  audio: refused({ id: "a" }),
  function_call: refused({ name: "f", arguments: "{}" }),
  name: harmless("Ann"),
  refusal: refused("I will not"),
  tool_calls: honoured([{ id: "a", type: "function", function: { name: "look", arguments: "{}" } }]),
} satisfies RowsOf<OpenAI.ChatCompletionAssistantMessageParam>;

const ofUser = {
  role: needed,
  content: honoured([{ type: "text", text: "You see." }]),
  name: harmless("Ann"),
} satisfies RowsOf<OpenAI.ChatCompletionUserMessageParam>;

const ofPart = {
  type: refused("image_url"),
  text: honoured("You see."),
  prompt_cache_breakpoint: harmless({ mode: "explicit" }),
} satisfies RowsOf<OpenAI.ChatCompletionContentPartText>;

const ofFunction = {
  name: honoured("see"),
  description: honoured("Sees."),
  parameters: honoured({ type: "object", properties: {} }),
  strict: seen(
    "reply_grammar_test.ts",
    "a reply that may call a strict tool is free text, until a call begins",
  ),
} satisfies RowsOf<OpenAI.FunctionDefinition>;

const path = "/v1/chat/completions";

export const chatTables: readonly Table[] = [
  { title: "a chat completion", path, base: chat, rows },
  {
    title: "an assistant's message",
    path,
    base: chat,
    rows: ofAssistant,
    put: (base, fields) => inMessage(base, fields, "assistant"),
    prefix: "messages.1.",
  },
  {
    title: "a user's message",
    path,
    base: chat,
    rows: ofUser,
    put: (base, fields) => inMessage(base, fields, "user"),
    prefix: "messages.1.",
  },
  {
    title: "a part of a message",
    path,
    base: chat,
    rows: ofPart,
    put: (base, fields) => ({
      ...base,
      messages: [{ ...question, content: [{ type: "text", text: "A", ...fields }] }],
    }),
    prefix: "messages.0.content.0.",
  },
  {
    title: "a function",
    path,
    base: chat,
    rows: ofFunction,
    put: (base, fields) => ({ ...base, tools: [{ ...tool, function: { ...tool.function, ...fields } }] }),
    prefix: "tools.0.function.",
  },
];
