/**
 * The fields by which clients ask for a form of the reply: OpenAI's `response_format` and `text.format`,
 * llama-server's `json_schema` and `grammar`, vLLM's `guided_*` and `structured_outputs`, SGLang's `regex` and `ebnf`. All of them mean
 * the same options; no two may be given.
 * @module
 */
import { z } from "zod";
import { RequestError } from "../errors.ts";
import type { GrammarOptions } from "../grammar_options.ts";
import { harmless, notYet, optional } from "./field_types.ts";

const schema = z.union(
  [z.record(z.string(), z.unknown()), z.boolean()],
  "a JSON schema is needed: an object, true or false",
);
const choices = z.array(z.string()).min(1, "at least one text is needed");

const named = z.object({
  name: z.string().nullish(),
  description: z.string().nullish(),
  strict: z.boolean().nullish(),
  schema: schema.nullish(),
});

/** `response_format` of a chat; llama-server's clients put the schema beside the type. */
export const responseFormat = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text") }),
  z.object({ type: z.literal("json_object"), schema: schema.nullish() }),
  z.object({ type: z.literal("json_schema"), json_schema: named.nullish(), schema: schema.nullish() }),
], 'the types are "text", "json_object" and "json_schema"');

/** `text.format` of a response, where the name and the schema stand beside the type. */
export const textFormat = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text") }),
  z.object({ type: z.literal("json_object") }),
  named.extend({ type: z.literal("json_schema") }),
], 'the types are "text", "json_object" and "json_schema"');

/** Fields of requests for text. */
export const grammarFields = {
  response_format: optional(responseFormat),
  grammar: z.string().nullish(),
  json_schema: schema.nullish(),
  guided_json: z.union([schema, z.string()], "a JSON schema is needed, as an object or as a text").nullish(),
  guided_regex: z.string().nullish(),
  guided_choice: choices.nullish(),
  guided_grammar: z.string().nullish(),
  regex: z.string().nullish(),
  ebnf: z.string().nullish(),
  structured_outputs: z.object({
    json: z.union([schema, z.string()], "a JSON schema is needed, as an object or as a text").nullish(),
    regex: z.string().nullish(),
    choice: choices.nullish(),
    grammar: z.string().nullish(),
    json_object: z.boolean().nullish(),
    structural_tag: z.null("it is not supported").nullish(),
    disable_any_whitespace: notYet(false),
    disable_additional_properties: notYet(false),
    whitespace_pattern: notYet(),
    disable_fallback: harmless, // nobody else is asked
  }).nullish(),
};

type Fields = Partial<z.output<z.ZodObject<typeof grammarFields>>>;
/** A form of the reply, and the field that asks for it. */
export type NamedForm = readonly [param: string, options: GrammarOptions];

/** The options that a response format means. */
export function formatOptions(
  format: z.output<typeof responseFormat> | z.output<typeof textFormat> | null | undefined,
  param: string,
): GrammarOptions {
  if (format == null || format.type === "text") return {};
  const given = "schema" in format ? format.schema : null;
  if (format.type === "json_object") return given == null ? { jsonObject: true } : { jsonSchema: given };
  const jsonSchema = given ?? ("json_schema" in format ? format.json_schema?.schema : null);
  if (jsonSchema == null) throw new RequestError(`Cannot use ${param}: it has no schema`, { param });
  return { jsonSchema };
}

/**
 * The options that the fields of a request mean.
 * @param own the field by which an endpoint asks in a way of its own
 * @throws {RequestError} naming the second field where there are two
 */
export function grammarOptions(
  body: Fields,
  own: NamedForm = ["", {}],
): GrammarOptions {
  const outputs = body.structured_outputs;
  const asked: NamedForm[] = [
    own,
    ["response_format", formatOptions(body.response_format, "response_format")],
    ["grammar", { grammar: body.grammar || null }],
    ["json_schema", { jsonSchema: body.json_schema }],
    ["guided_json", { jsonSchema: parsed(body.guided_json, "guided_json") }],
    ["guided_regex", { regex: body.guided_regex }],
    ["guided_choice", { choice: body.guided_choice }],
    ["guided_grammar", { grammar: body.guided_grammar }],
    ["regex", { regex: body.regex }],
    ["ebnf", { grammar: body.ebnf }],
    ["structured_outputs", { jsonSchema: parsed(outputs?.json, "structured_outputs") }],
    ["structured_outputs", { regex: outputs?.regex }],
    ["structured_outputs", { choice: outputs?.choice }],
    ["structured_outputs", { grammar: outputs?.grammar }],
    ["structured_outputs", { jsonObject: outputs?.json_object || null }],
  ];
  const given = asked.filter(([, options]) => Object.values(options).some((value) => value != null));
  if (given.length > 1) {
    const [[first], [second]] = given;
    throw new RequestError(`Cannot use ${second}: ${first} says already what the reply has to be`, {
      param: second,
    });
  }
  return given[0]?.[1] ?? {};
}

/** A schema that some clients send as a text. */
function parsed(
  value: z.output<typeof grammarFields.guided_json>,
  param: string,
): z.output<typeof schema> | null | undefined {
  if (typeof value !== "string") return value;
  try {
    return schema.parse(JSON.parse(value));
  } catch {
    throw new RequestError(`Cannot use ${param}: the text is no JSON schema`, { param });
  }
}
