/**
 * From what a caller writes to what the network reads: render, leave out what is too much, encode.
 * @module
 */
import { fitMessages, fitTokens, mostContexts, nAlike } from "./context_overflow.ts";
import { checkLength } from "./engine/check_request.ts";
import type { Task } from "./engine/sequence.ts";
import { RequestError, UnsupportedError } from "./errors.ts";
import { type ChatOptions, type ChatPlan, chatPlan, type GenerateOptions } from "./generate_options.ts";
import { checkMessages, type Message } from "./messages.ts";
import { type ModelText, textFor } from "./model_text.ts";
import type { ToolsForm } from "./reply_grammar.ts";
import { templateVariables } from "./template_variables.ts";
import { type ChatTemplate, closesThought, startsInThinking } from "./text/chat_template.ts";
import { encodeSegments, joinSegments, type Segment } from "./text/segments.ts";
import { callOpening } from "./text/tool_syntax.ts";

/** A prompt as the network reads it, and how the reply to it begins. */
export interface Prompt {
  readonly tokens: ArrayLike<number>;
  readonly reply: {
    readonly thinking: boolean;
    readonly startsInThinking: boolean;
    readonly continuesThought?: boolean;
    /** Thinking is off: a reply that has a form begins with it. */
    readonly isThoughtOff?: boolean;
    /** It begins with a thought, which the template leaves out of later turns. */
    readonly isForgotten?: boolean;
    /** Tokens of its thought, at most; null for as many as it takes. */
    readonly thoughtTokens: number | null;
    /** Calls may come; `opening` is what the prompt has written of the first. */
    readonly tools: (ToolsForm & { readonly opening: string }) | null;
  };
  readonly options: GenerateOptions;
  /** Tokens that went because the prompt was longer than the context. */
  readonly dropped: number;
}

/** Makes the prompts of one model. */
export class Prompts {
  readonly #text: ModelText | null;
  readonly #contextLength: number;

  /** @param text null for a model that reads token ids only */
  constructor(text: ModelText | null, contextLength: number) {
    this.#text = text;
    this.#contextLength = contextLength;
  }

  /** The prompt of a chat. */
  ofChat(messages: readonly Message[], options: ChatOptions): Prompt {
    const { plan, options: generate } = chatPlan(options);
    const { fitted, dropped, keepTokens } = this.#fitChat(messages, plan, generate);
    const { template, segments, tokens, opening } = this.render(fitted, plan);
    const syntax = plan.tools.length > 0 ? template.toolSyntax : null;
    const isInThought = plan.continues ? continuesThought(template, messages) : startsInThinking(segments);
    const reply = {
      thinking: template.thinks && opening === "" && (isInThought || !plan.continues),
      startsInThinking: isInThought,
      continuesThought: plan.continues && isInThought,
      isThoughtOff: isThoughtOff(template, segments, plan),
      isForgotten: isInThought && template.forgetsThoughts,
      thoughtTokens: plan.thoughtTokens,
      tools: syntax && {
        syntax,
        opening,
        tools: plan.callable,
        areSome: plan.callable.length < plan.tools.length,
        forced: plan.forced,
        oneCall: plan.oneCall,
      },
    };
    return { tokens, reply, options: { ...generate, keepTokens }, dropped };
  }

