/**
 * From what a caller asks of a reply to what the engine is told of it: a reply may think first, and may
 * call tools, whose calls have a form of their own.
 * @module
 */
import type { GrammarSource, GrammarSpec, Mark, ThoughtLimit } from "./grammar/spec.ts";
import type { Tool } from "./text/chat_message.ts";
import { thinkingTags } from "./text/reply_parser.ts";
import type { Tokenizer } from "./text/tokenizer.ts";
import type { ToolSyntax } from "./text/tool_syntax.ts";

/** What is known of a reply before it is written. */
export interface ReplyForm {
  /** It may think before it answers. */
  readonly thinking: boolean;
  /** The prompt has opened the thought. */
  readonly startsInThinking: boolean;
  readonly tools: ToolsForm | null;
}

/** The calls that may come. */
export interface ToolsForm {
  readonly syntax: ToolSyntax;
  readonly tools: readonly Tool[];
  /** The prompt tells of others, which may not be called. */
  readonly areSome?: boolean;
  /** The prompt has begun the first call: of this tool, or of one that the model names. */
  readonly forced: { readonly name: string | null } | null;
  readonly oneCall: boolean;
}

/**
 * What a reply has to be, or null for anything. Calls that are forced always have their form; others where
 * a tool is strict, not all may be called, or the answer has a form, so that one cannot be taken for the other.
 * @param source what the answer has to be, or null
 */
export function replyGrammar(
  source: GrammarSource | null,
  form: ReplyForm,
  tokenizer: Tokenizer,
): GrammarSpec | null {
  const spell = new Speller(tokenizer);
  const answer: GrammarSpec | null = source && { kind: "source", source };
  const { tools } = form;
  if (tools === null) return answer && afterThought(answer, form, spell);
  if (tools.forced !== null) return forcedCalls(tools, tools.forced.name, spell);
  const isFree = !tools.areSome && !tools.tools.some((tool) => tool.function.strict);
  if (answer === null && isFree) return null;
  const calls = sequence(spell.all(tools.syntax.begin), anyCalls(tools, spell));
  if (answer !== null) return afterThought(choice(answer, calls), form, spell);
  const begin = spell.one(tools.syntax.begin);
  const free = choice(
    { kind: "without", mark: begin },
    sequence({ kind: "until", mark: begin }, anyCalls(tools, spell)),
  );
  if (!form.thinking) return free;
  const thought = untilEndOfThought(spell);
  if (form.startsInThinking) return sequence(thought, free);
  // What a thought says of a call is none.
  return choice(sequence(spell.all(thinkingTags.opening), thought, free), free);
}

/**
 * What the engine is told of a reply whose thought may have so many tokens; null where it thinks nothing.
 * @param maxTokens of the thought
 */
export function thoughtLimit(
  maxTokens: number,
  { thinking, startsInThinking }: Pick<ReplyForm, "thinking" | "startsInThinking">,
  tokenizer: Tokenizer,
): ThoughtLimit | null {
  if (!thinking) return null;
  const { opening, closing } = thinkingTags, spell = new Speller(tokenizer);
  return {
    maxTokens,
    opening: startsInThinking ? null : spell.one(opening),
    closing: spell.one(closing),
    closingTokens: [...tokenizer.encode(closing, { special: true })],
  };
}

const sequence = (...items: readonly GrammarSpec[]): GrammarSpec => ({ kind: "sequence", items });
const choice = (...items: readonly GrammarSpec[]): GrammarSpec => ({ kind: "choice", items });
/** Between two calls, and after a thought. */
const lineBreaks = (most: number): GrammarSpec => ({ kind: "lineBreaks", most });

function afterThought(answer: GrammarSpec, form: ReplyForm, spell: Speller): GrammarSpec {
  if (!form.thinking) return answer;
  const thought = sequence(untilEndOfThought(spell), lineBreaks(2));
  if (form.startsInThinking) return sequence(thought, answer);
  const whole = sequence(spell.all(thinkingTags.opening), thought);
  return sequence({ kind: "repeat", item: whole, min: 0, max: 1 }, answer);
}

const untilEndOfThought = (spell: Speller): GrammarSpec => ({
  kind: "until",
  mark: spell.one(thinkingTags.closing),
});

/** What is left of calls whose first one the prompt has begun. */
function forcedCalls(form: ToolsForm, name: string | null, spell: Speller): GrammarSpec {
  const { tools } = form;
  const first = name === null
    ? choice(...tools.map((tool) => namedCall(tool, form, spell)))
    : callArguments(tools.find((tool) => tool.function.name === name)!, form, spell);
  return sequence(first, moreCalls(form, spell));
}

function anyCalls(form: ToolsForm, spell: Speller): GrammarSpec {
  return sequence(wholeCall(form, spell), moreCalls(form, spell));
}

function moreCalls(form: ToolsForm, spell: Speller): GrammarSpec {
  const more = sequence(lineBreaks(1), wholeCall(form, spell));
  const others: GrammarSpec[] = form.oneCall ? [] : [{ kind: "repeat", item: more, min: 0, max: null }];
  return sequence(...others, lineBreaks(1), spell.all(form.syntax.end));
}

function wholeCall(form: ToolsForm, spell: Speller): GrammarSpec {
  const { callBegin, nameAfter } = form.syntax;
  return sequence(
    spell.all(callBegin + nameAfter),
    choice(...form.tools.map((tool) => namedCall(tool, form, spell))),
  );
}

/** From a tool's name on. */
function namedCall(tool: Tool, form: ToolsForm, spell: Speller): GrammarSpec {
  const { headEnd, isFenced, hasIds } = form.syntax;
  const index: GrammarSpec = { kind: "source", source: { type: "regex", pattern: ":[0-9]{1,4}" } };
  return sequence(
    spell.all(tool.function.name),
    ...(hasIds ? [index] : []),
    spell.all(isFenced ? `\n${headEnd}\n` : headEnd),
    callArguments(tool, form, spell),
  );
}

/** From a tool's arguments on. */
function callArguments({ function: tool }: Tool, form: ToolsForm, spell: Speller): GrammarSpec {
  const { callEnd, isFenced } = form.syntax;
  const schema = tool.parameters ?? {};
  return sequence(
    { kind: tool.strict ? "strictArguments" : "looseArguments", schema },
    spell.all(isFenced ? `\n\`\`\`${callEnd}` : callEnd),
  );
}

/** Writes marks as the model does: with tokens of their own where it has them. */
class Speller {
  readonly #tokenizer: Tokenizer;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** A mark that is looked for in other text. */
  one(mark: string): Mark {
    const parts = this.#tokenizer.splitAdded(mark);
    return parts.length === 1 && typeof parts[0] === "number" ? { token: parts[0] } : { text: mark };
  }

  /** A text with marks in it. */
  all(text: string): GrammarSpec {
    return sequence(
      ...this.#tokenizer.splitAdded(text).map((part): GrammarSpec => ({
        kind: "mark",
        mark: typeof part === "number" ? { token: part } : { text: part },
      })),
    );
  }
}
