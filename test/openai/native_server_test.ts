/** The handler under Deno.serve or Bun.serve, whichever runs this file. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { type Handler, type LanguageModel, load, openaiHandler } from "../../mod.ts";
import { until } from "../until.ts";

interface Listening {
  readonly port: number;
  stop(): Promise<void>;
}

/** What the two runtimes' servers have in common. */
function listen(handler: Handler): Listening {
  // deno-lint-ignore no-explicit-any
  const { Deno, Bun } = globalThis as any;
  if (Deno) {
    const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, handler);
    return { port: server.addr.port, stop: () => server.shutdown() };
  }
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: handler, development: false });
  return { port: server.port, stop: () => server.stop(true) };
}

let model: LanguageModel;
let server: Listening;
let client: OpenAI;

before(async () => {
  model = await load("minnow", { backend: "reference" });
  server = listen(openaiHandler(model));
  client = new OpenAI({ baseURL: `http://127.0.0.1:${server.port}/v1`, apiKey: "none", maxRetries: 0 });
});
after(async () => {
  await server.stop();
  await model.close();
});

const endless = {
  model: "minnow",
  messages: [{ role: "user" as const, content: "Tell me a story." }],
  max_tokens: 1e6,
  logit_bias: { 1: -100 }, // the token that would end the story
  context_overflow: "shift",
};

async function untilCancelled(count: number): Promise<void> {
  await until(async () => {
    const { cancelled, running, waiting } = (await model.stats()).requests;
    return cancelled === count && running + waiting === 0;
  }, `${count} requests are cancelled`);
}

test("replies are whole, although the runtime's signal may fire at their end", async () => {
  const short = { ...endless, max_tokens: 8, temperature: 0 };
  const whole = await client.chat.completions.create(short);
  let streamed = "";
  for await (const { choices } of await client.chat.completions.create({ ...short, stream: true })) {
    streamed += choices[0].delta.content ?? "";
  }
  assert.equal(streamed, whole.choices[0].message.content);
  assert.equal(whole.choices[0].finish_reason, "length");
  await untilCancelled(0);
});

test("a client that leaves a stream cancels its request", async () => {
  const stream = await client.chat.completions.create({ ...endless, stream: true });
  for await (const _ of stream) break;
  await untilCancelled(1);
});

test("a client that leaves before a whole reply cancels its request", async () => {
  // In one piece: Deno.serve (2.9) notices nothing when a body came apart from its head, `serve` does.
  const body = JSON.stringify(endless);
  const head =
    `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n`;
  const socket = connect(server.port, "127.0.0.1");
  socket.write(head + body);
  await until(async () => (await model.stats()).requests.running > 0, "the request came");
  socket.destroy();
  await untilCancelled(2);
});

test("a server that is told its hosts answers to no other", async () => {
  const own = listen(openaiHandler(model, { hosts: ["here.example"] }));
  for (const [host, status] of [["here.example", 200], ["evil.example", 421]] as const) {
    const socket = connect(own.port, "127.0.0.1");
    let answer = "";
    socket.on("data", (data) => answer += data);
    socket.write(`GET /v1/models HTTP/1.1\r\nHost: ${host}:80\r\nConnection: close\r\n\r\n`);
    await once(socket, "close");
    assert(answer.startsWith(`HTTP/1.1 ${status} `), answer);
  }
  await own.stop();
});

test("a Host header cannot lead to another path", async () => {
  const socket = connect(server.port, "127.0.0.1");
  let answer = "";
  socket.on("data", (data) => answer += data);
  socket.write("GET /nowhere HTTP/1.1\r\nHost: x/health?a=\r\nConnection: close\r\n\r\n");
  await once(socket, "close");
  assert.match(answer, /^HTTP\/1\.1 (400|500) /); // Bun refuses it before the handler sees it
});

test("health answers while a long prompt is computed", async () => {
  // More than one try: this side may be held up for longer than a prompt takes.
  await until(async () => {
    const messages = [{ role: "user" as const, content: `${crypto.randomUUID()} ${"word ".repeat(540)}` }];
    const asked = client.chat.completions.create({ ...endless, messages, max_tokens: 1 });
    let isDone = false;
    const done = asked.finally(() => isDone = true);
    await until(async () => isDone || (await model.stats()).requests.running > 0, "the request came");
    for (let i = 0; i < 3; i++) {
      assert.equal((await fetch(`http://127.0.0.1:${server.port}/health`)).status, 200);
    }
    const wasRunning = !isDone;
    await done;
    return wasRunning;
  }, "three answers came before the prompt was computed");
});
