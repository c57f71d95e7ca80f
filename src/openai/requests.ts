/**
 * The fields of a request, and what they are called in hadal. Unknown fields are dropped, as clients
 * send many; fields that would change the answer but are not done yet are refused by name. Ranges of
 * numbers are checked where the sampler is: here only what a field is.
 * @module
 */
import { z } from "zod";
import { ranges } from "../engine/sampling_options.ts";
import { draftKinds } from "../engine/protocol.ts";
import { mostDrafts } from "../engine/speculation_option.ts";
import { RequestError } from "../errors.ts";
import type { ChatOptions, GenerateOptions } from "../generate_options.ts";
import type { Message } from "../messages.ts";
import { beamFields, beamOptions } from "./beam_fields.ts";
import { noItems, notYet, notYetFields, optional } from "./field_types.ts";
import { grammarFields, grammarOptions, responseFormat } from "./structured.ts";

const flag = optional(z.boolean());

/** A number of the sampler, which also checks its range: here the range is only told. */
export const sampled = (name: keyof typeof ranges) => {
  const { least, most, whole } = ranges[name];
  const type: z.ZodType<number> = whole ? z.int() : z.number();
  return optional(type.meta({ minimum: least, maximum: most }));
};

/** The id of a token; how many there are the model says. */
export const tokenId = z.int().meta({ minimum: 0 });

const common = {
  model: optional(z.string()),
  stream: flag,
  stream_options: optional(z.object({ include_usage: flag, continuous_usage_stats: notYet(false) })),
  max_tokens: sampled("maxTokens"),
  n_predict: optional(z.int().min(-1, "a whole number from -1 is needed")), // llama-server's word for it
  min_tokens: sampled("minTokens"),
  temperature: sampled("temperature"),
  top_k: sampled("topK"),
  top_p: sampled("topP"),
  min_p: sampled("minP"),
  typical_p: sampled("typicalP"),
  repetition_penalty: sampled("repetitionPenalty"),
  repeat_penalty: optional(z.number().min(0.01).max(100)), // llama.cpp's and Ollama's word for it
  frequency_penalty: sampled("frequencyPenalty"),
  presence_penalty: sampled("presencePenalty"),
  logit_bias: optional(
    z.record(z.string().meta({ pattern: "^[0-9]{1,10}$" }), z.number().meta({ minimum: -100, maximum: 100 })),
  ),
  stop: optional(z.union([z.string(), z.array(z.string())], "a string or a list of strings is needed")),
  seed: sampled("seed"),
  n: optional(z.int().meta({ minimum: 1, maximum: 128 })),
  stop_token_ids: optional(z.array(tokenId)),
  ignore_eos: flag,
  context_overflow: optional(z.literal(["refuse", "shift"], '"refuse" or "shift" is needed')),
  keep_tokens: sampled("keepTokens"),
  // Not { model }: which files are opened is no client's to say.
  speculative: optional(z.union(
    [
      z.literal(["none", ...draftKinds]),
      z.strictObject({
        type: z.literal(["none", ...draftKinds]),
        tokens: optional(z.int().meta({ minimum: 1, maximum: mostDrafts })),
      }),
    ],
    '"none", "mtp", "ngram", "model" or { type, tokens } is needed',
  )),
  ...grammarFields,
  ...beamFields,
  prompt_logprobs: optional(
    z.union(
      [z.literal(false), z.int().meta({ minimum: 0, maximum: ranges.promptLogprobs.most })],
      "a whole number is needed",
    ),
  ),
  cache_salt: optional(z.string().max(256)),
  ...notYetFields,
  repeat_last_n: optional(z.int().min(-1, "a whole number from -1 is needed")), // llama-server's
  n_keep: optional(z.int().min(0, "a whole number from 0 is needed")), // its word for keep_tokens
};

const textPart = z.object({
  type: z.literal("text", 'only parts of type "text" are read'),
  text: z.string(),
});
const content = z.union([z.string(), z.array(textPart).min(1)], "a string or a list of text parts is needed");
const message = z.discriminatedUnion("role", [
  z.object({ role: z.literal(["system", "developer", "user"]), content }),
  z.object({
    role: z.literal("assistant"),
    content: optional(content),
    reasoning_content: optional(z.string()),
    reasoning: optional(z.string()),
    tool_calls: optional(z.array(z.object({
      id: z.string(),
      type: optional(z.literal("function")),
      function: z.object({ name: z.string(), arguments: z.string() }),
    }))),
    function_call: notYet(),
    audio: notYet(),
    refusal: notYet(),
    prefix: flag, // the reply continues this message, as with continue_final_message
  }),
  z.object({ role: z.literal("tool"), content, tool_call_id: optional(z.string()) }),
], 'the roles are "system", "developer", "user", "assistant" and "tool"');

