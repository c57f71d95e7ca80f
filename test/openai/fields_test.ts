/** Fields that other servers know: honoured, or refused by name. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type Handler, type LanguageModel, load, openaiHandler } from "../../mod.ts";
import { servedModels } from "../clients/served.ts";

let model: LanguageModel;
let handler: Handler;
before(async () => {
  model = await load("minnow");
  handler = openaiHandler(model);
});
after(() => model.close());

const messages = [{ role: "user", content: "What is a bear?" }];
const short = { messages, temperature: 0, max_tokens: 4 };

async function post(
  path: string,
  body: object,
  to: Handler = handler,
  // deno-lint-ignore no-explicit-any
): Promise<{ status: number; json: any }> {
  const response = await to(
    new Request(`http://localhost${path}`, { method: "POST", body: JSON.stringify(body) }),
  );
  return { status: response.status, json: await response.json() };
}

test("fields that would change the answer are refused by name while they are not supported", async () => {
  const wrong: Record<string, unknown> = {
    audio: { voice: "a" },
    functions: [{ name: "f" }],
    truncate_prompt_tokens: 5,
    mirostat: 2,
    dry_multiplier: 1,
    xtc_probability: 0.5,
    reasoning_format: "none",
    moderation: { model: "x" },
    chat_template: "{{ messages }}",
    documents: [{ text: "x" }],
    include_stop_str_in_output: true,
    skip_special_tokens: false,
    tfs_z: 0.5,
    logits_processors: ["x"],
    guided_whitespace_pattern: " ",
    stop_regex: ["x"],
    return_tokens_as_token_ids: true,
    samplers: ["top_k"],
    adaptive_target: 0.5,
    t_max_predict_ms: 100,
    n_probs: 3,
    return_token_ids: true,
    return_progress: true,
    response_fields: ["content"],
    vllm_xargs: { a: 1 },
    separate_reasoning: false,
    parse_tool_calls: false,
    echo: true,
    add_special_tokens: true,
  };
  for (const [field, value] of Object.entries(wrong)) {
    const { status, json } = await post("/v1/chat/completions", { ...short, [field]: value });
    assert.equal(status, 400, field);
    assert.equal(json.error.param, field);
  }
});

test("a field inside of another is refused by both their names", async () => {
  const wrong: readonly (readonly [field: string, value: object, param: string])[] = [
    ["stream_options", { continuous_usage_stats: true }, "stream_options.continuous_usage_stats"],
    ["reasoning", { summary: "detailed" }, "reasoning.summary"],
    ["messages", [{ role: "assistant", content: "Hi", audio: { id: "a" } }, ...messages], "messages.0.audio"],
  ];
  for (const [field, value, param] of wrong) {
    const { status, json } = await post("/v1/chat/completions", { ...short, [field]: value });
    assert.equal(status, 400, param);
    assert.equal(json.error.param, param);
  }
  const embedded = { input: "a", normalize: false };
  assert.equal((await post("/v1/embeddings", embedded)).json.error.param, "normalize");
  const bare = { prompt: "a", add_special_tokens: false };
  assert.equal((await post("/v1/completions", bare)).json.error.param, "add_special_tokens");
});

test("a field at fault is called what the endpoint calls it", async () => {
  const long = "a ".repeat(3000);
  const wrong: readonly (readonly [path: string, body: object, param: string])[] = [
    ["/v1/embeddings", { input: long }, "input"],
    ["/v1/responses", { input: long }, "input"],
    ["/v1/responses", { input: "a", max_output_tokens: 0 }, "max_output_tokens"],
    ["/v1/chat/completions", { messages: [{ role: "user", content: long }] }, "messages"],
    ["/v1/chat/completions", { messages: [{ role: "user", content: long }], stream: true }, "messages"],
    ["/v1/completions", { prompt: long }, "prompt"],
  ];
  for (const [path, body, param] of wrong) {
    const { status, json } = await post(path, body);
    assert.equal(status, 400, path);
    assert.equal(json.error.param, param, path);
  }
  assert.equal((await post("/v1/messages/nothing", {})).json.type, "error");
});

test("penalties of the last tokens alone are refused, and passed over where there is no penalty", async () => {
  const asked = { ...short, repeat_last_n: 64 };
  for (const penalty of [{ repeat_penalty: 1.1 }, { presence_penalty: 0.5 }, { frequency_penalty: 1 }]) {
    const { status, json } = await post("/v1/chat/completions", { ...asked, ...penalty });
    assert.equal(status, 400);
    assert.equal(json.error.param, "repeat_last_n");
    const all = { ...asked, ...penalty, repeat_last_n: -1 };
    assert.equal((await post("/v1/chat/completions", all)).status, 200);
  }
  assert.equal((await post("/v1/chat/completions", { ...asked, repeat_penalty: 1 })).status, 200);
});

test("words that may not come are left out of replies, and the tokens that may are the only ones", async () => {
  const drawn = { ...short, max_tokens: 40 };
  const said = async (fields: object) => {
    const { status, json } = await post("/v1/chat/completions", { ...drawn, ...fields });
    assert.equal(status, 200, JSON.stringify(json));
    return json.choices[0].message.content as string;
  };
  const plain = await said({});
  const words = [...new Set(plain.match(/\p{L}{3,}/gu))].slice(0, 4);
  assert.ok(words.length > 1, plain);
  const without = await said({ bad_words: words });
  for (const word of words) assert.ok(!without.split(/\P{L}+/u).includes(word), `${word}: ${without}`);
  assert.equal(await said({ bad_words: [] }), plain);
  const ids = [...model.tokenizer.encode(" bear bears")];
  const { json } = await post("/v1/completions", {
    prompt: "A bear",
    max_tokens: 20,
    temperature: 2,
    logprobs: 0,
    allowed_token_ids: ids,
  });
  const [{ logprobs, finish_reason }] = json.choices;
  assert.equal(finish_reason, "length");
  const allowed = ids.map((id) => model.tokenizer.tokenText(id));
  assert.ok(logprobs.tokens.every((token: string) => allowed.includes(token)), logprobs.tokens.join());
  for (
    const [field, value] of [["allowed_token_ids", []], ["allowed_token_ids", [1e6]], ["bad_words", [""]]]
  ) {
    const { status, json } = await post("/v1/chat/completions", { ...short, [field as string]: value });
    assert.deepEqual([status, json.error?.param], [400, field]);
  }
});

test("tokens that stay when the context is shifted are counted by llama-server's word, too", async () => {
  const prompt = "Once upon a time there was a fox. ".repeat(200);
  const asked = { prompt, max_tokens: 1, temperature: 0, logprobs: 0, context_overflow: "shift" };
  const one = await post("/v1/completions", { ...asked, n_keep: 9 });
  const same = await post("/v1/completions", { ...asked, keep_tokens: 9 });
  assert.equal(one.status, 200);
  assert.deepEqual(one.json.choices, same.json.choices);
  assert.equal((await post("/v1/chat/completions", { ...short, n_keep: 0 })).status, 200);
});

test("the same fields pass where they ask for nothing, and unknown ones are ignored", async () => {
  const harmless = {
    bad_words: [],
    mirostat: 0,
    dry_multiplier: 0,
    reasoning_format: "auto",
    reasoning_budget: -1,
    include_stop_str_in_output: false,
    samplers: null,
    n_probs: 0,
    min_keep: 0,
    echo: false,
    stream_options: { continuous_usage_stats: false },
    skip_special_tokens: true,
    store: true,
    user: "somebody",
    service_tier: "auto",
    prompt_cache_key: "x",
    verbosity: "low",
    anything: { at: ["all"] },
  };
  assert.equal((await post("/v1/chat/completions", { ...short, ...harmless })).status, 200);
});

test("a response that may be truncated forgets the oldest of what is too long", async () => {
  const turn = (role: string) => ({ role, content: "Tell me of the bear. ".repeat(30) });
  const input = [...Array.from({ length: 12 }, (_, i) => turn(i % 2 ? "assistant" : "user")), turn("user")];
  const asked = { input, max_output_tokens: 2, temperature: 0 };
  const refused = await post("/v1/responses", asked);
  assert.equal(refused.json.error.code, "context_length_exceeded");
  const { status, json } = await post("/v1/responses", { ...asked, truncation: "auto" });
  assert.equal(status, 200);
  assert.ok(json.usage.input_tokens < model.info.contextLength);
});

test("the number of tokens and a form of the reply are honoured by the words of other servers", async () => {
  const three = await post("/v1/chat/completions", {
    messages,
    temperature: 0,
    ignore_eos: true,
    n_predict: 3,
  });
  assert.equal(three.json.usage.completion_tokens, 3);
  const { json } = await post("/v1/completions", { prompt: "Yes or no?", n_predict: -1, regex: "yes|no" });
  assert.match(json.choices[0].text, /^(yes|no)$/);
  const { status } = await post("/v1/completions", { prompt: "a", n_predict: -2 });
  assert.equal(status, 400);
  const other = await post("/v1/chat/completions", { ...short, ebnf: 'root ::= "a" | "b"' });
  assert.match(other.json.choices[0].message.content, /^[ab]$/);
  const format = { type: "json_schema", schema: { const: 1 } };
  const { json: { content } } = await post("/v1/messages", {
    messages,
    max_tokens: 4,
    output_format: format,
  });
  assert.equal(content[0].text, "1");
});

test("a repetition penalty and stop tokens are honoured by the names of other servers", async () => {
  const one = await post("/v1/chat/completions", { ...short, repeat_penalty: 50, max_tokens: 12 });
  const same = await post("/v1/chat/completions", { ...short, repetition_penalty: 50, max_tokens: 12 });
  const plain = await post("/v1/chat/completions", { ...short, max_tokens: 12 });
  assert.equal(one.json.choices[0].message.content, same.json.choices[0].message.content);
  assert.notEqual(one.json.choices[0].message.content, plain.json.choices[0].message.content);
  const { tokens } = await model.chat([{ role: "user", content: "What is a bear?" }], {
    temperature: 0,
    maxTokens: 4,
  });
  const stopped = await post("/v1/chat/completions", { ...short, stop_token_ids: [tokens[2]] });
  assert.equal(stopped.json.choices[0].finish_reason, "stop");
  assert.equal(stopped.json.usage.completion_tokens, tokens.indexOf(tokens[2]));
});

test("a salt parts what the cache knows of one key's prompts", async () => {
  const prompt = "A tale that nobody else asks this server for, of one lamp and of a fox. ".repeat(4);
  const cached = async (cache_salt: string) => {
    const { json } = await post("/v1/completions", { prompt, max_tokens: 1, temperature: 0, cache_salt });
    return json.usage.prompt_tokens_details.cached_tokens;
  };
  assert.equal(await cached("a"), 0);
  assert.ok(await cached("a") > 0);
  assert.equal(await cached("b"), 0);
});

test("a prompt can be looked at with its tools, and as one that is continued", async () => {
  const tools = [{ type: "function", function: { name: "look", parameters: { type: "object" } } }];
  const { json: { prompt } } = await post("/apply-template", { messages, tools });
  assert.ok(prompt.includes("### look\n"));
  const begun = [...messages, { role: "assistant", content: "A bear is", prefix: true }];
  assert.ok((await post("/apply-template", { messages: begun })).json.prompt.endsWith("A bear is"));
  const { json } = await post("/tokenize", { messages, tools });
  const chat = await post("/v1/chat/completions", { ...short, tools });
  assert.equal(json.count, chat.json.usage.prompt_tokens);
});

test("a variable of the template may have any name, and is refused where the template does not know it", async () => {
  for (const name of ["(", "", "[", "a.b", "\\"]) {
    const { status } = await post("/v1/chat/completions", {
      ...short,
      messages,
      chat_template_kwargs: { [name]: 1 },
    });
    assert.ok(status === 200 || status === 400, `${JSON.stringify(name)}: ${status}`);
  }
});

const served = servedModels(["thinker"]);

test("what a model thinks is left out where it is not wanted, and still counted", async () => {
  const to = openaiHandler(served("thinker").model);
  const asked = { messages, temperature: 0, max_tokens: 6, ignore_eos: true };
  const shown = await post("/v1/chat/completions", asked, to);
  const hidden = await post("/v1/chat/completions", { ...asked, include_reasoning: false }, to);
  assert.ok(shown.json.choices[0].message.reasoning_content.length > 0);
  assert.ok(!("reasoning_content" in hidden.json.choices[0].message));
  const nested = await post("/v1/chat/completions", { ...asked, reasoning: { exclude: true } }, to);
  assert.deepEqual(nested.json.choices[0].message, hidden.json.choices[0].message);
  assert.equal(hidden.json.usage.completion_tokens_details.reasoning_tokens, 6);
  const logprobs = { logprobs: true, include_reasoning: false };
  const spelled = await post("/v1/chat/completions", { ...asked, ...logprobs }, to);
  assert.deepEqual(spelled.json.choices[0].logprobs.content, [], "log-probabilities would spell them");
  const request = {
    method: "POST",
    body: JSON.stringify({ ...asked, include_reasoning: false, stream: true }),
  };
  const stream = await (await to(new Request("http://localhost/v1/chat/completions", request))).text();
  assert.ok(!stream.includes("reasoning_content") && stream.includes("[DONE]"));
});
