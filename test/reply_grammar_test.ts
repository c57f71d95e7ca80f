import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { GrammarSource } from "../src/grammar/spec.ts";
import { TokenMasks } from "../src/grammar/token_masks.ts";
import { Vocabulary } from "../src/grammar/vocabulary.ts";
import { replyGrammar, type ToolsForm } from "../src/reply_grammar.ts";
import type { Tool } from "../src/text/chat_message.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { ToolCallParser } from "../src/text/tool_call_parser.ts";
import { callOpening, type ToolSyntax, toolSyntaxOf } from "../src/text/tool_syntax.ts";
import { matcherOf, randomFrom, write } from "./grammar/writing.ts";

const minnow = join(import.meta.dirname!, "../examples/minnow/tokenizer.json");
const tokenizer = Tokenizer.parse(readFileSync(minnow));
const vocabulary = new Vocabulary(tokenizer.vocabulary());
const masks = new TokenMasks(vocabulary);
const idsOf = (text: string) => tokenizer.encode(text, { special: true });

const source: GrammarSource = { type: "jsonSchema", schema: { enum: ["yes", "no"] } };
const silent = { thinking: false, startsInThinking: false, tools: null };

const parameters = {
  type: "object",
  properties: { city: { type: "string", maxLength: 6 }, days: { type: "integer", minimum: 1, maximum: 9 } },
  required: ["city", "days"],
  additionalProperties: false,
};
const toolOf = (name: string, strict?: boolean): Tool => ({
  type: "function",
  function: { name, parameters, strict },
});
const syntaxes: Record<string, ToolSyntax> = {
  v3: toolSyntaxOf("<｜tool▁calls▁begin｜> ```json")!,
  v31: toolSyntaxOf("<｜tool▁calls▁begin｜>")!,
  kimi: toolSyntaxOf("<|tool_calls_section_begin|>")!,
};

function formOf(syntax: ToolSyntax, forced: ToolsForm["forced"], oneCall: boolean, strict = true): ToolsForm {
  return { syntax, forced, oneCall, tools: [toolOf("weather", strict), toolOf("weather_later", strict)] };
}

/** Whether tokens may be written, and what holds after them. */
function after(spec: Parameters<typeof matcherOf>[0], text: string) {
  const matcher = matcherOf(spec, masks);
  for (const id of idsOf(text)) {
    if (!matcher.allows(id)) return null;
    matcher.advance(id);
  }
  return matcher;
}

test("an answer has its form, without a thought and after one", () => {
  const plain = replyGrammar(source, silent, tokenizer)!;
  assert.ok(after(plain, '"yes"')!.isFinished);
  assert.equal(after(plain, "<think>"), null);
  const inside = replyGrammar(source, { ...silent, thinking: true, startsInThinking: true }, tokenizer)!;
  assert.equal(after(inside, "I say {no}")!.accepts, false);
  assert.ok(after(inside, 'Let me see: "maybe"?</think>\n\n"no"')!.isFinished);
  assert.equal(after(inside, "Hm.</think>maybe"), null);
  const maybe = replyGrammar(source, { ...silent, thinking: true }, tokenizer)!;
  assert.ok(after(maybe, '<think>Well.</think>"no"')!.isFinished);
  assert.ok(after(maybe, '"no"')!.isFinished);
  assert.equal(after(maybe, "Well."), null);
});

