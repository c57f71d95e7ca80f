/**
 * An Elysia app with a model in it: checked bodies, streamed stories, similar texts, and the OpenAI API
 * beside them. Elysia's own `listen` is for Bun; its `fetch` runs everywhere, here under hadal's `serve`.
 *
 *     deno run -A examples/elysia_app.ts          bun examples/elysia_app.ts
 *
 * @module
 */
import { Elysia, t } from "elysia";
import process from "node:process";
import { parseArgs } from "node:util";
import { load, openaiHandler, serve } from "../mod.ts";

const { values } = parseArgs({
  options: { model: { type: "string", default: "minnow" }, port: { type: "string", default: "8080" } },
});

await using model = await load(values.model);
// Within an app it does not see the address: it answers to this machine's names alone.
const openai = openaiHandler(model, { hosts: [] });

const app = new Elysia()
  .get(
    "/",
    () => `Here is ${model.info.name}. POST /story, POST /similarity, or ask /v1 as you would OpenAI.`,
  )
  .post("/story", async function* ({ body, request }) {
    const content = `Tell me a story about ${body.about}.`;
    const { maxTokens = 200 } = body;
    for await (
      const { text } of model.chat([{ role: "user", content }], { maxTokens, signal: request.signal })
    ) {
      yield text;
    }
  }, {
    body: t.Object({
      about: t.String({ minLength: 1, maxLength: 200 }),
      maxTokens: t.Optional(t.Integer({ minimum: 1, maximum: 500 })),
    }),
  })
  .post("/similarity", async ({ body }) => {
    const [one, other] = await model.embed(body.texts);
    return { cosine: one.reduce((sum, x, i) => sum + x * other[i], 0) };
  }, { body: t.Object({ texts: t.Array(t.String(), { minItems: 2, maxItems: 2 }) }) })
  .mount((request) => openai(request));

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
await serve((request) => Promise.resolve(app.fetch(request)), {
  port: Number(values.port),
  signal: stop.signal,
  onListen: ({ url }) => console.log(`Listening on ${url}`),
});
