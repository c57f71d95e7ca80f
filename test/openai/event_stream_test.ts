import assert from "node:assert/strict";
import { test } from "node:test";
import { RequestError } from "../../src/errors.ts";
import { eventStream } from "../../src/openai/event_stream.ts";

const nothing = () => {};

test("events become data lines that end with [DONE]", async () => {
  async function* events() {
    yield [{ text: "two\nlines" }];
    yield [{ n: 2 }];
  }
  const response = await eventStream(events(), nothing);
  assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/);
  assert.equal(await response.text(), 'data: {"text":"two\\nlines"}\n\ndata: {"n":2}\n\ndata: [DONE]\n\n');
});

test("events that came together are sent as one piece, and what comes of nothing as none", async () => {
  async function* batches() {
    yield [];
    yield [1, 2];
    yield [];
    yield [3];
  }
  const pieces: string[] = [];
  const decoder = new TextDecoder();
  for await (const bytes of (await eventStream(batches(), nothing)).body!) pieces.push(decoder.decode(bytes));
  assert.deepEqual(pieces, ["data: 1\n\ndata: 2\n\n", "data: 3\n\n", "data: [DONE]\n\n"]);
});

test("all that a client let wait is sent, however much", async () => {
  async function* batches() {
    yield Array.from({ length: 200_000 }, () => 1);
  }
  const text = await (await eventStream(batches(), nothing)).text();
  assert.equal(text.length, 200_000 * "data: 1\n\n".length + "data: [DONE]\n\n".length);
});

test("an error before the first event is thrown, a later one is an event", async () => {
  async function* failsAfter(count: number) {
    for (let i = 0; i < count; i++) yield [i];
    throw new RequestError("Cannot go on: no", { code: "stuck" });
  }
  await assert.rejects(eventStream(failsAfter(0), nothing), RequestError);
  const lines = (await (await eventStream(failsAfter(1), nothing)).text()).split("\n\n");
  assert.equal(lines[0], "data: 0");
  assert.equal(JSON.parse(lines[1].slice("data: ".length)).error.code, "stuck");
  assert.equal(lines[2], "data: [DONE]");
});

test("a quiet stream is kept alive by comments", async () => {
  let goOn = () => {};
  const isKept = new Promise<void>((resolve) => goOn = resolve);
  async function* slow() {
    await isKept;
    yield [1];
  }
  const { body } = await eventStream(slow(), nothing, { keepAliveMs: 5 });
  let text = "";
  for await (const piece of body!.pipeThrough(new TextDecoderStream())) {
    text += piece;
    if (text.startsWith(": keep-alive\n\n".repeat(3))) goOn();
  }
  assert.match(text, /^(: keep-alive\n\n){3,}data: 1\n\ndata: \[DONE\]\n\n$/);
});

test("events are taken as they are read, and a reader that leaves cancels", async () => {
  let taken = 0;
  let isCancelled = false;
  async function* many() {
    while (true) yield [++taken];
  }
  const response = await eventStream(many(), () => isCancelled = true);
  const reader = response.body!.getReader();
  for (let i = 0; i < 3; i++) await reader.read();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert(taken < 10, `${taken} events were taken for 3 reads`);
  await reader.cancel();
  assert(isCancelled);
});
