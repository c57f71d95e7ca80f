/**
 * GET /openapi.json: the endpoints in OpenAPI 3.1, made from the schemas by which requests are checked and
 * answers are tested (https://spec.openapis.org/oas/v3.1.1).
 * @module
 */
import { z } from "zod";
import type { ModelInfo } from "../language_model.ts";
import { version } from "../package/version.ts";
import { errorAnswer } from "./answers.ts";
import { anthropicError } from "./answers_anthropic.ts";
import { type Operation, type Posting, postings, readings } from "./operations.ts";
import { tokenId } from "./field_types.ts";

/** What the description depends on. */
export interface Described {
  readonly info: ModelInfo;
  /** The name that requests may give; null where it is not told to everybody. */
  readonly modelName: string | null;
  readonly needsKey: boolean;
}

/** Some JSON. */
type Json = { [key: string]: unknown };

/** What every endpoint may answer instead. */
const problems: Readonly<Record<number, string>> = {
  400: "The request cannot be answered as it stands",
  404: "There is no such model",
  413: "The body is too large",
  415: "The body is said to be no JSON, or is compressed",
  421: "The server does not answer to this name",
  429: "Too many requests: try again later",
  500: "The server failed",
  503: "The queue is full or the model has ended: try again later",
};

/** @returns the document, plain JSON */
export function openapiDocument(described: Described): Json {
  const paths: Record<string, Json> = {};
  for (const reading of Object.values(readings)) paths[reading.path] = { get: readingOf(reading, described) };
  for (const posting of Object.values(postings)) {
    const body = {
      required: true,
      content: { "application/json": { schema: requestSchema(posting.body, described) } },
    };
    paths[posting.path] = { post: { ...operationOf(posting, described, posting), requestBody: body } };
  }
  const keys = {
    bearer: { type: "http", scheme: "bearer" },
    header: { type: "apiKey", in: "header", name: "x-api-key" },
  };
  return {
    openapi: "3.1.0",
    info: {
      title: "hadal",
      version,
      summary: "A DeepSeek model behind the OpenAI and Anthropic APIs",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    paths,
    components: {
      schemas: { Error: answerSchema(errorAnswer), AnthropicError: answerSchema(anthropicError) },
      ...(described.needsKey ? { securitySchemes: keys } : {}),
    },
    ...(described.needsKey ? { security: [{ bearer: [] }, { header: [] }] } : {}),
  };
}

function readingOf(reading: Operation, described: Described): Json {
  const operation = operationOf(reading, described);
  const names = [...reading.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
  if (names.length === 0) return operation;
  const schema = { type: "string", ...(described.modelName === null ? {} : { enum: [described.modelName] }) };
  return { ...operation, parameters: names.map((name) => ({ name, in: "path", required: true, schema })) };
}

function operationOf(
  operation: Operation,
  described: Described,
  { event, lastEvent }: Pick<Posting<z.ZodType<{ model?: string }>>, "event" | "lastEvent"> = {},
): Json {
  const { id, path, tag, summary, answer, error = errorAnswer, isOpen, statuses = {} } = operation;
  const errorName = error === errorAnswer ? "Error" : "AnthropicError";
  const errorContent = { "application/json": { schema: { $ref: `#/components/schemas/${errorName}` } } };
  const content = typeof answer === "string"
    ? { [answer]: answer === "application/json" ? {} : { schema: { type: "string" } } }
    : {
      "application/json": { schema: answerSchema(answer) },
      ...(event === undefined ? {} : {
        "text/event-stream": { schema: eventSchema(event, lastEvent) },
      }),
    };
  const told = {
    ...problems,
    ...(described.needsKey && !isOpen ? { 401: "The key is missing or not known" } : {}),
  };
  const isHealth = path.startsWith("/health"); // which says in its own words that the model has ended
  const others = Object.entries({ ...told, ...statuses }).map(([status, description]) => [
    status,
    status === "101"
      ? { description }
      : { description, content: isHealth && status === "503" ? content : errorContent },
  ]);
  return {
    operationId: id,
    tags: [tag],
    summary,
    responses: { 200: { description: summary, content }, ...Object.fromEntries(others) },
    ...(isOpen && described.needsKey ? { security: [] } : {}),
  };
}

/** A request as clients may write it, with what this model alone decides. */
function requestSchema(schema: z.ZodType, { info, modelName }: Described): Json {
  const json = z.toJSONSchema(schema, {
    io: "input",
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema === tokenId) Object.assign(jsonSchema, { minimum: 0, maximum: info.vocabSize - 1 });
    },
  });
  const { model, dimensions } = (json.properties ?? {}) as { model?: Json; dimensions?: Json };
  if (model !== undefined && modelName !== null) Object.assign(model, { enum: [modelName, null] });
  if (dimensions !== undefined) Object.assign(dimensions, { enum: [info.hidden, null] });
  return withoutDialect(json);
}

/** A server-sent event, whose data is JSON but for the last one, where it has words of its own. */
function eventSchema(event: z.ZodType, lastEvent: string | undefined): Json {
  const dataOf = (schema: Json) => (
    { type: "string", contentMediaType: "application/json", contentSchema: schema }
  );
  const data = lastEvent === undefined ? dataOf(answerSchema(event)) : {
    // A stream that fails once it has begun says so in an event.
    anyOf: [{ const: lastEvent }, dataOf({ anyOf: [answerSchema(event), answerSchema(errorAnswer)] })],
  };
  return { type: "object", properties: { event: { type: "string" }, data }, required: ["data"] };
}

const answerSchema = (schema: z.ZodType): Json => withoutDialect(z.toJSONSchema(schema));

/** OpenAPI 3.1 has the dialect already. */
function withoutDialect({ $schema: _, ...schema }: Json): Json {
  return schema;
}
