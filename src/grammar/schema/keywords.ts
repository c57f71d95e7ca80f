/**
 * What a schema may say, and what of it cannot be enforced while a reply is written from left to right.
 * @module
 */
import { schemaError, type SchemaNode } from "./document.ts";

export type JsonType = "null" | "boolean" | "integer" | "number" | "string" | "array" | "object";

export const types: readonly JsonType[] = [
  "null",
  "boolean",
  "integer",
  "number",
  "string",
  "array",
  "object",
];

const refused: Readonly<Record<string, string>> = {
  if: "a condition cannot be enforced, write its cases with anyOf",
  contains: "it cannot be enforced",
  $dynamicRef: "only $ref is followed",
  $recursiveRef: "only $ref is followed",
  unevaluatedItems: "it cannot be enforced, use items",
};

/** @throws {RequestError} naming a keyword that cannot be enforced */
export function checkKeywords({ keywords, path }: SchemaNode): void {
  for (const [name, problem] of Object.entries(refused)) {
    if (keywords[name] === undefined) continue;
    if (name === "if" && keywords.then === undefined && keywords.else === undefined) continue;
    throw schemaError(`${path}/${name}`, problem);
  }
}

/** The types that a schema leaves; a number that may be whole is both "number" and "integer". */
export function typesOf({ keywords, path, isFalse }: SchemaNode): ReadonlySet<JsonType> {
  if (isFalse) return new Set();
  const { type, nullable } = keywords;
  if (type === undefined) return new Set(types);
  const list = (Array.isArray(type) ? type : [type]) as JsonType[];
  const unknown = list.find((each) => !types.includes(each));
  if (unknown !== undefined) {
    throw schemaError(`${path}/type`, `one of ${types.join(", ")} is needed, or a list of them`);
  }
  const found = new Set(list);
  if (found.has("number")) found.add("integer");
  if (nullable === true) found.add("null"); // OpenAPI 3.0
  return found;
}

/** The values that a schema lists, or null where it lists none. */
export function valuesOf({ keywords, path }: SchemaNode): readonly unknown[] | null {
  const { enum: list } = keywords;
  if (list !== undefined && !Array.isArray(list)) {
    throw schemaError(`${path}/enum`, "a list of values is needed");
  }
  if (!Object.hasOwn(keywords, "const")) return list as unknown[] | undefined ?? null;
  const constant = [keywords.const];
  return list === undefined ? constant : constant.filter((value) => includesValue(list as unknown[], value));
}

export function includesValue(list: readonly unknown[], value: unknown): boolean {
  if (typeof value !== "object" || value === null) return list.includes(value);
  const spelt = spelling(value);
  return list.some((each) => typeof each === "object" && each !== null && spelling(each) === spelt);
}

const spellings = new WeakMap<object, string>();

/** One text for all JSON values that are equal: the order of properties does not matter. */
export function spelling(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  let text = spellings.get(value);
  if (text === undefined) spellings.set(value, text = spell(value));
  return text;
}

function spell(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(spell).join()}]`;
  const entries = Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1);
  return `{${entries.map(([name, each]) => `${JSON.stringify(name)}:${spell(each)}`).join()}}`;
}

/** The largest of what schemas ask for at least; 0 where they ask for nothing. */
export function leastOf(nodes: readonly SchemaNode[], keyword: string): number {
  return Math.max(0, ...counts(nodes, keyword));
}

/** The smallest of what schemas ask for at most; Infinity where they ask for nothing. */
export function mostOf(nodes: readonly SchemaNode[], keyword: string): number {
  return Math.min(...counts(nodes, keyword));
}

function counts(nodes: readonly SchemaNode[], keyword: string): number[] {
  return nodes.flatMap(({ keywords, path }) => {
    const value = keywords[keyword];
    if (value === undefined) return [];
    if (typeof value === "number" && Number.isInteger(value) && value >= 0) return [value];
    throw schemaError(`${path}/${keyword}`, "a whole number from 0 is needed");
  });
}

/** The texts that a keyword of schemas lists. */
export function textsOf(nodes: readonly SchemaNode[], keyword: string): string[] {
  return nodes.flatMap(({ keywords, path }) => {
    const value = keywords[keyword];
    if (value === undefined) return [];
    if (Array.isArray(value) && value.every((each) => typeof each === "string")) return value;
    throw schemaError(`${path}/${keyword}`, "a list of texts is needed");
  });
}
