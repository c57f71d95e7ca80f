/** The fields of POST /v1/responses as the openai client types them. */
import type OpenAI from "openai";
import { drawn, question, schema } from "./chat_table.ts";
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

type R = OpenAI.Responses.ResponseCreateParams;
const path = "/v1/responses";
const base = { input: [question], temperature: 0, max_output_tokens: 5, seed: 1 };
const tool = { type: "function", name: "look", description: "Looks.", parameters: schema };

const rows = {
  access_programs: refused({ cyber: "standard" }),
  background: refused(true, false),
  context_management: refused([{ type: "compaction" }], []),
  conversation: refused("conv_1"),
  image: harmless({ context_compression: "auto" }),
  include: honoured(["message.output_text.logprobs"]),
  input: needed,
  instructions: honoured("Be kind."),
  max_output_tokens: honoured(2),
  max_tool_calls: harmless(1),
  metadata: honoured({ a: "b" }),
  model: refusedWith(404, "nothing"),
  moderation: refused({ model: "omni-moderation-latest" }),
  parallel_tool_calls: honoured(false),
  previous_response_id: refused("resp_1"),
  prompt: refused({ id: "a" }),
  prompt_cache_key: harmless("x"),
  prompt_cache_options: refusedWithin(".comparison_response_id", { comparison_response_id: "a" }, {
    ttl: "30m",
  }),
  prompt_cache_retention: harmless("24h"),
  reasoning: honoured({ effort: "high" }),
  safety_identifier: harmless("x"),
  service_tier: harmless("flex"),
  store: harmless(true),
  stream: seen("openai/responses_test.ts", "stream"),
  stream_options: refusedWithin(".include_obfuscation", { include_obfuscation: true }, {}),
  temperature: honoured(2),
  text: honoured({ format: { type: "json_schema", name: "a", schema } }, { max_output_tokens: 40 }),
  tool_choice: honoured("none", { tools: [tool] }),
  tools: honoured([tool]),
  top_logprobs: honoured(1),
  top_p: honoured(0.01, { temperature: drawn.temperature }),
  truncation: seen("openai/fields_test.ts", "a response that may be truncated forgets the oldest"),
  user: harmless("somebody"),
} satisfies RowsOf<R>;

const ofReasoning = {
  effort: honoured("high"),
  summary: refused("detailed", "auto"),
  generate_summary: refused("concise", "auto"),
  context: refused("all_turns", "auto"),
  mode: refused("pro", "standard"),
} satisfies RowsOf<OpenAI.Reasoning>;

const ofText = {
  format: honoured({ type: "json_schema", name: "a", schema }),
  verbosity: harmless("high"),
} satisfies RowsOf<OpenAI.Responses.ResponseTextConfig>;

const ofTool = {
  type: refused("web_search"),
  name: honoured("see"),
  description: honoured("Sees."),
  parameters: honoured({ type: "object", properties: {} }),
  strict: seen(
    "reply_grammar_test.ts",
    "a reply that may call a strict tool is free text, until a call begins",
  ),
  allowed_callers: refusedWithin(".0", ["programmatic"], ["direct"]),
  async: refused(true, false),
  defer_loading: refused(true, false),
  output_schema: refused({ type: "object" }),
} satisfies RowsOf<OpenAI.Responses.FunctionTool>;

const ofMessage = {
  type: refused("compaction"),
  role: honoured("assistant"),
  content: honoured([{ type: "input_text", text: "You see." }]),
  phase: harmless("commentary"),
} satisfies RowsOf<OpenAI.Responses.EasyInputMessage>;

const ofThought = {
  type: refused("item_reference"),
  id: harmless("rs_1"),
  summary: harmless([{ type: "summary_text", text: "I looked." }]),
  content: seen("openai/fields/items_test.ts", "a thought that is sent back reaches the template"),
  encrypted_content: seen("openai/fields/items_test.ts", "a thought that is sent back reaches the template"),
  status: harmless("completed"),
} satisfies RowsOf<OpenAI.Responses.ResponseReasoningItem>;

const ofCall = {
  type: refused("mcp_call"),
  id: harmless("fc_1"),
  status: harmless("completed"),
  call_id: needed,
  name: honoured("see"),
  arguments: honoured('{"at":1}'),
  async: refused(true, false),
  caller: refusedWithin(".type", { type: "program", caller_id: "a" }, { type: "direct" }),
  namespace: refused("a"),
} satisfies RowsOf<OpenAI.Responses.ResponseFunctionToolCall>;

const ofResult = {
  type: refused("shell_call_output"),
  id: harmless("fo_1"),
  status: harmless("completed"),
  call_id: needed,
  name: harmless("look"),
  output: honoured([{ type: "input_text", text: "a bear" }]),
  caller: refusedWithin(".type", { type: "program", caller_id: "a" }, { type: "direct" }),
  namespace: refused("a"),
} satisfies RowsOf<OpenAI.Responses.ResponseInputItem.FunctionCallOutput>;

const call = { type: "function_call", call_id: "c1", name: "look", arguments: "{}" };
const result = { type: "function_call_output", call_id: "c1", output: "a lamp" };

const within = (name: string) => (body: object, fields: object) => ({ ...body, [name]: fields });
const inInput = (at: number, items: readonly object[]) => (body: object, fields: object) => ({
  ...body,
  input: items.map((item, i) => i === at ? { ...item, ...fields } : item),
});

const talk = [question, call, result];
export const responsesTables: readonly Table[] = [
  { title: "a response", path, base, rows },
  { title: "reasoning", path, base, rows: ofReasoning, put: within("reasoning"), prefix: "reasoning." },
  {
    title: "text",
    path,
    base: { ...base, max_output_tokens: 40 },
    rows: ofText,
    put: within("text"),
    prefix: "text.",
  },
  {
    title: "a tool of a response",
    path,
    base,
    rows: ofTool,
    put: (body, fields) => ({ ...body, tools: [{ ...tool, ...fields }] }),
    prefix: "tools.0.",
  },
  { title: "a message item", path, base, rows: ofMessage, put: inInput(0, [question]), prefix: "input.0." },
  {
    title: "a reasoning item",
    path,
    base,
    rows: ofThought,
    put: inInput(0, [{ type: "reasoning", id: "rs", summary: [] }, question]),
    prefix: "input.0.",
  },
  { title: "a call item", path, base, rows: ofCall, put: inInput(1, talk), prefix: "input.1." },
  { title: "a result item", path, base, rows: ofResult, put: inInput(2, talk), prefix: "input.2." },
];