  /** The prompt of a text, or of token ids, to be continued. */
  ofText(prompt: string | ArrayLike<number>, options: GenerateOptions): Prompt {
    const reply = { thinking: false, startsInThinking: false, thoughtTokens: null, tools: null };
    if (options.contextOverflow !== "shift") {
      return { tokens: this.encode(prompt, "generate"), reply, options, dropped: 0 };
    }
    const whole = this.encode(prompt, "generate", mostContexts);
    const keepTokens = options.keepTokens ?? (whole[0] === this.#text?.tokenizer.bosId ? 1 : 0);
    const tokens = fitTokens(whole, this.#roomFor(options, keepTokens));
    return { tokens, reply, options: { ...options, keepTokens }, dropped: whole.length - tokens.length };
  }

  /**
   * What the chat template makes of messages.
   * @param contexts that the prompt may fill
   * @throws {RequestError} for messages that the template does not take, or a prompt beyond the contexts
   */
  render(messages: readonly Message[], plan: ChatPlan, contexts = 1, isToBeAnswered = true) {
    const { tools, forced, continues } = plan;
    const { tokenizer, template } = textFor(this.#text, "chat");
    if (template === null) throw new UnsupportedError("Cannot chat: the model has no chat template");
    if (tools.length > 0 && template.toolSyntax === null) {
      const problem = "the model's chat template writes no calls that are known";
      throw new RequestError(`Cannot use tools: ${problem}`, { param: "tools" });
    }
    const chat = checkMessages(messages);
    const segments = template.render(chat, {
      ...(tools.length > 0 ? { tools } : {}),
      variables: templateVariables(template, plan),
      continueFinal: continues,
      ...(isToBeAnswered ? {} : { addGenerationPrompt: false }),
    });
    let opening = "";
    if (forced !== null) {
      const nCalled = chat.reduce((sum, { toolCalls = [] }) => sum + toolCalls.length, 0);
      // A thought that the prompt has opened would hide the call.
      const closing = startsInThinking(segments) ? "</think>" : "";
      opening = callOpening(template.toolSyntax!, forced.name, nCalled);
      segments.push({ text: closing + opening, special: true });
    }
    this.#checkLength(tokenizer.leastTokens(joinSegments(segments)), "generate", contexts);
    return { template, segments, opening, tokens: encodeSegments(tokenizer, segments) };
  }

  /** A text with the token that texts begin with, or token ids as they are. */
  encode(prompt: string | ArrayLike<number>, task: Task["kind"], contexts = 1): ArrayLike<number> {
    const length: unknown = prompt?.length;
    if (typeof length !== "number" || !Number.isInteger(length) || length < 0) {
      throw new RequestError("Cannot read the prompt: a text or token ids are needed", { param: "prompt" });
    }
    if (typeof prompt !== "string") {
      checkLength(length, task, contexts * this.#contextLength); // before so many are copied
      return prompt;
    }
    const { tokenizer, addsBos } = textFor(this.#text, "read text, only token ids");
    this.#checkLength(tokenizer.leastTokens(prompt), task, contexts);
    const tokens = tokenizer.encode(prompt);
    return addsBos && tokenizer.bosId !== null ? [tokenizer.bosId, ...tokens] : tokens;
  }

  /** Leaves out the oldest turns of a chat that outgrows the context, where that is wanted. */
  #fitChat(messages: readonly Message[], plan: ChatPlan, options: GenerateOptions) {
    if (options.contextOverflow !== "shift") {
      return { fitted: messages, dropped: 0, keepTokens: options.keepTokens };
    }
    const { tokenizer } = textFor(this.#text, "chat");
    const tokensOf = (some: readonly Message[]) => this.render(some, plan, mostContexts).tokens;
    const whole = tokensOf(messages);
    const firstOther = messages.findIndex(({ role }) => role !== "system" && role !== "developer");
    const systems = messages.slice(0, Math.max(0, firstOther));
    const frame: Message[] = [...systems, { role: "user", content: "" }];
    const keepTokens = options.keepTokens ??
      Math.min(nAlike(whole, tokensOf(plan.continues ? messages : frame)), this.#contextLength - 2);
    const room = this.#roomFor(options, keepTokens);
    const lengthOf = ({ content, reasoning, toolCalls }: Message) =>
      tokenizer.encode(JSON.stringify([content, reasoning, toolCalls])).length;
    let fitted = messages, tokens = whole;
    while (true) { // lengths of messages alone are not quite those within the whole
      const fewer = fitMessages(fitted, tokens.length, room, lengthOf);
      if (fewer.length === fitted.length) break;
      [fitted, tokens] = [fewer, tokensOf(fewer)];
    }
    return { fitted, dropped: whole.length - tokens.length, keepTokens };
  }

  #roomFor({ maxTokens }: GenerateOptions, keepTokens: number) {
    return { contextLength: this.#contextLength, keepTokens, maxTokens: maxTokens ?? Infinity };
  }

  /** Refuses a text that can never fit before it is encoded: megabytes would hold this thread for seconds. */
  #checkLength(leastTokens: number, task: Task["kind"], contexts: number): void {
    checkLength(leastTokens, task, contexts * this.#contextLength, true);
  }
}

/** The same prompt, for a reply that has a form: all of it is the answer where thinking is off. */
export function underForm(prompt: Prompt): Prompt {
  return prompt.reply.isThoughtOff ? { ...prompt, reply: { ...prompt.reply, thinking: false } } : prompt;
}

/** The caller has turned thinking off, or the template does so where nobody says otherwise. */
function isThoughtOff(template: ChatTemplate, segments: readonly Segment[], plan: ChatPlan): boolean {
  if (plan.thinking !== null) return !plan.thinking;
  if (closesThought(segments)) return true;
  if (startsInThinking(segments) || template.thinkingSwitches().length === 0) return false;
  // After what a tool gave, templates say nothing of thoughts: after a question they do.
  const variables = templateVariables(template, plan);
  return closesThought(template.render([{ role: "user", content: "" }], { variables }));
}

/** The last message has begun a thought, and no answer. */
function continuesThought(template: ChatTemplate, messages: readonly Message[]): boolean {
  const [last] = checkMessages(messages.slice(-1));
  return template.thinks && last.role === "assistant" && (last.reasoning ?? "") !== "" && !last.content;
}
