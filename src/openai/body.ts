/**
 * The body of a request: bounded bytes, then UTF-8, then JSON, then the fields of a schema.
 * @module
 */
import { z } from "zod";
import { RequestError } from "../errors.ts";

/**
 * Reads a JSON body and holds it against a schema; fields that the schema does not know are dropped.
 * @throws {RequestError} 415 for what is said to be no JSON, 413 past `maxBytes`, 400 for anything else, naming the
 *   first field at fault
 */
export async function readBody<T extends z.ZodType>(
  request: Request,
  schema: T,
  maxBytes: number,
): Promise<z.output<T>> {
  checkType(request.headers);
  return check(schema, parseJson(await readBytes(request, maxBytes))) as z.output<T>;
}

/** Beside JSON, what clients write that say nothing of it, as curl does. */
const readable =
  /^(?:[^/;]+\/(?:[^/;]+\+)?json|text\/plain|application\/(?:x-www-form-urlencoded|octet-stream))\s*(?:;|$)/i;

/** @throws {RequestError} for a body of another kind, or one that is compressed */
function checkType(headers: Headers): void {
  const type = headers.get("content-type") ?? "application/json";
  const charset = /;\s*charset="?([^\s;"]+)/i.exec(type)?.[1] ?? "utf-8";
  const encoding = headers.get("content-encoding") ?? "identity";
  const refuse = (header: string, found: string, needed: string) => {
    const message = `Cannot read the body: ${header} is ${
      JSON.stringify(found.slice(0, 100))
    }, ${needed} is needed`;
    throw new RequestError(message, { status: 415, code: "unsupported_media_type" });
  };
  if (!readable.test(type.trim())) refuse("content-type", type, "application/json");
  if (!/^(?:utf-?8|us-ascii)$/i.test(charset)) refuse("the charset of content-type", charset, "utf-8");
  if (!/^(?:identity)?$/i.test(encoding.trim())) refuse("content-encoding", encoding, "none");
}

/**
 * As `schema.parse`, which runs the schema of every field that might be there: of a hundred, a request has
 * five, and the first token waits for all of them.
 */
function check(schema: z.ZodType, body: unknown): unknown {
  const isPlain = schema instanceof z.ZodObject && !schema.def.catchall && !schema.def.checks?.length;
  if (!isPlain || typeof body !== "object" || body === null || Array.isArray(body)) {
    return checked(schema, body, []);
  }
  const values: Record<string, unknown> = {};
  for (const { name, field, isNeeded } of fieldsOf(schema)) {
    if (isNeeded || Object.hasOwn(body, name)) {
      values[name] = checked(field, (body as Record<string, unknown>)[name], [name]);
    }
  }
  return values;
}

/** A field of a schema; one that has a default is needed, too. */
interface Field {
  readonly name: string;
  readonly field: z.ZodType;
  readonly isNeeded: boolean;
}

const knownFields = new WeakMap<z.ZodObject, readonly Field[]>();

/** Found once: zod works out each answer when it is asked. */
function fieldsOf(schema: z.ZodObject): readonly Field[] {
  let fields = knownFields.get(schema);
  if (fields === undefined) {
    fields = Object.entries<z.ZodType>(schema.shape).map(([name, field]) => (
      { name, field, isNeeded: field._zod.optin !== "optional" }
    ));
    knownFields.set(schema, fields);
  }
  return fields;
}

/** @param path of the value in the body */
function checked(schema: z.ZodType, value: unknown, path: readonly string[]): unknown {
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const issue = innermost(error.issues[0]);
  const param = [...path, ...issue.path].join(".") || null;
  const problem = issue.message.replace(/^Invalid input: /, "");
  throw new RequestError(`Cannot read ${param ?? "the body"}: ${problem}`, { param });
}

type Issue = z.core.$ZodIssue;

/**
 * Of a value that is none of several kinds the union alone complains; where it was of one of them but for something
 * inside, that is what is wrong.
 */
function innermost(issue: Issue): Issue {
  if (issue.code !== "invalid_union") return issue;
  const inside = issue.errors.flatMap(([first]) =>
    first !== undefined && first.path.length > 0 ? [innermost(first)] : []
  );
  if (inside.length === 0) return issue;
  const deepest = inside.reduce((best, one) => one.path.length > best.path.length ? one : best);
  return { ...deepest, path: [...issue.path, ...deepest.path] };
}

/** The limit holds while bytes arrive: content-length may be absent. */
async function readBytes(request: Request, maxBytes: number): Promise<Uint8Array> {
  const tooLarge = () =>
    new RequestError(`Cannot read the body: more than ${maxBytes} bytes`, {
      status: 413,
      code: "body_too_large",
    });
  if (Number(request.headers.get("content-length")) > maxBytes) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  const reader = request.body?.getReader(); // a loop over the body itself takes Deno several times as long
  try {
    for (let read = await reader?.read(); read && !read.done; read = await reader?.read()) {
      sizeBytes += read.value.length;
      if (sizeBytes > maxBytes) break;
      chunks.push(read.value);
    }
  } catch {
    throw new RequestError("Cannot read the body: it ended early");
  }
  if (sizeBytes > maxBytes) {
    await reader?.cancel();
    throw tooLarge();
  }
  const bytes = new Uint8Array(sizeBytes);
  let end = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, end);
    end += chunk.length;
  }
  return bytes;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function parseJson(bytes: Uint8Array): unknown {
  if (bytes.length === 0) {
    throw new RequestError("Cannot read the body: it is empty, a JSON object is needed");
  }
  if (depthOf(bytes) > deepest) {
    throw new RequestError(`Cannot read the body: it nests more than ${deepest} deep`);
  }
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch (error) {
    // Each runtime words a syntax error in its own way, and quotes the body: tell only which of the two it is.
    const problem = error instanceof SyntaxError ? "it is no JSON" : "it is no UTF-8";
    throw new RequestError(`Cannot read the body: ${problem}`);
  }
}

/** Schemas of tools and arguments of calls are walked by functions that call themselves. */
const deepest = 256;

/** How deep brackets nest outside of strings, in bytes that may or may not be JSON. */
function depthOf(bytes: Uint8Array): number {
  let depth = 0, most = 0, isInString = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === 0x22) isInString = !isInString;
    else if (isInString) i += byte === 0x5c ? 1 : 0; // an escaped quote ends nothing
    else if (byte === 0x5b || byte === 0x7b) most = Math.max(most, ++depth);
    else if (byte === 0x5d || byte === 0x7d) depth--;
  }
  return most;
}
