/**
 * The fields of chat and text completions, and what they are called in hadal. Unknown fields are dropped, as clients
 * send many; those that are known are honoured, refused by name, or stand in `harmless_fields.ts`.
 * @module
 */
import { z } from "zod";
import { ranges } from "../engine/sampling_options.ts";
import { RequestError } from "../errors.ts";
import type { ChatOptions, GenerateOptions } from "../generate_options.ts";
import type { Message } from "../messages.ts";
import { flag, harmless, noItems, notYet, optional, sampled, tokenId } from "./field_types.ts";
import { generationFields, generationOptions, predicted } from "./generation_fields.ts";
import { effort, templateFields, templateOptions, thoughtTokens } from "./template_fields.ts";

const textPart = z.object({
  type: z.literal("text", 'only parts of type "text" are read'),
  text: z.string(),
});
const content = z.union([z.string(), z.array(textPart).min(1)], "a string or a list of text parts is needed");
const name = harmless; // no template of these models has a place for it
const message = z.discriminatedUnion("role", [
  z.object({ role: z.literal(["system", "developer", "user"]), content, name }),
  z.object({
    role: z.literal("assistant"),
    content: optional(content),
    name,
    reasoning_content: optional(z.string()),
    reasoning: optional(z.string()),
    tool_calls: optional(z.array(z.object({
      id: z.string(),
      type: optional(z.literal("function")),
      function: z.object({ name: z.string(), arguments: z.string() }),
    }))),
    function_call: notYet(),
    annotations: noItems,
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
    defer_loading: notYet(false),
  }),
  defer_loading: notYet(false),
});
const namedTool = z.object({ type: z.literal("function"), function: z.object({ name: z.string() }) });
const allowedTools = z.object({ mode: z.literal(["auto", "required"]), tools: z.array(namedTool).min(1) })
  .transform(({ mode, tools }) => ({ mode, allowed: tools.map((tool) => tool.function.name) }));
const toolChoice = z.union([
  z.literal(["none", "auto", "required"]),
  z.discriminatedUnion("type", [
    namedTool.transform((choice) => ({ name: choice.function.name })),
    z.object({ type: z.literal("allowed_tools"), allowed_tools: allowedTools })
      .transform((choice) => choice.allowed_tools),
  ]),
], '"none", "auto", "required", a function by name or the allowed ones are needed');

/** The messages of a chat. */
const chatMessages = z.array(message).min(1, "at least one message is needed");

/** The fields that make the prompt of a chat. */
export const promptFields = {
  messages: chatMessages,
  tools: optional(z.array(tool)),
  tool_choice: optional(toolChoice),
  ...templateFields,
  reasoning: optional(z.object({ // as other APIs nest it
    effort: optional(effort),
    enabled: flag,
    exclude: flag,
    max_tokens: thoughtTokens,
    summary: notYet("auto"),
  })),
  // DeepSeek's own API; the budget is Anthropic's
  thinking: optional(z.object({
    type: z.literal(["enabled", "disabled"]),
    budget_tokens: thoughtTokens,
  })),
  continue_final_message: flag,
  add_generation_prompt: flag, // vLLM's clients say no to it with the one above, as they must there
};

/** POST /v1/chat/completions */
export const chatRequest = z.object({
  ...generationFields,
  ...promptFields,
  max_completion_tokens: optional(z.int().min(1, "a whole number from 1 is needed")), // another word for max_tokens
  logprobs: flag,
  top_logprobs: sampled("topLogprobs"),
  parallel_tool_calls: flag,
  functions: noItems,
  function_call: notYet("none", "auto"),
  modalities: optional(z.array(z.literal("text", 'only "text" is supported'))),
  audio: notYet(),
  web_search_options: notYet(),
  include_reasoning: flag,
});

const ids = z.array(tokenId);

/** One raw prompt or several, each a text or token ids. */
export const promptList = z.union(
  [z.string(), ids.min(1), z.array(z.string()).min(1), z.array(ids.min(1)).min(1)],
  "a string, a list of token ids, or a list of either is needed",
);

/** POST /v1/completions */
export const completionRequest = z.object({
  ...generationFields,
  prompt: promptList,
  logprobs: sampled("topLogprobs"),
  echo: flag,
  suffix: notYet(""),
  add_special_tokens: notYet(true),
  thinking_token_budget: notYet(-1), // where a raw text thinks is not known
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
    ...generationOptions(body),
    ...promptOptions(body),
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? predicted(body),
    logprobs: body.logprobs,
    topLogprobs: body.top_logprobs,
    parallelToolCalls: body.parallel_tool_calls,
  };
}

/** A chat's prompt as the API asks for it. */
type PromptRequest = Pick<ChatRequest, keyof typeof promptFields>;

/** The options that the prompt of a chat depends on, in hadal's words. */
export function promptOptions(body: PromptRequest): ChatOptions {
  const { thinking, reasoning } = body;
  return {
    tools: body.tools,
    toolChoice: body.tool_choice,
    continueFinalMessage: continuesOf(body),
    ...templateOptions(body, {
      thinking: thinking ? thinking.type === "enabled" : reasoning?.enabled,
      effort: reasoning?.effort,
      budgets: {
        "reasoning.max_tokens": reasoning?.max_tokens,
        "thinking.budget_tokens": thinking?.budget_tokens,
      },
    }),
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
  const { promptLogprobs: asked, ...options } = generationOptions(body);
  const isEcho = body.echo && (body.logprobs !== undefined || body.max_tokens === 0);
  return {
    ...options,
    maxTokens: body.max_tokens ?? (body.n_predict === undefined ? 16 : predicted(body)), // the API's own default
    logprobs: body.logprobs !== undefined,
    topLogprobs: body.logprobs,
    promptLogprobs: isEcho ? Math.max(asked ?? 0, body.logprobs ?? 0) : asked,
  };
}
