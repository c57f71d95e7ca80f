/** OpenAI's official client against the running server, with each of the models. */
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { type ClientOptions } from "openai";
import { zodFunction, zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import {
  Animal,
  apiKey,
  enders,
  type ModelName,
  modelNames,
  servedModels,
  serveModel,
  untilIdle,
} from "./served.ts";

const at = servedModels();
const clientOf = (name: ModelName, options: { maxRetries?: number; fetch?: ClientOptions["fetch"] } = {}) =>
  new OpenAI({ baseURL: `${at(name).url}/v1`, apiKey, maxRetries: 0, ...options });

const question = { role: "user" as const, content: "Tell me a story about a fish." };
const shortOf = (model: ModelName) => ({ model, messages: [question], max_tokens: 16, temperature: 0 });
const get_weather = {
  type: "function" as const,
  function: {
    name: "get_weather",
    description: "Tells the weather.",
    parameters: { type: "object", properties: { city: { type: "string" } } },
  },
};
const forced = {
  tools: [get_weather],
  tool_choice: { type: "function" as const, function: { name: "get_weather" } },
};

/** What DeepSeek's API adds to a message, and to a piece of one. */
interface Reasoned {
  readonly reasoning_content?: string;
}

for (const name of modelNames) {
  test(`${name}: a stream adds up to the whole reply, thoughts and usage too`, async () => {
    const client = clientOf(name);
    const whole = await client.chat.completions.create(shortOf(name));
    const { message, finish_reason } = whole.choices[0];
    let content = "", reasoning = "", reason: string | null = null, usage: unknown;
    const stream = await client.chat.completions.create({
      ...shortOf(name),
      stream: true,
      stream_options: { include_usage: true },
    });
    for await (const chunk of stream) {
      const delta = chunk.choices[0]?.delta as
        | (OpenAI.ChatCompletionChunk.Choice.Delta & Reasoned)
        | undefined;
      content += delta?.content ?? "";
      reasoning += delta?.reasoning_content ?? "";
      reason = chunk.choices[0]?.finish_reason ?? reason;
      usage = chunk.usage ?? usage;
    }
    assert.equal(content, message.content);
    assert.equal(reasoning, (message as Reasoned).reasoning_content ?? "");
    assert.equal(reasoning !== "", name === "thinker");
    assert.equal(reason, finish_reason);
    const cachedLater = {
      ...whole.usage,
      prompt_tokens_details: (usage as OpenAI.CompletionUsage).prompt_tokens_details,
    };
    assert.deepEqual(usage, cachedLater);
    assert.equal(whole.usage!.completion_tokens, 16);
  });

  test(`${name}: the client's own stream helper puts the same reply together`, async () => {
    const client = clientOf(name);
    const whole = await client.chat.completions.create(shortOf(name));
    const stream = client.chat.completions.stream(shortOf(name));
    let text = "";
    stream.on("content", (delta) => text += delta);
    const { choices: [choice] } = await stream.finalChatCompletion().catch((error) => {
      // The helper refuses a reply that its limit cut; what it has gathered is there all the same.
      assert.match(error.message, /length limit/);
      return stream.currentChatCompletionSnapshot!;
    });
    assert.equal(choice.message.content, whole.choices[0].message.content);
    assert.equal(text, whole.choices[0].message.content);
  });

  test(`${name}: a forced call has a name and an id, and its deltas add up`, async () => {
    const client = clientOf(name);
    const whole = await client.chat.completions.create({ ...shortOf(name), ...forced });
    const [call] = whole.choices[0].message.tool_calls!;
    assert(call.type === "function" && call.function.name === "get_weather" && call.id !== "");
    const stream = await client.chat.completions.create({ ...shortOf(name), ...forced, stream: true });
    let json = "", named = "";
    for await (const { choices: [{ delta }] } of stream) {
      for (const piece of delta.tool_calls ?? []) {
        assert.equal(piece.index, 0);
        named += piece.function?.name ?? "";
        json += piece.function?.arguments ?? "";
      }
    }
    assert.equal(named, "get_weather");
    assert.equal(json, call.function.arguments);
    const { usage } = await client.chat.completions.create({
      ...shortOf(name),
      max_tokens: 2,
      tools: [get_weather],
      messages: [
        question,
        { role: "assistant", content: null, tool_calls: [call] },
        { role: "tool", tool_call_id: call.id, content: "sunny" },
      ],
    });
    assert(usage!.prompt_tokens > whole.usage!.prompt_tokens, "the call and its result are in the prompt");
  });

  test(`${name}: each token comes with its log-probability, bytes and the likeliest others`, async () => {
    const asked = { ...shortOf(name), logprobs: true, top_logprobs: 4 };
    const { choices: [{ logprobs, message }], usage } = await clientOf(name).chat.completions.create(asked);
    const content = logprobs!.content!;
    assert.equal(content.length, usage!.completion_tokens);
    for (const { logprob, top_logprobs } of content) {
      assert.equal(top_logprobs.length, 4);
      assert.equal(top_logprobs[0].logprob, logprob, "greedy takes the likeliest");
      const mass = top_logprobs.reduce((sum, { logprob }) => sum + Math.exp(logprob), 0);
      assert(mass > 0 && mass < 1 + 1e-6);
    }
    const bytes = new Uint8Array(content.flatMap(({ bytes }) => bytes!));
    // Of a thought the white space around it is not told, and of nothing the control tokens.
    const whole = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes).replaceAll(/<｜[^｜]+｜>/g, "");
    const { content: text, reasoning_content: thought = "" } = message as typeof message & Reasoned;
    assert.equal(whole.trim(), (thought + text).replaceAll(/<｜[^｜]+｜>/g, "").trim());
  });

  test(`${name}: embeddings are the model's own, of texts and of token ids, in either encoding`, async () => {
    const client = clientOf(name), { model } = at(name);
    const texts = ["a fox and a lamp", "the sea"];
    const own = (await model.embed(texts)).map((vector) => [...vector]);
    const given = async (input: string[] | number[][], encoding_format?: "float" | "base64") => {
      const { data } = await client.embeddings.create({ model: name, input, encoding_format });
      return data.map(({ embedding }) => embedding as number[] | string);
    };
    assert.deepEqual(await given(texts, "float"), own);
    assert.deepEqual(await given(texts), own, "the client asks for base64 by itself and decodes it");
    const ids = texts.map((text) => Array.from(model.promptTokens(text)));
    assert.deepEqual(await given(ids, "float"), own);
    for (const [i, base64] of (await given(texts, "base64")).entries()) {
      const bytes = Uint8Array.from(atob(base64 as string), (char) => char.charCodeAt(0));
      assert.deepEqual([...new Float32Array(bytes.buffer)], own[i]);
    }
  });

  test(`${name}: a response says what a chat says, whole, streamed and put together`, async () => {
    const client = clientOf(name);
    const { choices: [{ message }] } = await client.chat.completions.create(shortOf(name));
    const asked = { model: name, input: question.content, max_output_tokens: 16, temperature: 0 };
    const whole = await client.responses.create(asked);
    assert.equal(whole.output_text, message.content);
    assert.equal(whole.status, "incomplete");
    assert.equal(whole.incomplete_details?.reason, "max_output_tokens");
    assert.deepEqual(
      whole.output.map(({ type }) => type),
      name === "thinker" ? ["reasoning", "message"] : ["message"],
    );
    let text = "", last = -1;
    for await (const event of await client.responses.create({ ...asked, stream: true })) {
      assert.equal(event.sequence_number, ++last);
      if (event.type === "response.output_text.delta") text += event.delta;
    }
    assert.equal(text, whole.output_text);
    const final = await client.responses.stream(asked).finalResponse();
    assert.equal(final.output_text, whole.output_text);
    assert.deepEqual(final.output.map(({ type }) => type), whole.output.map(({ type }) => type));
  });

  test(`${name}: a conversation goes on from the items of a response`, async () => {
    const client = clientOf(name);
    const asked = { model: name, max_output_tokens: 8, temperature: 0, instructions: "Be brief." };
    const input: OpenAI.Responses.ResponseInput = [question];
    const first = await client.responses.create({ ...asked, input });
    const { usage } = await client.responses.create({
      ...asked,
      // What came is sent back as it is; the client's types do not foresee it of all kinds of items.
      input: [...input, ...first.output as OpenAI.Responses.ResponseInput, {
        role: "user",
        content: "And then?",
      }],
    });
    assert(usage!.input_tokens > first.usage!.input_tokens + 4);
  });
}