const tool = z.object({
  type: z.literal("function", 'tools of type "function" are supported'),
  function: z.object({
    name: z.string(),
    description: optional(z.string()),
    parameters: optional(z.record(z.string(), z.unknown())),
    strict: flag,
  }),
});
const toolChoice = z.union([
  z.literal(["none", "auto", "required"]),
  z.object({ type: z.literal("function"), function: z.object({ name: z.string() }) })
    .transform((choice) => ({ name: choice.function.name })),
], '"none", "auto", "required" or a function by name is needed');

/** The messages of a chat. */
export const chatMessages = z.array(message).min(1, "at least one message is needed");

/** Degrees that the APIs know. */
export const effort = z.literal(["none", "minimal", "low", "medium", "high", "xhigh", "max"]);

/** The fields that make the prompt of a chat. */
export const promptFields = {
  messages: chatMessages,
  tools: optional(z.array(tool)),
  tool_choice: optional(toolChoice),
  chat_template: notYet(),
  chat_template_kwargs: optional(
    z.object({ thinking: flag, enable_thinking: flag }).catchall(
      z.union(
        [z.string(), z.number(), z.boolean(), z.null()],
        "a string, a number, true, false or null is needed",
      ),
    ),
  ),
  reasoning_effort: optional(effort),
  reasoning: optional(z.object({ // as other APIs nest it
    effort: optional(effort),
    enabled: flag,
    exclude: flag,
    max_tokens: notYet(),
  })),
  thinking: optional(z.object({ type: z.literal(["enabled", "disabled"]) })), // DeepSeek's own API
  continue_final_message: flag,
  add_generation_prompt: flag, // vLLM's clients say no to it with the one above, as they must there
  documents: noItems,
  parse_tool_calls: notYet(true),
  thinking_forced_open: notYet(false),
  reasoning_in_content: notYet(false),
};

/** POST /v1/chat/completions */
export const chatRequest = z.object({
  ...common,
  ...promptFields,
  max_completion_tokens: optional(z.int().min(1, "a whole number from 1 is needed")), // another word for max_tokens
  logprobs: flag,
  top_logprobs: sampled("topLogprobs"),
  parallel_tool_calls: flag,
  functions: noItems,
  function_call: notYet("none", "auto"),
  response_format: optional(responseFormat),
  modalities: optional(z.array(z.literal("text", 'only "text" is supported'))),
  audio: notYet(),
  web_search_options: notYet(),
  include_reasoning: flag,
  reasoning_format: optional(
    z.literal(["auto", "deepseek"], 'only "deepseek" is supported: a field of its own'),
  ),
  reasoning_budget: notYet(-1),
  reasoning_budget_tokens: notYet(-1),
  separate_reasoning: notYet(true),
  echo: notYet(false),
  add_special_tokens: notYet(false), // the template has them
  thinking_token_budget: notYet(),
});

const ids = z.array(tokenId);

/** One raw prompt or several, each a text or token ids. */
export const promptList = z.union(
  [z.string(), ids.min(1), z.array(z.string()).min(1), z.array(ids.min(1)).min(1)],
  "a string, a list of token ids, or a list of either is needed",
);

/** POST /v1/completions */
export const completionRequest = z.object({
  ...common,
  prompt: promptList,
  response_format: optional(responseFormat), // of other servers, as for a chat
  logprobs: sampled("topLogprobs"),
  echo: flag,
  suffix: notYet(""),
  add_special_tokens: notYet(true),
  max_tokens: optional(z.int().meta({ minimum: 0, maximum: ranges.maxTokens.most })), // 0 tells of the prompt alone
});

/** A chat request as checked. */
export type ChatRequest = z.output<typeof chatRequest>;
/** A completion request as checked. */
export type CompletionRequest = z.output<typeof completionRequest>;

/** The messages in hadal's words. */
export function messagesOf(messages: z.output<typeof chatMessages>): Message[] {
  return messages.map((one): Message => {
    if (one.role === "assistant") {
      return {
        role: "assistant",
        content: one.content ?? "",
        reasoning: one.reasoning_content ?? one.reasoning,
        toolCalls: one.tool_calls?.map((call) => ({ ...call, type: "function" })),
      };
    }
    if (one.role === "tool") return { role: "tool", content: one.content, toolCallId: one.tool_call_id };
    // OpenAI renamed the system role; templates know the old name.
    return { role: one.role === "developer" ? "system" : one.role, content: one.content };
  });
}

/** The prompts of a list, whichever of its forms it has. */
export function promptsOf(list: z.output<typeof promptList>): readonly (string | readonly number[])[] {
  if (typeof list === "string") return [list];
  return typeof list[0] === "number" ? [list as number[]] : list as (string | number[])[];
}

