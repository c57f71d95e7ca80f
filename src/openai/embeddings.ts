/**
 * POST /v1/embeddings: texts in, a vector for each out.
 * @module
 */
import { z } from "zod";
import { RequestError } from "../errors.ts";
import type { LanguageModel } from "../language_model.ts";
import type { Client } from "./access.ts";
import { notYet, optional } from "./field_types.ts";
import { harmlessFields } from "./harmless_fields.ts";
import { promptList, promptsOf } from "./requests.ts";

/** The fields of a request. */
export const embeddingsRequest = z.object({
  model: optional(z.string()),
  input: promptList,
  encoding_format: optional(z.literal(["float", "base64"], '"float" or "base64" is needed')),
  dimensions: optional(z.int()),
  truncate_prompt_tokens: notYet(),
  add_special_tokens: notYet(true),
  normalize: notYet(true),
  embd_normalize: notYet(2), // llama-server's word for it: by the Euclidean norm
  embed_dtype: notYet("float32"),
  endianness: notYet("native", "little"),
  messages: notYet(),
  priority: notYet(0),
  ...harmlessFields,
});

const mostInputs = 2048;

/** Answers a checked request: the mean of each text's last hidden states, of length 1. */
export async function embeddings(
  model: LanguageModel,
  body: z.output<typeof embeddingsRequest>,
  modelName: string,
  client: Client,
): Promise<Response> {
  const inputs = promptsOf(body.input);
  if (inputs.length > mostInputs) {
    const problem = `${inputs.length} inputs found, at most ${mostInputs} are taken`;
    throw new RequestError(`Cannot embed: ${problem}`, { param: "input" });
  }
  const { hidden } = model.info;
  if (body.dimensions !== undefined && body.dimensions !== hidden) {
    const problem = `${body.dimensions} found, this model's vectors have ${hidden}`;
    throw new RequestError(`Cannot use dimensions: ${problem}`, { param: "dimensions" });
  }
  const prompts = inputs.map((input) => model.promptTokens(input));
  const vectors = await model.embed(prompts, { signal: client.signal });
  const nTokens = prompts.reduce((sum, { length }) => sum + length, 0);
  return Response.json({
    object: "list",
    model: modelName,
    data: vectors.map((vector, index) => ({
      object: "embedding",
      index,
      embedding: body.encoding_format === "base64" ? base64(vector) : [...vector],
    })),
    usage: { prompt_tokens: nTokens, total_tokens: nTokens },
  });
}

/** Little-endian f32, which is what every machine that runs this has in memory. */
function base64(vector: Float32Array): string {
  return Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64");
}
