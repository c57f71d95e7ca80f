/**
 * What the endpoints of neither API answer, as schemas.
 * @module
 */
import { z } from "zod";

const count = z.int().min(0);

/** POST /tokenize */
export const tokenizeAnswer = z.object({
  tokens: z.array(count),
  count,
  max_model_len: count,
  pieces: z.array(z.string()).optional(),
  token_strs: z.array(z.string()).optional(),
});

/** POST /detokenize */
export const detokenizeAnswer = z.object({ content: z.string(), prompt: z.string() });

/** POST /apply-template */
export const templateAnswer = z.object({ prompt: z.string() });

/** GET /health and its kin: "ok", or what ended the model. */
export const healthAnswer = z.object({ status: z.string() });

/** GET /props: the facts of the model. */
export const propsAnswer = z.looseObject({
  name: z.string(),
  architecture: z.string(),
  vocabSize: count,
  hidden: count,
  contextLength: count,
  maxSequences: count,
  parameters: z.object({ total: count, active: count }),
  bytes: z.looseObject({ weights: count, cache: count, activations: count }),
  backend: z.string(),
  kernels: z.string(),
  threads: count,
});
