/**
 * Grammars that a request may hold, for mutate.ts: each is compiled, and a reply begun that follows it.
 * @module
 */
import { RequestError } from "../src/errors.ts";
import type { GrammarSource } from "../src/grammar/spec.ts";
import { parseJson } from "../src/json_scanner.ts";
import {
  masksOf,
  matcherOf,
  mixedVocabulary,
  randomFrom,
  sourceSpec,
  write,
} from "../test/grammar/writing.ts";
import type { Parser } from "./mutation.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const masks = masksOf(mixedVocabulary);

function follow(source: GrammarSource): void {
  const matcher = matcherOf(sourceSpec(source), masks);
  try {
    write(matcher, mixedVocabulary, randomFrom(1), 40);
  } catch (error) {
    // What cannot be written with these tokens, or not to a whole character, is no fault of the grammar.
    const { message } = error as Error;
    if (!/^nothing may follow|encoded data was not valid/i.test(message)) throw error;
  }
}

const schemas = [
  {
    type: "object",
    properties: {
      name: { type: "string", minLength: 1, maxLength: 20, pattern: "^[a-z]+(-[a-z0-9]{1,3})*$" },
      age: { type: "integer", minimum: 0, maximum: 150, multipleOf: 3 },
      height: { type: "number", exclusiveMinimum: -1.5, maximum: 2.75 },
      tags: {
        type: "array",
        items: { enum: ["a", "b", 1, null] },
        minItems: 1,
        maxItems: 4,
        uniqueItems: false,
      },
      when: { type: "string", format: "date-time" },
      next: { $ref: "#/$defs/node" },
    },
    required: ["name", "tags"],
    additionalProperties: { type: ["string", "null"] },
    minProperties: 1,
    maxProperties: 9,
    $defs: { node: { anyOf: [{ type: "null" }, { $ref: "#" }], description: "a node" } },
  },
  {
    anyOf: [
      {
        type: "array",
        prefixItems: [{ type: "integer" }, { const: "x" }],
        items: { type: "boolean" },
        maxItems: 4,
      },
      { allOf: [{ type: "object", properties: { a: { const: 1 } } }, { required: ["a"] }] },
      { type: ["string", "integer"], maxLength: 3, minimum: -12, maximum: 3_000_000_000 },
    ],
  },
];
const patterns = [
  "^(?:[a-zA-Z_][\\w.-]*|\\d{1,3}(?:\\.\\d+)?)(?:, (?:yes|no|[^x\\n]{2,5}?))*$",
  "\\u0041\\x42[\\u4e00-\\u9fff\\p{L}]+|(?<year>\\d{4})-\\d\\d|[^\\W_]*?\\.|(a{2,}b?){3}",
];
const grammars = [
  'root ::= object | "x"{2,4}\nobject ::= "{" ws (pair ("," ws pair)*)? "}"\npair ::= [a-z]+ ":" [0-9]{1,3} ws\nws ::= [ \\t\\n]*\n',
  'root ::= "\\u00e9\\x41" ("a" root "b")? # nested\n | [^a-z\\]]{3} . | ""\n',
];

/** By the language of the grammar. */
export const grammarParsers: Readonly<Record<string, Parser>> = {
  schema: {
    kind: "json",
    mostMs: 4000,
    seeds: schemas.map((schema) => utf8(JSON.stringify(schema))),
    parse(bytes) {
      let schema: unknown;
      try {
        schema = JSON.parse(text(bytes));
        parseJson(bytes); // no deeper than a request may be
      } catch {
        throw new RequestError("Cannot read the schema: it is no JSON");
      }
      follow({ type: "jsonSchema", schema });
    },
  },
  regex: {
    mostMs: 4000,
    seeds: patterns.map(utf8),
    parse: (bytes) => follow({ type: "regex", pattern: text(bytes) }),
  },
  ebnf: {
    mostMs: 4000,
    seeds: grammars.map(utf8),
    parse: (bytes) => follow({ type: "grammar", text: text(bytes) }),
  },
};
