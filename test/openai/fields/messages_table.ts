/** The fields of the Anthropic API as its client types them, those of its beta too. */
import type Anthropic from "@anthropic-ai/sdk";
import { drawn, fixed, question, schema } from "./chat_table.ts";
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

const path = "/v1/messages";
const base = { messages: [question], temperature: 0, max_tokens: 5, seed: 1 };
const tool = { name: "look", description: "Looks.", input_schema: schema };
const ephemeral = { type: "ephemeral", ttl: "1h" };
const form = { type: "json_schema", schema };

/** Of a prompt, which a message and a count have in common. */
const prompt = {
  messages: needed,
  model: refusedWith(404, "nothing"),
  cache_control: harmless(ephemeral),
  system: honoured("Be kind."),
  thinking: honoured({ type: "enabled", budget_tokens: 1024 }),
  tool_choice: honoured({ type: "none" }, { tools: [tool] }),
  tools: honoured([tool]),
  speed: refused("fast", "standard"),
  user_profile_id: harmless("a"),
  workspace_id: harmless("a"),
  mcp_servers: refused([{ name: "a" }], []),
  context_management: refusedWithin(".edits.0.type", { edits: [{ type: "clear_tool_uses_20250919" }] }, {
    edits: [{ type: "clear_thinking_20251015", keep: "all" }],
  }),
  billing_policy: harmless("a"),
  compaction: refused({ type: "summarize" }),
  betas: harmless(["a"]),
} as const;

const form40 = { max_tokens: 40 };
const message = {
  ...prompt,
  max_tokens: needed,
  container: refused("a"),
  diagnostics: refusedWithin(".previous_message_id", { previous_message_id: "msg_1" }, {
    previous_message_id: null,
  }),
  inference_geo: refused("eu"),
  metadata: harmless({ user_id: "a" }),
  output_config: honoured({ format: form }, form40),
  output_format: honoured(form, form40),
  service_tier: harmless("standard_only"),
  stop_sequences: honoured(["d"], fixed),
  stream: seen("clients/anthropic_test.ts", "stream"),
  fallback_credit_token: harmless("a"),
  fallbacks: refused([{ model: "a" }], []),
  thread: refused({ id: "a" }),
} satisfies RowsOf<Anthropic.MessageCreateParams> & RowsOf<Anthropic.Beta.MessageCreateParams>;

/** As older clients type them. */
const older = {
  temperature: honoured(2, { max_tokens: 12 }),
  top_k: honoured(1, drawn),
  top_p: honoured(0.01, drawn),
};

const count = {
  ...prompt,
  output_config: harmless({ format: form, effort: "high" }),
  output_format: harmless(form),
} satisfies
  & RowsOf<Anthropic.MessageCountTokensParams>
  & RowsOf<Anthropic.Beta.Messages.MessageCountTokensParams>;

const ofMessage = {
  role: honoured("assistant"),
  content: honoured([{ type: "text", text: "You see." }]),
} satisfies RowsOf<Anthropic.MessageParam>;

const ofThinking = {
  type: honoured("disabled"),
  budget_tokens: honoured(1, { max_tokens: 12 }),
  display: honoured("omitted"),
  block_binding: refused({ on_mismatch: "drop" }, {}),
} satisfies RowsOf<Anthropic.Beta.Messages.BetaThinkingConfigEnabled>;

const ofConfig = {
  effort: honoured("low"),
  format: honoured(form, form40),
  task_budget: refused({ type: "tokens", total: 5 }),
} satisfies RowsOf<Anthropic.Beta.Messages.BetaOutputConfig>;

const ofTool = {
  name: honoured("see"),
  description: honoured("Sees."),
  input_schema: honoured({ type: "object", properties: {} }),
  type: refused("web_search_20250305", "custom"),
  strict: seen(
    "reply_grammar_test.ts",
    "a reply that may call a strict tool is free text, until a call begins",
  ),
  allowed_callers: refusedWithin(".0", ["code_execution_20250825"], ["direct"]),
  cache_control: harmless(ephemeral),
  defer_loading: refused(true, false),
  eager_input_streaming: harmless(true),
  input_examples: refused([{ city: "Oslo" }], []),
} satisfies RowsOf<Anthropic.Tool>;

