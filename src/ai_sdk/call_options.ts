/**
 * The AI SDK's settings of a call in hadal's words; what has no word becomes a warning.
 * @module
 */
import type { LanguageModelV4CallOptions, SharedV4Warning } from "@ai-sdk/provider";
import { RequestError } from "../errors.ts";
import type { ChatOptions } from "../generate_options.ts";
import type { LanguageModel } from "../language_model.ts";
import type { Tool } from "../text/chat_message.ts";

/** Options that have a setting of their own in the AI SDK, or no meaning there. */
const ofTheSdk: readonly Exclude<keyof ChatOptions, keyof HadalOptions>[] = [
  "signal",
  "n",
  "tools",
  "toolChoice",
];

/**
 * What `providerOptions: { hadal: { … } }` takes: the options of a chat that the AI SDK has no word for,
 * such as `minP`, `repetitionPenalty` or `thinking`. They count where a setting says something else.
 */
export type HadalOptions = Omit<ChatOptions, "signal" | "n" | "tools" | "toolChoice">;

/** A call's settings as hadal has them. */
export interface CallSettings {
  readonly options: ChatOptions;
  readonly warnings: SharedV4Warning[];
}

/** @throws {RequestError} naming an option that `providerOptions.hadal` does not take */
export function settingsOf(call: LanguageModelV4CallOptions, model: LanguageModel): CallSettings {
  const warnings: SharedV4Warning[] = [];
  const own = call.providerOptions?.hadal ?? {};
  for (const name of ofTheSdk) {
    if (own[name] == null) continue;
    throw new RequestError(`Cannot use providerOptions.hadal.${name}: the AI SDK decides it`, {
      param: name,
    });
  }
  const tools = toolsOf(call, warnings);
  return {
    options: {
      maxTokens: call.maxOutputTokens,
      temperature: call.temperature,
      topK: call.topK,
      topP: call.topP,
      frequencyPenalty: call.frequencyPenalty,
      presencePenalty: call.presencePenalty,
      stop: call.stopSequences,
      seed: call.seed,
      ...formOf(call),
      tools,
      toolChoice: tools.length === 0 ? undefined : toolChoiceOf(call),
      reasoningEffort: effortOf(call, model, warnings),
      signal: call.abortSignal,
      ...own,
    },
    warnings,
  };
}

/** What the reply has to be. */
function formOf({ responseFormat }: LanguageModelV4CallOptions): ChatOptions {
  if (responseFormat?.type !== "json") return {};
  const jsonSchema = responseFormat.schema as ChatOptions["jsonSchema"];
  return jsonSchema === undefined ? { jsonObject: true } : { jsonSchema };
}

function toolsOf({ tools = [] }: LanguageModelV4CallOptions, warnings: SharedV4Warning[]): Tool[] {
  return tools.flatMap((tool): Tool[] => {
    if (tool.type !== "function") {
      warnings.push({ type: "unsupported", feature: `the provider's tool ${tool.id}` });
      return [];
    }
    const { name, description, inputSchema, strict } = tool;
    const parameters = inputSchema as Tool["function"]["parameters"];
    return [{ type: "function", function: { name, description, parameters, strict } }];
  });
}

function toolChoiceOf({ toolChoice }: LanguageModelV4CallOptions): ChatOptions["toolChoice"] {
  return toolChoice?.type === "tool" ? { name: toolChoice.toolName } : toolChoice?.type;
}

/** Some templates can be told how hard to think, some whether, and some neither. */
function effortOf(
  { reasoning = "provider-default" }: LanguageModelV4CallOptions,
  model: LanguageModel,
  warnings: SharedV4Warning[],
): ChatOptions["reasoningEffort"] {
  if (reasoning === "provider-default") return undefined;
  try {
    model.renderChat([{ role: "user", content: "" }], { reasoningEffort: reasoning });
    return reasoning;
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    warnings.push({ type: "unsupported", feature: "reasoning", details: error.message });
    return undefined;
  }
}
