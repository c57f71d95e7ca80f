/**
 * The options of `chat` and `complete`.
 * @module
 */
import type { SamplingOptions } from "./engine/sampling_options.ts";
import { shown } from "./engine/option_checks.ts";
import { RequestError } from "./errors.ts";
import type { GrammarSource } from "./grammar/spec.ts";
import { type GrammarOptions, grammarSource } from "./grammar_options.ts";
import type { Tool } from "./text/chat_message.ts";

/** Options of a request: how tokens are drawn, and when the reply ends. */
export interface GenerateOptions extends SamplingOptions, GrammarOptions {
  /** The reply ends before any of these texts. */
  readonly stop?: string | readonly string[] | null;
  /**
   * Texts that the reply does not hold, nor with a space before them, as far as it spells them as the tokenizer
   * does: the last token of each cannot be drawn after the others.
   */
  readonly badWords?: readonly string[] | null;
  /**
   * Draw this many replies, and return the `n` whose tokens are likeliest on average. Parts come when all
   * have ended.
   */
  readonly bestOf?: number | null;
  /** Cached prompts are shared among requests of one tenant only; all without a name are one. */
  readonly tenant?: string | null;
  /** Ends the reply as `reply.cancel()` does. */
  readonly signal?: AbortSignal | null;
}

/** How hard a model is to think. */
export type ReasoningEffort = "none" | "minimal" | "low" | "medium" | "high" | "xhigh" | "max";
const efforts: readonly ReasoningEffort[] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/** Tools that may be called, of those that the model is told of. */
export interface AllowedTools {
  /** Their names, one at least. */
  readonly allowed: readonly string[];
  /** "required" makes the reply begin with a call of one of them; "auto" by default. */
  readonly mode?: "auto" | "required" | null;
}

/** Options of a chat. */
export interface ChatOptions extends GenerateOptions {
  /** What the model may call: the reply's `toolCalls` then say what it wants. */
  readonly tools?: readonly Tool[] | null;
  /**
   * "auto" by default; "required" and a name make the reply begin with a call. Where only some are `allowed`
   * the model is told of all, and can call no others.
   */
  readonly toolChoice?: "none" | "auto" | "required" | { readonly name: string } | AllowedTools | null;
  /** False ends the reply with its first call. */
  readonly parallelToolCalls?: boolean | null;
  /** Whether the model thinks before it answers, for templates that can say so. */
  readonly thinking?: boolean | null;
  /** "none" and "minimal" mean no thought, the others a thought; templates that know degrees get the word. */
  readonly reasoningEffort?: ReasoningEffort | null;
  /**
   * The thought is closed after so many tokens, and the answer follows; as long as the model likes by default.
   * A model that does not think keeps to it as well.
   */
  readonly thinkingTokenBudget?: number | null;
  /** The reply continues the last message, or what that has of a thought, instead of answering it. */
  readonly continueFinalMessage?: boolean | null;
  /** More variables of the chat template, such as `reasoning_effort`: those that it asks for. */
  readonly templateVariables?: Readonly<Record<string, string | number | boolean | null>> | null;
}

/** The checked options that only a chat has. */
export interface ChatPlan {
  /** What the model is told of. */
  readonly tools: readonly Tool[];
  /** Those of them that it may call. */
  readonly callable: readonly Tool[];
  /** The reply begins with a call: of this tool, or of one that the model chooses. */
  readonly forced: { readonly name: string | null } | null;
  readonly oneCall: boolean;
  readonly thinking: boolean | null;
  readonly effort: ReasoningEffort | null;
  /** Tokens of the thought; null for as many as it takes. */
  readonly thoughtTokens: number | null;
  readonly continues: boolean;
  readonly variables: Readonly<Record<string, string | number | boolean | null>>;
}

/** What is left of the options when those of sampling are taken. */
interface RequestOptions {
  readonly stop: readonly string[];
  readonly badWords: readonly string[];
  /** Null where all that is drawn is returned. */
  readonly bestOf: number | null;
  readonly tenant: string;
  /** What the reply has to be, or null. */
  readonly source: GrammarSource | null;
}

