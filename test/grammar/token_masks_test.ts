/** The tokens that may come in a grammar, against trying each of them. */
import { test } from "node:test";
import type { GrammarSource } from "../../src/grammar/spec.ts";
import { follow, manyTokens } from "./following.ts";
import { masksOf, mixedVocabulary } from "./writing.ts";

const object = (properties: Record<string, unknown>) => ({
  type: "object",
  properties,
  required: Object.keys(properties),
});

/** Automata with several free parts, alone, beside one another and with something behind them. */
const sources: GrammarSource[] = [
  { type: "regex", pattern: ".*a.*b.*" },
  { type: "regex", pattern: ".*a.*b.*é" },
  { type: "regex", pattern: "(.{2,4}\\n){1,2}[^b]*" },
  { type: "regex", pattern: "[ab]*cat[a-z]* .*(b|日).*" },
  { type: "grammar", text: 'root ::= item ("," root)?  item ::= [^,"]* | "[" root "]"' },
  { type: "grammar", text: 'root ::= word (" " word)* ("." root)?  word ::= [a-z]+ | "\\"" [^"]+ "\\""' },
  { type: "choice", texts: ["a cat", "a cat and", "ab", "日本語"] },
  { type: "jsonObject" },
  {
    type: "jsonSchema",
    schema: object({
      a: { type: "string", pattern: "a.*b" },
      b: { type: "string", pattern: '"' },
      c: { type: "string" },
    }),
  },
  {
    type: "jsonSchema",
    schema: {
      type: "array",
      items: {
        anyOf: [{ type: "string", pattern: "^a" }, { type: "string", pattern: "b$" }, {
          type: "string",
          maxLength: 2,
        }],
      },
    },
  },
  {
    type: "jsonSchema",
    schema: {
      type: "object",
      properties: { a: { type: "integer" } },
      patternProperties: { "^b": { type: "string" }, "c$": { type: "boolean" } },
      additionalProperties: { type: "string", pattern: "^[^b]*$" },
    },
  },
];

test("what may follow in a grammar is what each token may by itself, whatever its parts have in common", () => {
  for (const vocabulary of [mixedVocabulary, manyTokens()]) {
    // Forwards and backwards, so that each finds what others left behind.
    const masks = masksOf(vocabulary);
    for (const [i, source] of [...sources, ...[...sources].reverse()].entries()) follow(masks, source, 1 + i);
  }
});