/** The options of a chat in hadal's words. */
export function chatOptions(body: ChatRequest): ChatOptions {
  if (body.top_logprobs !== undefined && !body.logprobs) {
    throw new RequestError("Cannot give top_logprobs: logprobs is not true", { param: "top_logprobs" });
  }
  return {
    ...commonOptions(body),
    ...promptOptions(body),
    ...grammarOptions(body, body.response_format),
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? predicted(body),
    promptLogprobs: promptLogprobsOf(body),
    logprobs: body.logprobs,
    topLogprobs: body.top_logprobs,
    parallelToolCalls: body.parallel_tool_calls,
  };
}

/** A chat's prompt as the API asks for it. */
type PromptRequest = Pick<ChatRequest, keyof typeof promptFields>;

/** The options that the prompt of a chat depends on, in hadal's words. */
export function promptOptions(body: PromptRequest): ChatOptions {
  const { thinking, enable_thinking, ...templateVariables } = body.chat_template_kwargs ?? {};
  return {
    tools: body.tools,
    toolChoice: body.tool_choice,
    thinking: thinking ?? enable_thinking ?? (body.thinking && body.thinking.type === "enabled") ??
      body.reasoning?.enabled,
    reasoningEffort: body.reasoning_effort ?? body.reasoning?.effort,
    continueFinalMessage: continuesOf(body),
    templateVariables,
  };
}

/** @throws {RequestError} for wishes that contradict one another */
function continuesOf(body: PromptRequest): boolean {
  const at = body.messages.findIndex((message) => message.role === "assistant" && message.prefix);
  const continues = body.continue_final_message ?? at >= 0;
  const refuse = (param: string, problem: string) => {
    throw new RequestError(`Cannot use ${param}: ${problem}`, { param });
  };
  if (at >= 0 && at < body.messages.length - 1) {
    refuse(`messages.${at}.prefix`, "only the last message can be continued");
  }
  if (body.add_generation_prompt !== undefined && body.add_generation_prompt === continues) {
    refuse("add_generation_prompt", "it is what continue_final_message is not");
  }
  return continues;
}

/** The options of a completion in hadal's words. */
export function completionOptions(body: CompletionRequest): GenerateOptions {
  const asked = promptLogprobsOf(body);
  const isEcho = body.echo && (body.logprobs !== undefined || body.max_tokens === 0);
  return {
    ...commonOptions(body),
    ...grammarOptions(body, body.response_format),
    maxTokens: body.max_tokens ?? (body.n_predict === undefined ? 16 : predicted(body)), // the API's own default
    logprobs: body.logprobs !== undefined,
    topLogprobs: body.logprobs,
    promptLogprobs: isEcho ? Math.max(asked ?? 0, body.logprobs ?? 0) : asked,
  };
}

/** What llama-server's clients ask for in place of max_tokens; -1 is as many as there may be. */
function predicted({ n_predict: tokens }: ChatRequest | CompletionRequest): number | undefined {
  return tokens === -1 ? undefined : tokens;
}

/** @throws {RequestError} for a stream: they belong to no piece of it */
function promptLogprobsOf(
  { prompt_logprobs: asked, stream }: ChatRequest | CompletionRequest,
): number | undefined {
  if (asked === undefined || asked === false) return undefined;
  if (!stream) return asked;
  const problem = "a stream has no place for them, but for completions with echo and logprobs";
  throw new RequestError(`Cannot use prompt_logprobs: ${problem}`, { param: "prompt_logprobs" });
}

/** @throws {RequestError} for penalties of the last tokens alone: here they look at all */
function checkPenalized(body: ChatRequest | CompletionRequest): void {
  const { repeat_last_n: nLast = -1, frequency_penalty, presence_penalty } = body;
  const repetition = body.repetition_penalty ?? body.repeat_penalty;
  if (nLast === -1 || ((repetition ?? 1) === 1 && !frequency_penalty && !presence_penalty)) return;
  const problem = `${nLast} found, penalties look at all tokens: -1 is needed`;
  throw new RequestError(`Cannot use repeat_last_n: ${problem}`, { param: "repeat_last_n" });
}

function commonOptions(body: ChatRequest | CompletionRequest): GenerateOptions {
  checkPenalized(body);
  return {
    minTokens: body.min_tokens,
    temperature: body.temperature,
    topK: body.top_k,
    topP: body.top_p,
    minP: body.min_p,
    typicalP: body.typical_p,
    repetitionPenalty: body.repetition_penalty ?? body.repeat_penalty,
    frequencyPenalty: body.frequency_penalty,
    presencePenalty: body.presence_penalty,
    logitBias: body.logit_bias,
    stop: body.stop,
    stopIds: body.stop_token_ids,
    seed: body.seed,
    n: body.n,
    ...beamOptions(body),
    ignoreEos: body.ignore_eos,
    contextOverflow: body.context_overflow,
    keepTokens: body.keep_tokens ?? (body.context_overflow === "shift" ? body.n_keep : undefined),
    speculative: body.speculative,
  };
}
