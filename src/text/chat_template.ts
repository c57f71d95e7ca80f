/**
 * Messages to a prompt, as the model's `tokenizer_config.json` says. Templates that are known are native
 * code; all others are Jinja, run with bounded cost.
 * @module
 */
import { CheckpointError, RequestError } from "../errors.ts";
import { type ChatMessage, type TemplateMessage, templateMessage, type Tool } from "./chat_message.ts";
import { type ChatFormat, own, said, type SentenceTokens } from "./chat_format.ts";
import { JinjaTemplate } from "./jinja.ts";
import { endOfLast, toolsPlace, upToEnd, withTools } from "./places.ts";
import { publishedFormat } from "./published_formats.ts";
import { joinSegments, type Segment } from "./segments.ts";
import { Shield } from "./shield.ts";
import { readTokenizerConfig } from "./tokenizer_config.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { toolInstructions, type ToolSyntax, toolSyntaxOf } from "./tool_syntax.ts";

export interface RenderOptions {
  /** End the prompt where the assistant begins to write; true by default, false with `continueFinal`. */
  readonly addGenerationPrompt?: boolean;
  /** End the prompt inside the last message, so that the model continues it: its text, or its thought. */
  readonly continueFinal?: boolean;
  readonly tools?: readonly Tool[];
  /** More variables of the template, such as `thinking`; the names of its own cannot be given. */
  readonly variables?: Readonly<Record<string, string | number | boolean | null>>;
  /** For templates that write the date. */
  readonly now?: Date;
}

const roles = new Set(["system", "user", "assistant", "tool", "developer"]);
const reserved = new Set(["messages", "tools", "add_generation_prompt", "bos_token", "eos_token"]);

export class ChatTemplate {
  /** Replies may begin with a thought between `<think>` and `</think>`. */
  readonly thinks: boolean;
  /** Earlier turns are written without their thoughts. */
  readonly forgetsThoughts: boolean;
  /** How the model writes calls of tools; null where it was not taught to, or in a way that is not known. */
  readonly toolSyntax: ToolSyntax | null;
  readonly #format: ChatFormat | null;
  readonly #source: string;
  readonly #shield: Shield;
  readonly #tokens: SentenceTokens;
  #jinja: JinjaTemplate | null = null;

  private constructor(source: string, tokens: SentenceTokens, tokenizer: Tokenizer) {
    this.thinks = source.includes("<think>") || source.includes("</think>");
    this.forgetsThoughts = !source.includes("reasoning_content");
    this.toolSyntax = toolSyntaxOf(source);
    this.#source = source;
    this.#tokens = tokens;
    this.#shield = new Shield(tokenizer.addedTokenEdges);
    this.#format = publishedFormat(source, tokens);
  }

  /**
   * @param tokenizerConfigJson the text of `tokenizer_config.json`
   * @param jinja the text of `chat_template.jinja`, which newer models have beside it
   * @returns null for a model that has no chat template
   * @throws {CheckpointError} for a file that is damaged; a damaged template is found when it is rendered
   */
  static parse(
    tokenizerConfigJson: string | null,
    tokenizer: Tokenizer,
    jinja: string | null = null,
  ): ChatTemplate | null {
    const { chatTemplate, bosToken, eosToken } = readTokenizerConfig(tokenizerConfigJson);
    const source = jinja ?? chatTemplate;
    if (source === null) return null;
    return new ChatTemplate(source, { bos: bosToken ?? "", eos: eosToken ?? "" }, tokenizer);
  }

  /** True where the template is one of DeepSeek's and not run as Jinja. */
  get isNative(): boolean {
    return this.#format !== null;
  }

  /** Those of the names that the template asks for as variables. */
  variablesAmong(names: readonly string[]): string[] {
    return names.filter((name) =>
      /^\w+$/.test(name) && new RegExp(`(?<![\\w.'"])${name}(?![\\w'"])`).test(this.#source)
    );
  }

  /** What the template calls the choice between thinking and not. */
  thinkingSwitches(): string[] {
    return this.variablesAmong(["thinking", "enable_thinking"]);
  }

  /** Between its tags a thought stands on lines of its own, as R1 writes it, or not, as V3.1 does. */
  get #thoughtHasLines(): boolean {
    return !this.#source.includes("<think>") || /<think>(\n|\\n)/.test(this.#source);
  }

  /**
   * @throws {RequestError} for messages that the template does not take, {CheckpointError} for a template
   * that is not Jinja
   */
  render(messages: readonly ChatMessage[], options: RenderOptions = {}): Segment[] {
    const { tools = [], continueFinal = false } = options;
    const syntax = tools.length > 0 && this.variablesAmong(["tools"]).length === 0 ? this.toolSyntax : null;
    if (syntax !== null && messages.some(({ content }) => content?.includes(toolsPlace))) {
      throw badMessages("a message holds U+FDD2, which is no character");
    }
    const told = syntax === null ? messages : withToolsPlace(messages);
    const segments = continueFinal ? this.#continue(told, options) : this.#render(told, options);
    if (syntax === null) return segments;
    const described = withTools(segments, toolInstructions(syntax, tools));
    if (described === null) {
      throw badMessages("the template leaves out the system prompt, which tells of tools");
    }
    return described;
  }

