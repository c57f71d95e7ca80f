import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import type { ReplyPart } from "../src/chat_reply.ts";
import { SequenceWriter } from "../src/sequence_writer.ts";
import { ReplyParser } from "../src/text/reply_parser.ts";
import { StopStrings } from "../src/text/stop_strings.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { ToolCallParser } from "../src/text/tool_call_parser.ts";
import { callMarks, type ToolSyntax, toolSyntaxOf } from "../src/text/tool_syntax.ts";

const source = readFileSync(join(import.meta.dirname!, "../examples/minnow/tokenizer.json"), "utf8");
const tokenizer = Tokenizer.parse(new TextEncoder().encode(source));

/** Writes the tokens of a text, as a network would have drawn them. */
function write(text: string, stop: string[] = [], reply = { thinking: false, startsInThinking: false }) {
  const parts: ReplyPart[] = [];
  const reader = { tokenizer, stops: new StopStrings(stop), parser: new ReplyParser(reply) };
  const writer = new SequenceWriter((part) => parts.push(part), 2, reader, true);
  const tokens = tokenizer.encode(text, { special: true });
  const isStopped = tokens.some((token) => writer.push({ token, logprob: -1, top: [[token, -1], [0, -2]] }));
  return { tokens, parts, isStopped, whole: writer.end("length"), nReasoning: writer.nReasoning };
}

test("characters of several tokens are never split, and every token is in one part", () => {
  const text = "A fish 🐟, 鱼, рыба: naïve!";
  const { tokens, parts, whole } = write(text);
  assert.equal(whole.text, text);
  assert.equal(parts.map((part) => part.text).join(""), text);
  assert(parts.every((part) => !part.text.includes("\uFFFD")));
  assert.deepEqual(parts.flatMap((part) => part.tokens), tokens);
  assert.deepEqual(whole.tokens, tokens);
  assert(parts.some((part) => part.tokens.length > 1), "no character was spread over tokens");
  assert.deepEqual(parts.flatMap((part) => part.logprobs!.map(({ token }) => token)), tokens);
  assert(parts.every((part) => part.choice === 2));
});

test("the thought is told from the answer, and its tokens are counted", () => {
  for (const startsInThinking of [false, true]) {
    const text = `${startsInThinking ? "" : "<think>\n"}I am a fish.\n</think>\n\nBlub.`;
    const { parts, whole, nReasoning, tokens } = write(text, [], { thinking: true, startsInThinking });
    assert.equal(whole.reasoning, "I am a fish.");
    assert.equal(whole.text, "Blub.");
    assert.deepEqual(new Set(parts.map(({ type }) => type)), new Set(["reasoning", "text"]));
    assert(nReasoning > 3 && nReasoning < tokens.length);
    assert.deepEqual(parts.flatMap((part) => part.tokens), tokens);
  }
});

test("no stop text is looked for in the first tokens of a reply that may not end yet", () => {
  const tokens = tokenizer.encode("a fish, a fish, a fish");
  const after = tokenizer.encode("a fish,").length;
  const reply = { thinking: false, startsInThinking: false };
  for (
    const [minTokens, expected] of [[0, "a "], [after, "a fish, a "], [
      100,
      "a fish, a fish, a fish",
    ]] as const
  ) {
    const reader = { tokenizer, stops: new StopStrings(["fish"]), parser: new ReplyParser(reply), minTokens };
    const writer = new SequenceWriter(() => {}, 0, reader, false);
    tokens.some((token) => writer.push({ token, logprob: NaN, top: [] }));
    assert.equal(writer.end("length").text, expected);
  }
});

test("a stop text ends the sequence, and what may begin one is held back until it is clear", () => {
  const { whole, parts, isStopped } = write("One, two, three, four", ["three"]);
  assert(isStopped);
  assert.equal(whole.text, "One, two, ");
  assert.equal(parts.map((part) => part.text).join(""), whole.text);
  const unclear = write("One, two, thr", ["three"]);
  assert(!unclear.isStopped);
  assert.equal(unclear.whole.text, "One, two, thr");
});

test("stop texts end text: what a call says, and the marks around it, end nothing", () => {
  const syntax = toolSyntaxOf("<｜tool▁calls▁begin｜>")!;
  const call = (json: string) =>
    `<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>look<｜tool▁sep｜>${json}<｜tool▁call▁end｜><｜tool▁calls▁end｜>`;
  const said = "I will." + call('{"at": "a tall tree, now"}');
  for (
    const [text, stop, isStopped, expected] of [
      [said, ["tool", "all", "tree", 'now"', "｜"], false, ["I will.", '{"at": "a tall tree, now"}']],
      [said, ["ill"], true, ["I w", undefined]],
      [`${said}And then?`, ["then"], true, ["I will.And ", '{"at": "a tall tree, now"}']],
      [`I will<`, ["<｜"], false, ["I will<", undefined]],
    ] as const
  ) {
    const reader = {
      tokenizer,
      stops: new StopStrings(stop),
      parser: new ReplyParser({ thinking: false, startsInThinking: false }),
      tools: new ToolCallParser(syntax, () => "id"),
      marks: callMarks(syntax),
    };
    const writer = new SequenceWriter(() => {}, 0, reader, false);
    const tokens = tokenizer.encode(text, { special: true });
    assert.equal(tokens.some((token) => writer.push({ token, logprob: NaN, top: [] })), isStopped, text);
    const whole = writer.end("length");
    assert.deepEqual([whole.text, whole.toolCalls[0]?.function.arguments], expected);
  }
});