for (const name of enders) {
  test(`${name}: a reply is held to a schema, whole, streamed, as a response and in a call`, async () => {
    const client = clientOf(name);
    const asked = { ...shortOf(name), max_tokens: 200, response_format: zodResponseFormat(Animal, "animal") };
    const { choices: [{ message, finish_reason }] } = await client.chat.completions.parse(asked);
    assert.deepEqual(Animal.parse(message.parsed), message.parsed);
    assert.equal(finish_reason, "stop");
    const streamed = await client.chat.completions.stream(asked).finalChatCompletion();
    assert.deepEqual(streamed.choices[0].message.parsed, message.parsed);
    const { output_parsed } = await client.responses.parse({
      model: name,
      input: question.content,
      temperature: 0,
      max_output_tokens: 200,
      text: { format: zodTextFormat(Animal, "animal") },
    });
    assert.deepEqual(output_parsed, message.parsed);
    const called = await client.chat.completions.parse({
      ...shortOf(name),
      max_tokens: 200,
      tools: [zodFunction({ name: "draw", parameters: Animal })],
      tool_choice: { type: "function", function: { name: "draw" } },
    });
    const [call] = called.choices[0].message.tool_calls!;
    assert(call.type === "function");
    Animal.parse(call.function.parsed_arguments);
    assert.equal(called.choices[0].finish_reason, "tool_calls");
    const object = await client.chat.completions.create({
      ...shortOf(name),
      max_tokens: 400,
      response_format: { type: "json_object" },
    });
    // Nothing bounds what the object says, so its end may be cut off.
    const [{ message: { content }, finish_reason: reason }] = object.choices;
    assert(reason === "length" || typeof JSON.parse(content!) === "object");
    assert.match(content!.trimStart(), /^($|\{)/);
  });
}

/** A fetch that counts, for what the client does on its own. */
function countingFetch() {
  let count = 0;
  const counted: NonNullable<ClientOptions["fetch"]> = (input, init) => {
    count++;
    return fetch(input, init);
  };
  return { fetch: counted, count: () => count };
}

test("what can never succeed is asked once, and names the field at fault", async () => {
  const { fetch, count } = countingFetch();
  const client = clientOf("minnow", { maxRetries: 2, fetch });
  const short = shortOf("minnow");
  const wrong: [object, string | null][] = [
    [{ temperature: 9 }, "temperature"],
    [{ max_tokens: 0 }, "max_tokens"],
    [{ messages: [] }, "messages"],
    [{ messages: [{ role: "wizard", content: "" }] }, "messages.0.role"],
    [{ top_logprobs: 2 }, "top_logprobs"],
    [{ stop: "" }, "stop"],
    [{ tools: [get_weather], tool_choice: { type: "function", function: { name: "no" } } }, "tool_choice"],
  ];
  for (const [fields, param] of wrong) {
    await assert.rejects(client.chat.completions.create({ ...short, ...fields }), (error) => {
      assert(error instanceof OpenAI.BadRequestError, String(error));
      assert.equal(error.type, "invalid_request_error");
      assert.equal(error.param, param);
      assert.match(error.requestID ?? "", /^req_/);
      return true;
    });
  }
  await assert.rejects(client.models.retrieve("other"), OpenAI.NotFoundError);
  await assert.rejects(client.post("/nothing/here"), OpenAI.NotFoundError);
  assert.equal(count(), wrong.length + 2);
});

test("a server that is busy is asked again when it says", async () => {
  const { model, url, close } = await serveModel("v2lite");
  await model.close(); // it is told as a full queue is
  const { fetch, count } = countingFetch();
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 1, fetch });
  await assert.rejects(client.chat.completions.create(shortOf("v2lite")), (error) => {
    assert(error instanceof OpenAI.InternalServerError);
    assert.equal(error.status, 503);
    assert.equal(error.headers.get("retry-after-ms"), "1000");
    return true;
  });
  assert.equal(count(), 2);
  await close();
});

test("a field that says nothing about the reply, or is not known, is passed over", async () => {
  const unknown = {
    store: true,
    metadata: { a: "b" },
    user: "u",
    service_tier: "auto",
    verbosity: "low",
    x: 1,
  };
  const asked = { ...shortOf("minnow"), ...unknown } as OpenAI.ChatCompletionCreateParamsNonStreaming;
  assert.equal((await clientOf("minnow").chat.completions.create(asked)).choices.length, 1);
});

test("a client that leaves a stream or aborts a call frees its place", async () => {
  const client = clientOf("v2lite");
  const endless = { ...shortOf("v2lite"), max_tokens: 1000, ignore_eos: true };
  for await (const _ of await client.chat.completions.create({ ...endless, stream: true })) break;
  await untilIdle(at("v2lite").model);
  const gone = new AbortController();
  const reply = client.chat.completions.create(endless, { signal: gone.signal });
  gone.abort();
  await assert.rejects(reply, OpenAI.APIUserAbortError);
  await untilIdle(at("v2lite").model);
});