  /** Ends inside the last message. Its thought, which templates leave out, is written behind the prompt. */
  #continue(messages: readonly ChatMessage[], options: RenderOptions): Segment[] {
    const last = messages.at(-1);
    const { content = null, reasoning = "" } = last ?? {};
    const continuesThought = this.thinks && last?.role === "assistant" && reasoning !== "";
    if (options.addGenerationPrompt === true || (!continuesThought && !content)) {
      throw badMessages("only a last message with text can be continued, without a generation prompt");
    }
    if (!continuesThought) {
      const marked = { ...last!, content: `${content}${endOfLast}` };
      const segments = upToEnd(this.#render([...messages.slice(0, -1), marked], options));
      if (segments !== null) return segments;
      throw badMessages("the template leaves out the last message, which therefore cannot be continued");
    }
    const switches = Object.fromEntries(this.thinkingSwitches().map((name) => [name, true]));
    const variables = { ...options.variables, ...switches };
    const prompt = this.#render(messages.slice(0, -1), { ...options, variables, addGenerationPrompt: true });
    const line = this.#thoughtHasLines ? "\n" : "";
    const opening = startsInThinking(prompt) ? "" : `<think>${line}`;
    const answer = content ? [own(`${line}</think>${line}${line}`), said(content)] : [];
    return [...prompt, own(opening), said(reasoning), ...answer];
  }

  #render(messages: readonly ChatMessage[], options: RenderOptions): Segment[] {
    const ofTemplate = messages.map((message) => {
      if (roles.has(message.role)) return templateMessage(message);
      throw badMessages(
        `a message has the role ${JSON.stringify(message.role)}, one of ${[...roles].join(", ")} is needed`,
      );
    });
    const { tools = [], variables = {}, continueFinal = false } = options;
    const generate = options.addGenerationPrompt ?? !continueFinal;
    const isKnown = Object.entries(variables).every(([name, value]) =>
      name === "thinking" && typeof value === "boolean"
    );
    if (this.#format === null || !isKnown) return this.#renderJinja(ofTemplate, generate, options);
    const thinking = (variables.thinking ?? null) as boolean | null;
    return this.#format.render(ofTemplate, { generate, thinking, tools });
  }

  #renderJinja(messages: readonly TemplateMessage[], generate: boolean, options: RenderOptions): Segment[] {
    this.#jinja ??= this.#compile();
    const clash = Object.keys(options.variables ?? {}).find((name) => reserved.has(name));
    if (clash !== undefined) throw badMessages(`the template's own ${clash} cannot be given`);
    const shield = this.#shield;
    const variables = {
      ...shield.cover(options.variables ?? {}),
      messages: messages.map((message) => shield.cover(message)),
      ...(options.tools === undefined ? {} : { tools: shield.cover(options.tools) }),
      add_generation_prompt: generate,
      bos_token: this.#tokens.bos,
      eos_token: this.#tokens.eos,
    };
    try {
      return shield.uncover(this.#jinja.render(variables, options.now));
    } catch (error) {
      const { message } = error as Error; // may quote a message
      throw new RequestError(joinSegments(shield.uncover(message)), { param: "messages" });
    }
  }

  #compile(): JinjaTemplate {
    try {
      return new JinjaTemplate(this.#source, (text) => this.#shield.cover(text));
    } catch (error) {
      throw new CheckpointError("tokenizer_config.json", `its chat_template: ${(error as Error).message}`);
    }
  }
}

/** The system prompt says what the template does not. */
function withToolsPlace(messages: readonly ChatMessage[]): ChatMessage[] {
  // Some templates read the last system prompt alone.
  const at = messages.findLastIndex(({ role }) => role === "system" || role === "developer");
  if (at < 0) return [{ role: "system", content: toolsPlace }, ...messages];
  const content = [messages[at].content ?? "", toolsPlace].filter((text) => text !== "").join("\n\n");
  return messages.with(at, { ...messages[at], content });
}

/** The prompt leaves a thought open, so that the reply begins inside it. */
export function startsInThinking(segments: readonly Segment[]): boolean {
  const last = segments.at(-1);
  return last !== undefined && last.special && last.text.trimEnd().endsWith("<think>");
}

/** The prompt has closed a thought that is none, so that the reply begins with its answer. */
export function closesThought(segments: readonly Segment[]): boolean {
  const last = segments.at(-1);
  return last !== undefined && last.special && last.text.trimEnd().endsWith("</think>");
}

function badMessages(problem: string): RequestError {
  return new RequestError(`Cannot render the chat: ${problem}`, { param: "messages" });
}