/** A name for every option, so that a misspelt one is told from a known one. */
const known: Readonly<Record<keyof GenerateOptions, true>> = {
  maxTokens: true,
  minTokens: true,
  temperature: true,
  topK: true,
  topP: true,
  minP: true,
  typicalP: true,
  repetitionPenalty: true,
  frequencyPenalty: true,
  presencePenalty: true,
  logitBias: true,
  allowedTokenIds: true,
  badWords: true,
  stop: true,
  stopIds: true,
  seed: true,
  n: true,
  jsonSchema: true,
  jsonObject: true,
  choice: true,
  regex: true,
  grammar: true,
  bestOf: true,
  beam: true,
  logprobs: true,
  topLogprobs: true,
  promptLogprobs: true,
  ignoreEos: true,
  contextOverflow: true,
  keepTokens: true,
  speculative: true,
  tenant: true,
  signal: true,
};

const ofChats: Readonly<Record<Exclude<keyof ChatOptions, keyof GenerateOptions>, true>> = {
  tools: true,
  toolChoice: true,
  parallelToolCalls: true,
  thinking: true,
  reasoningEffort: true,
  thinkingTokenBudget: true,
  continueFinalMessage: true,
  templateVariables: true,
};

const limits = { n: 128, stops: 64, badWords: 1024, textLength: 1024, tools: 256 };

/** Splits off what only a chat has. @throws {RequestError} naming the option, in the JSON API's spelling */
export function chatPlan(options: ChatOptions): { plan: ChatPlan; options: GenerateOptions } {
  const { tools, toolChoice, parallelToolCalls, thinking, reasoningEffort, continueFinalMessage } = options;
  const { templateVariables, ...others } = options;
  const rest = Object.fromEntries(Object.entries(others).filter(([name]) => !Object.hasOwn(ofChats, name)));
  const effort = reasoningEffort ?? null;
  if (effort !== null && !efforts.includes(effort)) {
    const needed = `one of ${efforts.join(", ")} is needed`;
    throw new RequestError(`Cannot use reasoning_effort: ${needed}`, { param: "reasoning_effort" });
  }
  const offered = toolChoice === "none" ? [] : checkTools(tools ?? []);
  const callable = callableTools(toolChoice, offered);
  const forced = forcedCall(toolChoice ?? "auto", callable);
  const flags = {
    parallel_tool_calls: parallelToolCalls,
    thinking,
    continue_final_message: continueFinalMessage,
  };
  for (const [name, value] of Object.entries(flags)) {
    if (value == null || typeof value === "boolean") continue;
    throw new RequestError(`Cannot use ${name}: true or false is needed`, { param: name });
  }
  if (continueFinalMessage && forced !== null) {
    const problem = "a reply that continues a message cannot begin with a call";
    throw new RequestError(`Cannot use tool_choice: ${problem}`, { param: "tool_choice" });
  }
  const plan = {
    tools: offered,
    callable,
    forced,
    oneCall: parallelToolCalls === false || (forced !== null && forced.name !== null),
    thinking: thinking ?? (effort === null ? null : effort !== "none" && effort !== "minimal"),
    effort,
    thoughtTokens: checkBudget(options.thinkingTokenBudget ?? null),
    continues: continueFinalMessage ?? false,
    variables: checkVariables(templateVariables ?? {}),
  };
  return { plan, options: rest };
}

function checkBudget(tokens: number | null): number | null {
  if (tokens === null || (Number.isSafeInteger(tokens) && tokens >= 0)) return tokens;
  const problem = `${shown(tokens)} found, a whole number from 0 needed`;
  throw new RequestError(`Cannot use thinking_token_budget: ${problem}`, { param: "thinking_token_budget" });
}

function checkVariables(variables: ChatPlan["variables"]): ChatPlan["variables"] {
  const isPlain = (value: unknown) =>
    value === null || ["string", "number", "boolean"].includes(typeof value);
  if (typeof variables === "object" && Object.values(variables).every(isPlain)) return variables;
  const needed = "texts, numbers, true, false and null are needed";
  throw new RequestError(`Cannot use chat_template_kwargs: ${needed}`, { param: "chat_template_kwargs" });
}