const ofText = {
  type: refused("image"),
  text: honoured("See."),
  cache_control: harmless(ephemeral),
  citations: refused([{ type: "char_location" }], []),
} satisfies RowsOf<Anthropic.TextBlockParam>;

const ofThought = {
  type: refused("redacted_thinking"),
  thinking: seen("openai/fields/items_test.ts", "a thought that is sent back reaches the template"),
  signature: harmless("abc"),
} satisfies RowsOf<Anthropic.ThinkingBlockParam>;

const ofCall = {
  type: refused("server_tool_use"),
  id: needed,
  name: honoured("see"),
  input: honoured({ at: 1 }),
  cache_control: harmless(ephemeral),
  caller: refusedWithin(".type", { type: "code_execution_20250825" }, { type: "direct" }),
  toolset_name: refused("a"),
} satisfies RowsOf<Anthropic.ToolUseBlockParam>;

const ofResult = {
  type: refused("web_search_tool_result"),
  tool_use_id: needed,
  content: honoured([{ type: "text", text: "a bear" }]),
  is_error: honoured(true),
  cache_control: harmless(ephemeral),
  toolset_name: refused("a"),
} satisfies RowsOf<Anthropic.ToolResultBlockParam>;

const called = { role: "assistant", content: [{ type: "tool_use", id: "c1", name: "look", input: {} }] };
const thought = { type: "thinking", thinking: "I look.", signature: "" };
const blockIn =
  (at: number, talk: readonly { role: string; content: unknown }[], block: object) =>
  (body: object, fields: object) => ({
    ...body,
    messages: talk.map((one, i) => i === at ? { ...one, content: [{ ...block, ...fields }] } : one),
  });
const within = (name: string, others: object = {}) => (body: object, fields: object) => ({
  ...body,
  [name]: { ...others, ...fields },
});
const result = { type: "tool_result", tool_use_id: "c1", content: "a lamp" };
const talk = [question, called, { role: "user", content: [result] }];

export const messagesTables: readonly Table[] = [
  { title: "a message", path, base, rows: { ...message, ...older } },
  {
    title: "a count",
    path: `${path}/count_tokens`,
    base: { messages: [question] },
    rows: count,
    isWhole: true,
  },
  {
    title: "one of the messages",
    path,
    base,
    rows: ofMessage,
    put: (body, fields) => ({ ...body, messages: [question, { ...question, ...fields }] }),
    prefix: "messages.1.",
  },
  {
    title: "thinking",
    path,
    base,
    rows: ofThinking,
    put: within("thinking", { type: "enabled" }),
    prefix: "thinking.",
  },
  {
    title: "the form of an output",
    path,
    base,
    rows: ofConfig,
    put: within("output_config"),
    prefix: "output_config.",
  },
  {
    title: "a message's tool",
    path,
    base,
    rows: ofTool,
    put: (body, fields) => ({ ...body, tools: [{ ...tool, ...fields }] }),
    prefix: "tools.0.",
  },
  {
    title: "a text block",
    path,
    base,
    rows: ofText,
    put: blockIn(0, [question], { type: "text", text: "Look." }),
    prefix: "messages.0.content.0.",
  },
  {
    title: "a thinking block",
    path,
    base,
    rows: ofThought,
    put: blockIn(1, [question, { role: "assistant", content: "" }, question], thought),
    prefix: "messages.1.content.0.",
  },
  {
    title: "a call's block",
    path,
    base,
    rows: ofCall,
    put: blockIn(1, talk, called.content[0]),
    prefix: "messages.1.content.0.",
  },
  {
    title: "a result's block",
    path,
    base,
    rows: ofResult,
    put: blockIn(2, talk, result),
    prefix: "messages.2.content.0.",
  },
];
