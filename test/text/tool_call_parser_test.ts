import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ToolCallParser, type ToolPart } from "../../src/text/tool_call_parser.ts";
import { callOpening, type ToolSyntax, toolSyntaxOf } from "../../src/text/tool_syntax.ts";

const begin = "<｜tool▁calls▁begin｜>", callBegin = "<｜tool▁call▁begin｜>", sep = "<｜tool▁sep｜>";
const callEnd = "<｜tool▁call▁end｜>", end = "<｜tool▁calls▁end｜>";

const v3 = toolSyntaxOf(`${begin}\`\`\`json`)!, v31 = toolSyntaxOf(begin)!;
const kimi = toolSyntaxOf("<|tool_calls_section_begin|>")!;

/** Text, then name and arguments of each call, however the pieces came. */
function parse(syntax: ToolSyntax, pieces: readonly string[]): { text: string; calls: string[][] } {
  let nIds = 0;
  const parser = new ToolCallParser(syntax, () => `id${nIds++}`);
  const parts: ToolPart[] = [...pieces.flatMap((piece) => parser.push(piece)), ...parser.end()];
  let text = "";
  const calls: string[][] = [];
  for (const part of parts) {
    if (part.type === "text") text += part.text;
    else (calls[part.call.index] ??= [part.call.id, part.call.name, ""])[2] += part.text;
  }
  return { text, calls };
}

/** Cuts a text into pieces at the places that a list of numbers says. */
function cut(text: string, places: readonly number[]): string[] {
  const at = [...new Set(places.map((place) => place % (text.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((from, i) => text.slice(from, at[i] ?? text.length));
}

const args = ['{"city": "Paris"}', '{\n  "text": "a ``` b",\n  "n": 3\n}'];
const written: Readonly<Record<string, readonly [ToolSyntax, string, readonly string[]]>> = {
  "V3 and R1": [
    v3,
    `I look.\n${begin}` +
    args.map((each, i) => `${callBegin}function${sep}tool_${i}\n\`\`\`json\n${each}\n\`\`\`${callEnd}`).join(
      "\n",
    ) +
    end,
    ["id0", "id1"],
  ],
  "V3.1": [
    v31,
    `I look.${begin}${args.map((each, i) => `${callBegin}tool_${i}${sep}${each}${callEnd}`).join("")}${end}`,
    ["id0", "id1"],
  ],
  Kimi: [
    kimi,
    "I look. <|tool_calls_section_begin|>" +
    args.map((each, i) =>
      `<|tool_call_begin|>functions.tool_${i}:${i}<|tool_call_argument_begin|>${each}<|tool_call_end|>`
    ).join("") +
    "<|tool_calls_section_end|>",
    ["functions.tool_0:0", "functions.tool_1:1"],
  ],
};

for (const [name, [syntax, text, ids]] of Object.entries(written)) {
  test(`calls as ${name} write them are told from the text, in whatever pieces they come`, () => {
    const expected = { text: "I look.", calls: args.map((each, i) => [ids[i], `tool_${i}`, each]) };
    assert.deepEqual(parse(syntax, [text]), expected);
    assert.deepEqual(parse(syntax, [...text]), expected);
    fc.assert(fc.property(fc.array(fc.nat(), { maxLength: 12 }), (places) => {
      assert.deepEqual(parse(syntax, cut(text, places)), expected);
    }));
  });

  test(`a call as ${name} write it may be begun by the prompt`, () => {
    const open = parse(syntax, [callOpening(syntax, "tool_0"), args[0]]);
    assert.deepEqual(open.calls.map(([, ...call]) => call), [["tool_0", args[0]]]);
    assert.equal(open.text, "");
  });
}

test("text without calls passes as it is, and nothing is held back for long", () => {
  fc.assert(fc.property(fc.array(fc.string()), (pieces) => {
    const text = pieces.join("");
    assert.deepEqual(parse(v3, pieces), { text, calls: [] });
  }));
  const parser = new ToolCallParser(v3, () => "id");
  assert.deepEqual(parser.push("a < b <｜to"), [{ type: "text", text: "a < b" }]);
  assert.deepEqual(parser.push("p"), [{ type: "text", text: " <｜top" }]);
});

test("a reply that ends inside a call gives the arguments so far", () => {
  const text = `${begin}${callBegin}function${sep}look\n\`\`\`json\n{"a": [1, 2`;
  assert.deepEqual(parse(v3, [text]).calls, [["id0", "look", '{"a": [1, 2']]);
});

test("a reply that ends inside a call's name has no such call, nor its marks as text", () => {
  assert.deepEqual(parse(v3, [`Yes.${begin}${callBegin}function${sep}loo`]), { text: "Yes.", calls: [] });
  assert.deepEqual(parse(v31, [callOpening(v31, null), "loo"]), { text: "", calls: [] });
});

test("a head that never ends is text after all, not memory without bound", () => {
  const text = "x".repeat(600);
  assert.equal(parse(v31, [callBegin, text]).text, callBegin + text);
});

test("calls that have ended are counted", () => {
  const parser = new ToolCallParser(v31, () => "id");
  parser.push(`${begin}${callBegin}look${sep}{}`);
  assert.equal(parser.nEnded, 0);
  parser.push(callEnd);
  assert.equal(parser.nEnded, 1);
});
