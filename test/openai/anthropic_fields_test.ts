/** Fields of the Anthropic API that change the prompt or the reply: honoured, or refused by name. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { type Handler, type LanguageModel, load, openaiHandler } from "../../mod.ts";
import { messageEvent } from "../../src/openai/answers_anthropic.ts";
import { writeDialect } from "../dialect_folder.ts";

/** A template that thinks or not, as it is told; and one that always thinks. */
const kinds = ["v31", "r1_0528"] as const;
type Kind = typeof kinds[number];
const models = new Map<Kind, { readonly model: LanguageModel; readonly handler: Handler }>();
const folder = mkdtempSync(join(tmpdir(), "hadal-anthropic-"));

before(async () => {
  for (const kind of kinds) {
    const model = await load(writeDialect(folder, kind), { backend: "reference" });
    models.set(kind, { model, handler: openaiHandler(model) });
  }
});
after(async () => {
  for (const { model } of models.values()) await model.close();
  rmSync(folder, { recursive: true });
});

const question = { role: "user" as const, content: "Look." };
const messages = [question];
const short = { messages, max_tokens: 3, temperature: 0 };

// deno-lint-ignore no-explicit-any
async function post(kind: Kind, path: string, body: object): Promise<{ status: number; json: any }> {
  const request = new Request(`http://localhost${path}`, { method: "POST", body: JSON.stringify(body) });
  const response = await models.get(kind)!.handler(request);
  return { status: response.status, json: await response.json() };
}

test("a thought is turned on and off where the template knows how, and refused where it does not", async () => {
  const blockOf = async (kind: Kind, type: string) => {
    const { json } = await post(kind, "/v1/messages", { ...short, thinking: { type, budget_tokens: 1024 } });
    return json.content?.[0].type ?? json.error.message;
  };
  assert.equal(await blockOf("v31", "enabled"), "thinking");
  assert.equal(await blockOf("v31", "disabled"), "text");
  assert.equal(await blockOf("r1_0528", "enabled"), "text", "a random network opens no thought");
  assert.match(await blockOf("r1_0528", "disabled"), /^Cannot turn thinking on or off/);
});

test("what is counted is what a message then bills, with tools, thoughts and forms", async () => {
  const tools = [{ name: "look", description: "Looks.", input_schema: { type: "object", properties: {} } }];
  const talk = [
    ...messages,
    {
      role: "assistant",
      content: [
        { type: "thinking", thinking: "I look.", signature: "" },
        { type: "text", text: "Yes." },
        { type: "tool_use", id: "a", name: "look", input: { at: [1, 2] } },
      ],
    },
    { role: "user", content: [{ type: "tool_result", tool_use_id: "a", content: "a lamp" }] },
  ];
  const asked: readonly object[] = [
    {},
    { system: [{ type: "text", text: "Be kind." }, { type: "text", text: "Be short." }] },
    { tools },
    { tools, tool_choice: { type: "none" } },
    { tools, tool_choice: { type: "tool", name: "look" } },
    { tools, messages: talk },
    { messages: [...messages, { role: "assistant", content: "I see" }] },
    { thinking: { type: "enabled", budget_tokens: 1024 } },
    { output_config: { format: { type: "json_schema", schema: { const: 1 } }, effort: "high" } },
  ];
  for (const kind of kinds) {
    for (const fields of asked) {
      const { json: { input_tokens: counted } } = await post(kind, "/v1/messages/count_tokens", {
        messages,
        ...fields,
      });
      const { json: { usage }, status } = await post(kind, "/v1/messages", { ...short, ...fields });
      assert.equal(status, 200, JSON.stringify(fields));
      assert.equal(usage.input_tokens + usage.cache_read_input_tokens, counted, JSON.stringify(fields));
    }
  }
});

test("a thought that is left out comes in its signature, and back with it", async () => {
  const thinking = { type: "enabled" as const, budget_tokens: 1024 };
  const shown = await post("v31", "/v1/messages", { ...short, max_tokens: 9, thinking });
  const [{ thinking: thought }] = shown.json.content;
  const asked = { ...short, max_tokens: 9, thinking: { ...thinking, display: "omitted" as const } };
  const { json } = await post("v31", "/v1/messages", asked);
  const [omitted] = json.content;
  assert.equal(omitted.thinking, "");
  assert.deepEqual(json.usage.output_tokens, shown.json.usage.output_tokens);

  const fetch = (url: string | URL | Request, init?: RequestInit) =>
    models.get("v31")!.handler(new Request(url, init));
  const client = new Anthropic({ baseURL: "http://localhost", apiKey: "none", maxRetries: 0, fetch });
  const deltas: string[] = [];
  const stream = client.messages.stream({ ...asked, model: "v31", messages: [question] });
  stream.on("streamEvent", (event) => {
    messageEvent.parse(event);
    if (event.type === "content_block_delta") deltas.push(event.delta.type);
  });
  const { content: [block] } = await stream.finalMessage();
  assert.deepEqual(block, omitted);
  assert.deepEqual(deltas.filter((type) => type !== "text_delta"), ["signature_delta"]);

  // A message that ends with the assistant's is continued, and begins with its thought.
  const promptOf = async (block: object) => {
    const talk = [question, { role: "assistant", content: [block, { type: "text", text: "Yes" }] }];
    return (await post("v31", "/v1/messages/count_tokens", { messages: talk })).json.input_tokens;
  };
  const told = await promptOf({ type: "thinking", thinking: thought, signature: "" });
  assert.equal(await promptOf(omitted), told);
  const foreign = await promptOf({ type: "thinking", thinking: "", signature: "EqoB" });
  assert.ok(foreign < told, "a foreign signature says nothing");
});

test("what cannot be done yet is refused by name, and what leaves out nothing passes", async () => {
  const wrong: readonly (readonly [fields: object, name: string])[] = [
    [{ container: "a" }, "container"],
    [{ mcp_servers: [{ name: "a" }] }, "mcp_servers"],
    [{ context_management: { edits: [{ type: "clear_tool_uses_20250919" }] } }, "context_management.edits.0"],
    [{ thinking: { type: "enabled", display: "full" } }, "thinking.display"],
    [{ output_config: { effort: "a" } }, "output_config.effort"],
  ];
  for (const [fields, name] of wrong) {
    const { status, json } = await post("v31", "/v1/messages", { ...short, ...fields });
    assert.equal(status, 400, name);
    assert.ok(json.error.message.includes(name), json.error.message);
  }
  const edits = [{ type: "clear_thinking_20251015", keep: "all" }];
  const harmless = { context_management: { edits }, metadata: { user_id: "a" }, service_tier: "auto" };
  assert.equal((await post("v31", "/v1/messages", { ...short, ...harmless })).status, 200);
});