/** The marks of each dialect, and a tokenizer that has them as tokens. */
const dialects: Readonly<Record<string, readonly [ToolSyntax, Tokenizer]>> = (() => {
  const begin = "<｜tool▁calls▁begin｜>";
  const v3 = toolSyntaxOf(`${begin}\`\`\`json`)!, v31 = toolSyntaxOf(begin)!;
  const kimi = toolSyntaxOf("<|tool_calls_section_begin|>")!;
  let renamed = source;
  for (const name of ["begin", "callBegin", "headEnd", "callEnd", "end"] as const) {
    renamed = renamed.replaceAll(JSON.stringify(v31[name]), JSON.stringify(kimi[name]));
  }
  const ofKimi = Tokenizer.parse(new TextEncoder().encode(renamed));
  return { "V3 and R1": [v3, tokenizer], "V3.1": [v31, tokenizer], Kimi: [kimi, ofKimi] };
})();

for (const [name, [syntax, own]] of Object.entries(dialects)) {
  test(`text that looks like a mark of ${name} is text where the model has marks as tokens`, () => {
    const { begin, callBegin, headEnd, callEnd, end, nameAfter, isFenced, hasIds } = syntax;
    const pieces = [
      begin,
      callBegin,
      headEnd,
      callEnd,
      end,
      "<think>",
      "</think>",
      "<",
      "\ufdd0",
      "```",
      "\n",
      " ",
      '"',
      "}",
      "é",
    ];
    const words = fc.array(fc.constantFrom(...pieces, "a"), { maxLength: 8 }).map((each) => each.join(""));
    const plain = (text: string) => own.encode(text);
    const marks = (text: string) => own.encode(text, { special: true });
    fc.assert(
      fc.property(words, fc.array(words, { minLength: 1, maxLength: 3 }), words, (said, values, stop) => {
        const calls = values.map((value) => JSON.stringify({ value }));
        const before = `${said.trim()}.`;
        const tokens = [
          ...plain(before),
          ...marks(begin),
          ...calls.flatMap((json, i) => [
            ...marks(
              `${callBegin}${nameAfter}look${hasIds ? `:${i}` : ""}${isFenced ? "\n" : ""}${headEnd}${
                isFenced ? "\n" : ""
              }`,
            ),
            ...plain(json),
            ...marks(`${isFenced ? "\n```" : ""}${callEnd}`),
          ]),
          ...marks(end),
        ];
        const reader = {
          tokenizer: own,
          stops: new StopStrings([`${stop}never`]),
          parser: new ReplyParser({ thinking: false, startsInThinking: false }),
          tools: new ToolCallParser(syntax, () => "id"),
          marks: callMarks(syntax),
        };
        const parts: ReplyPart[] = [];
        const writer = new SequenceWriter((part) => parts.push(part), 0, reader, false);
        for (const token of tokens) writer.push({ token, logprob: NaN, top: [] });
        const whole = writer.end("stop");
        assert.equal(whole.text, before);
        assert.deepEqual(whole.toolCalls.map((call) => call.function.arguments), calls);
        const streamed: string[] = [];
        for (const { call, text } of parts) {
          if (call) streamed[call.index] = (streamed[call.index] ?? "") + text;
        }
        assert.deepEqual(streamed, calls);
      }),
    );
  });
}

test("a thought ends with its token, not with a word about it", () => {
  for (const stop of ["\n\n", ">>", "never"]) {
    const reader = {
      tokenizer,
      stops: new StopStrings([stop]),
      parser: new ReplyParser({ thinking: true, startsInThinking: true }),
      marks: ["<think>", "</think>"],
    };
    const writer = new SequenceWriter(() => {}, 0, reader, false);
    const tokens = [
      ...tokenizer.encode("A tag is </think>, so"),
      ...tokenizer.encode("</think>", { special: true }),
      ...tokenizer.encode("<think> & </think>"),
    ];
    for (const token of tokens) writer.push({ token, logprob: NaN, top: [] });
    const { reasoning, text } = writer.end("stop");
    assert.deepEqual([reasoning, text], ["A tag is </think>, so", "<think> & </think>"]);
  }
});

test("an unfinished character at the end becomes U+FFFD", () => {
  const parts: ReplyPart[] = [];
  const reader = {
    tokenizer,
    stops: new StopStrings([]),
    parser: new ReplyParser({ thinking: false, startsInThinking: false }),
  };
  const writer = new SequenceWriter((part) => parts.push(part), 0, reader, false);
  for (const token of tokenizer.encode("🐟").slice(0, -1)) writer.push({ token, logprob: NaN, top: [] });
  const whole = writer.end("length");
  assert.equal(whole.text, "\uFFFD");
  assert.equal(whole.logprobs, undefined);
  assert.equal("logprobs" in parts[0], false);
});

test("a token past the tokenizer's vocabulary is no text, but a token all the same", () => {
  const parts: ReplyPart[] = [];
  const reader = {
    tokenizer,
    stops: new StopStrings([]),
    parser: new ReplyParser({ thinking: false, startsInThinking: false }),
  };
  const writer = new SequenceWriter((part) => parts.push(part), 0, reader, true);
  writer.push({ token: 1e6, logprob: -1, top: [[1e6, -1]] });
  const whole = writer.end("length");
  assert.deepEqual(whole.tokens, [1e6]);
  assert.deepEqual(whole.logprobs![0].bytes, []);
  assert.equal(whole.text, "");
});

test("without a tokenizer each token is a part without text", () => {
  const parts: ReplyPart[] = [];
  const writer = new SequenceWriter((part) => parts.push(part), 0, null, false);
  for (const token of [5, 6]) writer.push({ token, logprob: NaN, top: [] });
  assert.deepEqual(writer.end("stop").tokens, [5, 6]);
  assert.deepEqual(parts.map(({ tokens, text }) => [...tokens, text]), [[5, ""], [6, ""]]);
});