for (const [name, syntax] of Object.entries(syntaxes)) {
  test(`${name}: forced calls are whole calls of tools that were offered, with arguments that fit`, () => {
    for (const forced of [{ name: null }, { name: "weather" }]) {
      for (let seed = 0; seed < 8; seed++) {
        const form = formOf(syntax, forced, forced.name !== null);
        const spec = replyGrammar(null, { ...silent, tools: form }, tokenizer)!;
        const { tokens, isWhole } = write(matcherOf(spec, masks), vocabulary, randomFrom(seed), 600);
        if (!isWhole) continue;
        const parser = new ToolCallParser(syntax, () => "id");
        const text = callOpening(syntax, forced.name) + tokenizer.decode(tokens);
        const parts = [...parser.push(text), ...parser.end()];
        assert.ok(parts.every(({ type }) => type === "toolCall"), text);
        const written = new Map<number, { name: string; json: string }>();
        for (const part of parts) {
          if (part.type !== "toolCall") continue;
          const call = written.get(part.call.index) ?? { name: part.call.name, json: "" };
          written.set(part.call.index, { ...call, json: call.json + part.text });
        }
        assert.ok(written.size >= 1);
        for (const call of written.values()) {
          assert.ok(["weather", "weather_later"].includes(call.name), call.name);
          const { city, days } = JSON.parse(call.json);
          assert.ok(typeof city === "string" && [...city].length <= 6 && days >= 1 && days <= 9, call.json);
        }
      }
    }
  });

  test(`${name}: a reply that may call a strict tool is free text, until a call begins`, () => {
    const spec = replyGrammar(null, { ...silent, tools: formOf(syntax, null, true) }, tokenizer)!;
    const text = after(spec, "It is <b>warm</b> {there}.")!;
    assert.ok(text.accepts && !text.isFinished);
    const opening = callOpening(syntax, "weather");
    const begun = after(spec, `Let me look.${opening}{"city": "Oslo"`)!;
    assert.equal(begun.accepts, false);
    assert.equal(after(spec, `${opening}{"town"`), null);
    assert.equal(after(spec, callOpening(syntax, "other")), null);
    const fence = syntax.isFenced ? "\n```" : "";
    const whole = after(spec, `${opening}{"city": "Oslo", "days": 3}${fence}${syntax.callEnd}${syntax.end}`)!;
    assert.ok(whole.isFinished);
  });

  test(`${name}: calls of a strict tool are held to it after a thought, whoever opens that, and not within`, () => {
    const tools = formOf(syntax, null, true);
    const opening = callOpening(syntax, "weather");
    for (const startsInThinking of [true, false]) {
      const spec = replyGrammar(null, { thinking: true, startsInThinking, tools }, tokenizer)!;
      const thought = `${startsInThinking ? "" : "<think>"}I could say ${opening}{"town": 1, or so.</think>`;
      assert.ok(after(spec, thought)!.accepts);
      assert.notEqual(after(spec, `${thought}\n\nWell: ${opening}{"city": "Oslo"`), null);
      assert.equal(after(spec, `${thought}\n\nWell: ${opening}{"town"`), null);
    }
    const spec = replyGrammar(null, { thinking: true, startsInThinking: false, tools }, tokenizer)!;
    assert.equal(after(spec, `Well: ${opening}{"town"`), null, "without a thought");
  });
}

test("where only some tools may be called, no other call begins, and text stays free", () => {
  for (const [name, syntax] of Object.entries(syntaxes)) {
    const tools = { ...formOf(syntax, null, false, false), tools: [toolOf("weather")], areSome: true };
    for (const thinking of [false, true]) {
      const spec = replyGrammar(null, { ...silent, thinking, tools }, tokenizer)!;
      assert.ok(after(spec, "It is warm.")!.accepts, name);
      assert.notEqual(after(spec, `Well: ${callOpening(syntax, "weather")}{`), null, name);
      assert.equal(after(spec, `Well: ${callOpening(syntax, "weather_later")}`), null, name);
    }
    const forced = replyGrammar(null, { ...silent, tools: { ...tools, forced: { name: null } } }, tokenizer)!;
    assert.equal(after(forced, "weather_later"), null, name);
    assert.notEqual(after(forced, "weather"), null, name);
  }
});

test("tools that are not strict leave a reply free, unless the answer has a form", () => {
  const tools = formOf(syntaxes.v31, null, false, false);
  assert.equal(replyGrammar(null, { ...silent, tools }, tokenizer), null);
  const spec = replyGrammar(source, { ...silent, tools }, tokenizer)!;
  assert.ok(after(spec, '"yes"')!.isFinished);
  assert.notEqual(after(spec, `${callOpening(syntaxes.v31, "weather")}{`), null);
  assert.equal(after(spec, "Well"), null);
});

test("parameters that cannot be enforced leave any object to a tool that is not strict, and refuse a strict one", () => {
  const odd = { type: "object", properties: { a: { not: { const: 1 } } } };
  const tool = (strict: boolean): Tool => ({
    type: "function",
    function: { name: "f", parameters: odd, strict },
  });
  const specOf = (strict: boolean) => {
    const tools = { syntax: syntaxes.v31, forced: { name: "f" }, oneCall: true, tools: [tool(strict)] };
    return replyGrammar(null, { ...silent, tools }, tokenizer)!;
  };
  assert.notEqual(after(specOf(false), '{"a": 1, "b": [2]}'), null);
  assert.throws(() => after(specOf(true), "{"), /#\/properties\/a\/not/);
});