function forcedCall(
  choice: NonNullable<ChatOptions["toolChoice"]>,
  tools: readonly Tool[],
): ChatPlan["forced"] {
  const mode = isAllowedTools(choice) ? choice.mode ?? "auto" : choice;
  if (mode === "auto" || choice === "none") return null;
  const name = mode === "required" ? null : (mode as { name?: unknown } | null)?.name;
  if (name !== null && typeof name !== "string") {
    const needed = '"none", "auto", "required", the name of a tool or allowed ones are needed';
    throw new RequestError(`Cannot use tool_choice: ${needed}`, { param: "tool_choice" });
  }
  const isKnown = name === null ? tools.length > 0 : tools.some((tool) => tool.function.name === name);
  if (isKnown) return { name };
  const problem = name === null ? "there are no tools" : `there is no tool ${JSON.stringify(name)}`;
  throw new RequestError(`Cannot use tool_choice: ${problem}`, { param: "tool_choice" });
}

function isAllowedTools(choice: ChatOptions["toolChoice"]): choice is AllowedTools {
  return typeof choice === "object" && choice !== null && "allowed" in choice;
}

/** @throws {RequestError} a tool that is allowed, and not there */
function callableTools(choice: ChatOptions["toolChoice"], tools: readonly Tool[]): readonly Tool[] {
  if (!isAllowedTools(choice)) return tools;
  const { allowed } = choice as { allowed: unknown };
  if (!Array.isArray(allowed) || allowed.length === 0) {
    const needed = "the names of the tools that are allowed are needed, one at least";
    throw new RequestError(`Cannot use tool_choice: ${needed}`, { param: "tool_choice" });
  }
  const names = new Set<unknown>(allowed);
  const callable = tools.filter((tool) => names.delete(tool.function.name));
  for (const name of names) {
    throw new RequestError(`Cannot use tool_choice: there is no tool ${shown(name)}`, {
      param: "tool_choice",
    });
  }
  return callable;
}

function checkTools(tools: readonly Tool[]): readonly Tool[] {
  // The name stands between control tokens: what is no word could imitate them.
  const isTool = (tool: Tool | null) =>
    tool?.type === "function" && /^[A-Za-z0-9_.-]{1,128}$/.test(tool.function?.name ?? "");
  if (Array.isArray(tools) && tools.length <= limits.tools && tools.every(isTool)) return tools;
  const needed =
    `at most ${limits.tools} of type "function", with names of letters, digits, "_", "-" and "."`;
  throw new RequestError(`Cannot use tools: ${needed} are needed`, { param: "tools" });
}

/** @throws {RequestError} naming the option, in the JSON API's spelling where it has one */
export function requestOptions(options: GenerateOptions): RequestOptions {
  for (const [name, value] of Object.entries(options)) {
    if (value == null || Object.hasOwn(known, name)) continue;
    const problem = Object.hasOwn(ofChats, name)
      ? "only a chat has it"
      : `the options are ${Object.keys({ ...known, ...ofChats }).join(", ")}`;
    throw new RequestError(`Cannot use ${name}: ${problem}`, { param: name });
  }
  const n = options.n ?? 1, bestOf = options.bestOf ?? n;
  if (options.bestOf != null && !(Number.isInteger(bestOf) && bestOf >= n && bestOf <= limits.n)) {
    const needed = `a whole number from n (${n}) to ${limits.n} needed`;
    throw new RequestError(`Cannot use best_of: ${bestOf} found, ${needed}`, { param: "best_of" });
  }
  if (bestOf > n && options.beam != null) {
    throw new RequestError("Cannot use best_of with beam: its width says how many are compared", {
      param: "best_of",
    });
  }
  const stop = typeof options.stop === "string" ? [options.stop] : options.stop ?? [];
  const tenant = options.tenant ?? "";
  if (typeof tenant !== "string") {
    throw new RequestError("Cannot use tenant: a text is needed", { param: "tenant" });
  }
  return {
    bestOf: bestOf > n ? bestOf : null,
    stop: checkTexts(stop, limits.stops, "stop"),
    badWords: checkTexts(options.badWords ?? [], limits.badWords, "bad_words"),
    tenant,
    source: grammarSource(options),
  };
}

function checkTexts(texts: unknown, most: number, param: string): readonly string[] {
  const isText = (text: unknown) =>
    typeof text === "string" && text !== "" && text.length <= limits.textLength;
  if (Array.isArray(texts) && texts.length <= most && texts.every(isText)) return texts;
  const needed = `at most ${most} texts of 1 to ${limits.textLength} characters needed`;
  throw new RequestError(`Cannot use ${param}: ${needed}`, { param });
}
