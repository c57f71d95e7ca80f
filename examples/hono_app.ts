/**
 * A Hono app with a model in it: a route of its own that streams text, and the OpenAI API beside it.
 *
 *     deno run -A examples/hono_app.ts          bun examples/hono_app.ts
 *
 * @module
 */
import { Hono } from "hono";
import process from "node:process";
import { parseArgs } from "node:util";
import { load, openaiHandler, serve } from "../mod.ts";

const { values } = parseArgs({
  options: { model: { type: "string", default: "minnow" }, port: { type: "string", default: "8080" } },
});

await using model = await load(values.model);
// Within an app it does not see the address: it answers to this machine's names alone.
const openai = openaiHandler(model, { hosts: [] });

const app = new Hono();

app.get(
  "/",
  ({ text }) => text(`Here is ${model.info.name}. GET /story?about=a+fox, or ask /v1 as you would OpenAI.`),
);

/** The reply is written as it comes; a client that goes away ends it. */
app.get("/story", ({ req }) => {
  const about = (req.query("about") ?? "a fox").slice(0, 200);
  const reply = model.chat([{ role: "user", content: `Tell me a story about ${about}.` }], {
    maxTokens: 200,
    signal: req.raw.signal,
  });
  const text = new TransformStream({ transform: (part, out) => out.enqueue(part.text) });
  const body = reply.toReadableStream().pipeThrough(text).pipeThrough(new TextEncoderStream());
  return new Response(body, { headers: { "content-type": "text/plain; charset=utf-8" } });
});

app.get("/stats", async ({ json }) => json(await model.stats()));

app.all("/v1/*", ({ req }) => openai(req.raw));

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
await serve((request) => Promise.resolve(app.fetch(request)), {
  port: Number(values.port),
  signal: stop.signal,
  onListen: ({ url }) => console.log(`Listening on ${url}`),
});
