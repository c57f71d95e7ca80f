/**
 * Calls of tools, as the clients of each API see them. minnow was not taught to call anything, so the
 * calls are begun for it: what it writes as arguments is the subject here, not whether it makes sense.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { type LanguageModel, load, openaiHandler } from "../../mod.ts";

let model: LanguageModel;
let openai: OpenAI;
let anthropic: Anthropic;

before(async () => {
  model = await load("minnow", { backend: "reference" });
  const handler = openaiHandler(model);
  const fetch = (input: string | URL | Request, init?: RequestInit) => handler(new Request(input, init));
  openai = new OpenAI({ baseURL: "http://localhost/v1", apiKey: "none", maxRetries: 0, fetch });
  anthropic = new Anthropic({ baseURL: "http://localhost", apiKey: "none", maxRetries: 0, fetch });
});
after(() => model.close());

const name = "get_weather";
const parameters = { type: "object", properties: { city: { type: "string" } } };
const question = { role: "user" as const, content: "What is the weather in Paris?" };
const tool = { type: "function" as const, function: { name, description: "Tells the weather.", parameters } };
const short = { model: "minnow", messages: [question], max_tokens: 8, temperature: 0 };
const forced = { tools: [tool], tool_choice: { type: "function" as const, function: { name } } };

test("a forced call has the tool's name, and its arguments are what the model wrote", async () => {
  const { choices: [{ message, finish_reason }] } = await openai.chat.completions.create({
    ...short,
    ...forced,
  });
  assert.equal(message.content, null);
  const [call] = message.tool_calls!;
  assert(call.type === "function");
  assert.match(call.id, /^call_/);
  assert.equal(call.function.name, name);
  assert(call.function.arguments.length > 0);
  assert.equal(finish_reason, "length");
});

test("a streamed call adds up to the whole one", async () => {
  const whole = await openai.chat.completions.create({ ...short, ...forced });
  const stream = openai.chat.completions.stream({ ...short, ...forced });
  const { choices: [{ message }] } = await stream.finalChatCompletion().catch(async () => {
    // The client refuses a call that ends early; its snapshot has what came.
    return await Promise.resolve(stream.currentChatCompletionSnapshot!);
  });
  const [call] = message.tool_calls!, [expected] = whole.choices[0].message.tool_calls!;
  assert(call.type === "function" && expected.type === "function");
  assert.equal(call.function!.name, name);
  assert.equal(call.function!.arguments, expected.function.arguments);
});

test("of the tools that the model is told of, only those that are allowed are called", async () => {
  const other = { ...tool, function: { ...tool.function, name: "get_time" } };
  const tools = [tool, other];
  for (const allowed of [name, "get_time"]) {
    const chosen = { type: "function" as const, function: { name: allowed } };
    const { choices: [{ message: { tool_calls: [call] = [] } }] } = await openai.chat.completions.create({
      ...short,
      max_tokens: 24,
      tools,
      tool_choice: { type: "allowed_tools", allowed_tools: { mode: "required", tools: [chosen] } },
    });
    assert(call.type === "function" && call.function.name === allowed);
    const { output, tool_choice } = await openai.responses.create({
      model: "minnow",
      input: question.content,
      max_output_tokens: 24,
      tools: tools.map((each) => ({ type: "function", strict: false, ...each.function })),
      tool_choice: { type: "allowed_tools", mode: "required", tools: [{ type: "function", name: allowed }] },
    });
    assert(output[0].type === "function_call" && output[0].name === allowed);
    assert.equal(typeof tool_choice === "object" && tool_choice.type, "allowed_tools");
  }
  const auto = { tools, toolChoice: { allowed: [name] } };
  assert.equal(model.renderChat([question], auto).text, model.renderChat([question], { tools }).text);
  assert.equal((await model.chat([question], { ...auto, maxTokens: 8 })).toolCalls.length, 0);
  for (const wrong of [{ allowed: ["get_place"] }, { allowed: [] }, { allowed: [name], mode: "always" }]) {
    const options = { tools, toolChoice: wrong as { allowed: string[] } };
    await assert.rejects(async () => await model.chat([question], options), { param: "tool_choice" });
  }
});

test("tools are told to the model, and tool_choice none takes them back", () => {
  const told = model.renderChat([question], { tools: [tool] }).text;
  assert(
    told.includes(name) && told.includes('{"type": "object", "properties": {"city": {"type": "string"}}}'),
  );
  assert.equal(
    model.renderChat([question], { tools: [tool], toolChoice: "none" }).text,
    model.renderChat([question]).text,
  );
});

test("a conversation with calls and results is replayed as the template writes it", () => {
  const call = { id: "c1", type: "function" as const, function: { name, arguments: '{"city":"Paris"}' } };
  const { text } = model.renderChat([
    question,
    { role: "assistant", content: "", toolCalls: [call] },
    { role: "tool", content: "sunny", toolCallId: "c1" },
  ]);
  const begins = "<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>";
  assert(text.includes(`${begins}${name}\n\`\`\`json\n{"city":"Paris"}\n\`\`\`<｜tool▁call▁end｜>`));
  assert(text.includes("<｜tool▁output▁begin｜>sunny<｜tool▁output▁end｜>"));
});

test("the parts of a reply name a call before they give its arguments", async () => {
  const reply = model.chat([question], {
    tools: [tool],
    toolChoice: "required",
    maxTokens: 8,
    temperature: 0,
  });
  for await (const part of reply) assert(part.type === "toolCall" || part.type === "text");
  const named = model.chat([question], { tools: [tool], toolChoice: { name }, maxTokens: 8, temperature: 0 });
  const parts = [];
  for await (const part of named) parts.push(part);
  assert(parts.every(({ type, call }) => type === "toolCall" && call!.name === name));
  assert.equal(parts[0].text, "");
  const { toolCalls: [call] } = await named;
  assert.equal(parts.map(({ text }) => text).join(""), call.function.arguments);
});

test("the responses API gives the call as an item, streamed and not", async () => {
  const { function: { name, description, parameters } } = tool;
  const asked = {
    model: "minnow",
    input: question.content,
    max_output_tokens: 8,
    temperature: 0,
    tools: [{ type: "function" as const, name, description, parameters, strict: false }],
    tool_choice: { type: "function" as const, name },
  };
  const { output: [item] } = await openai.responses.create(asked);
  assert(item.type === "function_call" && item.name === name);
  let json = "";
  for await (const event of await openai.responses.create({ ...asked, stream: true })) {
    if (event.type === "response.function_call_arguments.delta") json += event.delta;
    if (event.type === "response.function_call_arguments.done") assert.equal(event.arguments, json);
  }
  assert.equal(json, item.arguments);
});

test("the Anthropic API gives the call as a block, streamed and not", async () => {
  const asked = {
    model: "minnow",
    max_tokens: 8,
    temperature: 0,
    messages: [question],
    tools: [{
      name,
      description: tool.function.description,
      input_schema: { ...parameters, type: "object" as const },
    }],
    tool_choice: { type: "tool" as const, name },
  };
  const { content: [block] } = await anthropic.messages.create(asked);
  assert(block.type === "tool_use" && block.name === name);
  let json = "", blocks = 0;
  for await (const event of await anthropic.messages.create({ ...asked, stream: true })) {
    if (event.type === "content_block_start") blocks++;
    if (event.type === "content_block_delta" && event.delta.type === "input_json_delta") {
      json += event.delta.partial_json;
    }
  }
  assert.equal(blocks, 1);
  assert(json.length > 0);
  const history = [
    question,
    {
      role: "assistant" as const,
      content: [{ type: "tool_use" as const, id: "c", name, input: { city: "Paris" } }],
    },
    {
      role: "user" as const,
      content: [{ type: "tool_result" as const, tool_use_id: "c", content: "sunny" }],
    },
  ];
  const { usage } = await anthropic.messages.create({
    ...asked,
    messages: history,
    tool_choice: { type: "auto" },
  });
  assert(usage.output_tokens > 0);
});

test("a call that went out as an object comes back as the model wrote it", async () => {
  const tools = [{ name, input_schema: { ...parameters, type: "object" as const } }];
  const asked = {
    model: "minnow",
    max_tokens: 8,
    temperature: 0,
    messages: [question],
    tools,
    tool_choice: { type: "tool" as const, name },
  };
  const { content: [block] } = await anthropic.messages.create(asked);
  assert(block.type === "tool_use");
  const bare = [{ type: "function" as const, function: { name, parameters } }];
  const whole = await model.chat([question], {
    tools: bare,
    toolChoice: { name },
    maxTokens: 8,
    temperature: 0,
  });
  const [{ function: { arguments: json } }] = whole.toolCalls;
  assert.notEqual(JSON.stringify(block.input), json);
  const call = { id: block.id, type: "function" as const, function: { name, arguments: json } };
  const { tokens } = model.renderChat([
    question,
    { role: "assistant", content: null, toolCalls: [call] },
    { role: "tool", content: "sunny", toolCallId: block.id },
  ], { tools: bare });
  const { input_tokens } = await anthropic.messages.countTokens({
    model: "minnow",
    tools,
    messages: [
      question,
      { role: "assistant", content: [{ type: "tool_use", id: block.id, name, input: block.input }] },
      { role: "user", content: [{ type: "tool_result", tool_use_id: block.id, content: "sunny" }] },
    ],
  });
  assert.equal(input_tokens, tokens.length);
});

test("a tool whose name could be read as more than a name is refused", async () => {
  for (const bad of ["", "a b", "<｜tool▁sep｜>", "x".repeat(200)]) {
    const tools = [{ ...tool, function: { ...tool.function, name: bad } }];
    await assert.rejects(openai.chat.completions.create({ ...short, tools }), OpenAI.BadRequestError);
  }
});
