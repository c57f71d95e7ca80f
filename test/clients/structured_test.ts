/** Replies of a form, as OpenAI's client asks for them: schemas of zod, and tools that are strict. */
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { apiKey, type ModelName, servedModels } from "./served.ts";

const at = servedModels(["minnow"]);
const clientOf = (name: ModelName) => new OpenAI({ baseURL: `${at(name).url}/v1`, apiKey, maxRetries: 0 });

/** Bounded, so that a model that makes no sense comes to an end. */
const Animal = z.object({
  name: z.string().max(8),
  legs: z.number().int().min(0).max(8),
  kind: z.enum(["cat", "dog", "bird"]),
  likes: z.array(z.enum(["fish", "milk"])).max(2),
  owner: z.union([z.object({ since: z.number().int().min(1990).max(2030) }), z.null()]),
});
const messages = [{ role: "user" as const, content: "Tell me about an animal." }];

test("a schema of zod is followed, whole and streamed", async () => {
  const client = clientOf("minnow");
  const response_format = zodResponseFormat(Animal, "animal");
  for (const temperature of [0, 1]) {
    const request = { model: "minnow", messages, response_format, temperature, seed: 5, max_tokens: 250 };
    const { choices: [{ message, finish_reason }] } = await client.chat.completions.parse(request);
    assert.equal(finish_reason, "stop");
    assert.deepEqual(Animal.parse(message.parsed), JSON.parse(message.content!));
    const streamed = await client.chat.completions.stream(request).finalChatCompletion();
    assert.equal(streamed.choices[0].message.content, message.content);
  }
  const text = { format: zodTextFormat(Animal, "animal") };
  const response = await client.responses.parse({
    model: "minnow",
    input: "Hi",
    text,
    temperature: 0,
    max_output_tokens: 250,
  });
  assert.deepEqual(response.output_parsed, Animal.parse(JSON.parse(response.output_text)));
});

test("arguments of a tool follow its parameters, one that is named and one that is chosen", async () => {
  const client = clientOf("minnow");
  const tools = [zodFunction({ name: "add_animal", parameters: Animal })];
  const named = { type: "function" as const, function: { name: "add_animal" } };
  for (const tool_choice of [named, "required" as const]) {
    const { choices: [{ message, finish_reason }] } = await client.chat.completions.parse({
      model: "minnow",
      messages,
      tools,
      tool_choice,
      parallel_tool_calls: false,
      max_tokens: 250,
      seed: 3,
    });
    assert.equal(finish_reason, "tool_calls");
    assert.equal(message.tool_calls!.length, 1);
    const [call] = message.tool_calls!;
    assert(call.type === "function");
    assert.equal(call.function.name, "add_animal");
    assert.deepEqual(call.function.parsed_arguments, Animal.parse(JSON.parse(call.function.arguments)));
  }
});

test("the other words for a form mean the same, and two of them are refused", async () => {
  const { url } = at("minnow");
  const ask = async (fields: object) => {
    const body = JSON.stringify({ messages, max_tokens: 60, seed: 2, ...fields });
    const headers = { authorization: `Bearer ${apiKey}` };
    const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", body, headers });
    return { status: response.status, json: await response.json() };
  };
  const schema = { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"] };
  const ofSchema = [
    { json_schema: schema },
    { guided_json: schema },
    { guided_json: JSON.stringify(schema) },
    { structured_outputs: { json: schema } },
    { response_format: { type: "json_object", schema } },
    { response_format: { type: "json_schema", schema } },
  ];
  for (const fields of ofSchema) {
    const { json } = await ask(fields);
    assert.equal(typeof JSON.parse(json.choices[0].message.content).ok, "boolean", JSON.stringify(fields));
  }
  const matching: [object, RegExp][] = [
    [{ guided_regex: "[ab]{4}" }, /^[ab]{4}$/],
    [{ structured_outputs: { regex: "x|y" } }, /^[xy]$/],
    [{ guided_choice: ["red", "green"] }, /^(red|green)$/],
    [{ grammar: 'root ::= "<" [a-z]{2,5} ">"' }, /^<[a-z]{2,5}>$/],
    [{ guided_grammar: 'root ::= "a" "b"+ "c"', max_tokens: 3 }, /^ab/],
  ];
  for (const [fields, expected] of matching) {
    assert.match((await ask(fields)).json.choices[0].message.content, expected);
  }
  const refused: [object, string][] = [
    [{ guided_regex: "a", grammar: "root ::= x" }, "guided_regex"],
    [{ guided_regex: "(?=a)b" }, "regex"],
    [{ grammar: "root ::= x" }, ""],
    [
      { response_format: { type: "json_schema", json_schema: { name: "x", schema: { not: { const: 1 } } } } },
      "json_schema",
    ],
    [{ structured_outputs: { structural_tag: "x" } }, "structured_outputs.structural_tag"],
  ];
  for (const [fields, param] of refused) {
    for (const stream of [false, true]) {
      const { status, json } = await ask({ ...fields, stream });
      assert.equal(status, 400, JSON.stringify(fields));
      assert.equal(json.error.param ?? "", param);
      assert.equal(json.error.type, "invalid_request_error");
    }
  }
});
