/**
 * The fields that say what the prompt of a chat is made into beside its messages, and how the reply to it thinks: in
 * vLLM's, llama-server's and SGLang's words, at every endpoint that takes a chat.
 * @module
 */
import { z } from "zod";
import { RequestError } from "../errors.ts";
import type { ChatOptions } from "../generate_options.ts";
import { flag, noItems, notYet, optional } from "./field_types.ts";

/** Degrees that the APIs know. */
export const effort = z.literal(["none", "minimal", "low", "medium", "high", "xhigh", "max"]);

/** Tokens of a thought; -1 is as many as it takes. */
export const thoughtTokens = optional(z.int().min(-1, "a whole number from -1 is needed"));

/** Other words for the tokens of a thought. */
const budgets = {
  thinking_token_budget: thoughtTokens, // vLLM's
  thinking_budget_tokens: thoughtTokens, // llama-server's, as the next two
  reasoning_budget_tokens: thoughtTokens,
  reasoning_budget: thoughtTokens,
  thinking_budget: thoughtTokens, // SGLang's and Qwen's
};

/** Fields of requests with a chat. */
export const templateFields = {
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
  ...budgets,
  reasoning_budget_message: notYet(""),
  reasoning_format: optional(
    z.literal(["auto", "deepseek"], 'only "deepseek" is supported: a field of its own'),
  ),
  separate_reasoning: notYet(true),
  thinking_forced_open: notYet(false),
  reasoning_in_content: notYet(false),
  parse_tool_calls: notYet(true),
  documents: noItems,
  echo: notYet(false),
  add_special_tokens: notYet(false), // the template has them
};

/** A request as checked, of any of these endpoints. */
type TemplateRequest = {
  readonly [Name in keyof typeof templateFields]?: z.output<typeof templateFields[Name]>;
};

/** What an endpoint says about thinking in words of its own. */
interface OwnWords {
  readonly thinking?: boolean;
  readonly effort?: ChatOptions["reasoningEffort"];
  /** Tokens of the thought, by the field that says so. */
  readonly budgets?: Readonly<Record<string, number | undefined>>;
}

/** The options that the fields of a chat's prompt mean. */
export function templateOptions(body: TemplateRequest, own: OwnWords = {}): ChatOptions {
  const { thinking, enable_thinking, ...templateVariables } = body.chat_template_kwargs ?? {};
  return {
    thinking: thinking ?? enable_thinking ?? own.thinking,
    reasoningEffort: body.reasoning_effort ?? own.effort,
    thinkingTokenBudget: budgetOf(body, own.budgets),
    templateVariables,
  };
}

/** @throws {RequestError} for two that differ */
function budgetOf(body: TemplateRequest, more: OwnWords["budgets"] = {}): number | undefined {
  const names = Object.keys(budgets) as (keyof typeof budgets)[];
  const given = [...names.map((name) => [name, body[name]] as const), ...Object.entries(more)]
    .filter(([, tokens]) => tokens !== undefined && tokens !== -1);
  const other = given.find(([, tokens]) => tokens !== given[0][1]);
  if (other === undefined) return given[0]?.[1];
  const problem = `${other[1]} found, but ${given[0][0]} is ${given[0][1]}`;
  throw new RequestError(`Cannot use ${other[0]}: ${problem}`, { param: other[0] });
}
