/**
 * What the OpenAI API answers, as schemas: openapi.json is made of them, and tests hold real answers
 * against them.
 * @module
 */
import { z } from "zod";

const count = z.int().min(0);
const seconds = z.int().min(0).meta({ description: "Unix time in seconds" });

/** The body of every error. */
export const errorAnswer = z.object({
  error: z.looseObject({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable(),
    n_prompt_tokens: count.optional(),
    n_ctx: count.optional(),
  }),
});

const usage = z.object({
  prompt_tokens: count,
  completion_tokens: count,
  total_tokens: count,
  prompt_tokens_details: z.looseObject({ cached_tokens: count }),
  completion_tokens_details: z.looseObject({ reasoning_tokens: count }),
});

const frame = { id: z.string(), created: seconds, model: z.string(), system_fingerprint: z.string() };

/** Fields of a token with its log-probability. */
export const tokenLogprob = {
  token: z.string(),
  logprob: z.number(),
  bytes: z.array(z.int().min(0).max(255)),
};
const chatLogprobs = z.object({
  content: z.array(z.object({ ...tokenLogprob, top_logprobs: z.array(z.object(tokenLogprob)) })),
  refusal: z.null(),
});
const promptLogprobs = z.array(
  z.record(
    z.string(),
    z.object({ logprob: z.number(), rank: z.int().min(1), decoded_token: z.string() }),
  ).nullable(),
);
const score = z.number().optional().meta({
  description: "Of a beam search: what its choices are ordered by",
});
const finishReason = z.literal(["stop", "length", "tool_calls", "cancelled"]);

const toolCall = z.object({
  id: z.string(),
  type: z.literal("function"),
  function: z.object({
    name: z.string(),
    arguments: z.string().meta({ description: "JSON, as the model wrote it" }),
  }),
});

/** POST /v1/chat/completions */
export const chatAnswer = z.object({
  ...frame,
  object: z.literal("chat.completion"),
  choices: z.array(z.object({
    index: count,
    message: z.object({
      role: z.literal("assistant"),
      content: z.string().nullable(),
      reasoning_content: z.string().optional(),
      tool_calls: z.array(toolCall).optional(),
      refusal: z.null(),
    }),
    logprobs: chatLogprobs.nullable(),
    finish_reason: finishReason,
    score,
  })),
  usage,
  prompt_logprobs: promptLogprobs.optional(),
});

/** One event of the same, streamed. */
export const chatChunk = z.object({
  ...frame,
  object: z.literal("chat.completion.chunk"),
  choices: z.array(z.object({
    index: count,
    delta: z.object({
      role: z.literal("assistant").optional(),
      content: z.string().optional(),
      reasoning_content: z.string().optional(),
      tool_calls: z.array(z.object({
        index: count,
        id: z.string().optional(),
        type: z.literal("function").optional(),
        function: z.object({ name: z.string().optional(), arguments: z.string() }),
      })).optional(),
    }),
    logprobs: chatLogprobs.nullable(),
    finish_reason: finishReason.nullable(),
  })),
  usage: usage.nullable().optional(),
});

const textLogprobs = z.object({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().nullable()),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
  text_offset: z.array(count),
});
const textChoice = { index: count, text: z.string(), logprobs: textLogprobs.nullable() };

/** POST /v1/completions */
export const completionAnswer = z.object({
  ...frame,
  object: z.literal("text_completion"),
  choices: z.array(z.object({
    ...textChoice,
    finish_reason: finishReason,
    score,
    prompt_logprobs: promptLogprobs.optional(),
  })),
  usage,
});

/** One event of the same, streamed. */
export const completionChunk = z.object({
  ...frame,
  object: z.literal("text_completion"),
  choices: z.array(z.looseObject({ ...textChoice, finish_reason: finishReason.nullable() })),
  usage: usage.nullable().optional(),
});

/** POST /v1/embeddings */
export const embeddingsAnswer = z.object({
  object: z.literal("list"),
  model: z.string(),
  data: z.array(z.object({
    object: z.literal("embedding"),
    index: count,
    embedding: z.union([
      z.array(z.number()),
      z.string().meta({ description: "base64 of little-endian f32" }),
    ]),
  })),
  usage: z.object({ prompt_tokens: count, total_tokens: count }),
});

/** GET /v1/models/{id} */
export const modelAnswer = z.object({
  id: z.string(),
  object: z.literal("model"),
  created: seconds,
  owned_by: z.string(),
});

/** GET /v1/models */
export const modelsAnswer = z.object({ object: z.literal("list"), data: z.array(modelAnswer) });
