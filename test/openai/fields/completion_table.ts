/** The fields of text completions and embeddings as the openai client types them. */
import type OpenAI from "openai";
import { drawing, short } from "./chat_table.ts";
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

const completion = {
  model: refusedWith(404, "nothing"),
  prompt: needed,
  ...drawing,
  best_of: honoured(8, { temperature: 1.5 }),
  echo: honoured(true),
  logprobs: honoured(1),
  max_tokens: honoured(2),
  n: honoured(2),
  stream: seen("openai/handler_test.ts", "streamed"),
  stream_options: refusedWithin(".include_obfuscation", { include_obfuscation: true }, {
    include_usage: true,
  }),
  suffix: refused("The end.", ""),
  user: harmless("somebody"),
} satisfies RowsOf<OpenAI.CompletionCreateParams>;

const embedding = {
  input: needed,
  model: refusedWith(404, "nothing"),
  dimensions: refused(7),
  encoding_format: honoured("base64"),
  user: harmless("somebody"),
} satisfies RowsOf<OpenAI.EmbeddingCreateParams>;

export const completionTables: readonly Table[] = [
  {
    title: "a text completion",
    path: "/v1/completions",
    base: { ...short, prompt: "Look at" },
    rows: completion,
  },
  { title: "embeddings", path: "/v1/embeddings", base: { input: "Look" }, rows: embedding, isWhole: true },
];
