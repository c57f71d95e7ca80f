/**
 * A JSON schema as a document: its parts by where they stand, and what references lead to.
 * @module
 */
import { RequestError } from "../../errors.ts";

/** A schema within a schema. */
export interface SchemaNode {
  /** Its keywords; none for `true`, `not: {}` alone for `false`. */
  readonly keywords: Readonly<Record<string, unknown>>;
  /** A JSON pointer, as `#/properties/name`. */
  readonly path: string;
  readonly id: number;
  readonly isFalse: boolean;
  /** What references are relative to. */
  readonly base: string;
}

/** Where a schema stands that does not say so. */
const nowhere = "schema:/root";

/** Schemas within schemas: each takes a call of whoever walks them. */
export const mostNested = 500;
const mostNodes = 100_000;

/** Keywords whose values are schemas, lists of schemas, or schemas by name. */
const single = [
  "additionalProperties",
  "additionalItems",
  "items",
  "contains",
  "propertyNames",
  "not",
  "if",
  "then",
  "else",
  "unevaluatedItems",
  "unevaluatedProperties",
];
const lists = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];
const named = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];

export class SchemaDocument {
  readonly root: SchemaNode;
  readonly #nodes = new Map<object, SchemaNode>();
  /** Schemas with an address of their own, and parts of them with a name, by URI. */
  readonly #addressed = new Map<string, SchemaNode>();
  readonly #true: SchemaNode;
  readonly #false: SchemaNode;

  constructor(source: unknown) {
    this.#true = { keywords: {}, path: "#", id: 0, isFalse: false, base: nowhere };
    this.#false = { ...this.#true, id: 1, isFalse: true };
    this.#nameAll(source, "#", nowhere, 0);
    this.root = this.node(source, "#");
    this.#addressed.set(nowhere, this.root);
  }

  /** @throws {RequestError} it is no schema */
  node(value: unknown, path: string, base: string = nowhere): SchemaNode {
    if (value === true) return this.#true;
    if (value === false) return this.#false;
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw schemaError(path, "a schema is needed: an object, true or false");
    }
    let node = this.#nodes.get(value);
    if (node === undefined) {
      const id = this.#nodes.size + 2;
      if (id > mostNodes) throw schemaError(path, `more than ${mostNodes} schemas stand in it`);
      node = { keywords: value as Record<string, unknown>, path, id, isFalse: false, base };
      this.#nodes.set(value, node);
    }
    return node;
  }

  /** The schema that a keyword of a node holds, or null. */
  child(node: SchemaNode, keyword: string): SchemaNode | null {
    const value = node.keywords[keyword];
    return value === undefined ? null : this.node(value, `${node.path}/${keyword}`);
  }

  /** The schemas that a keyword lists. */
  children(node: SchemaNode, keyword: string): SchemaNode[] {
    const value = node.keywords[keyword];
    if (value === undefined) return [];
    const path = `${node.path}/${keyword}`;
    if (!Array.isArray(value)) throw schemaError(path, "a list of schemas is needed");
    return value.map((each, i) => this.node(each, `${path}/${i}`));
  }

  /** The schemas that a keyword holds by name, in the order in which they are written. */
  named(node: SchemaNode, keyword: string): Map<string, SchemaNode> {
    const value = node.keywords[keyword];
    if (value === undefined) return new Map();
    const path = `${node.path}/${keyword}`;
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw schemaError(path, "schemas by name are needed");
    }
    return new Map(
      Object.entries(value).map(([name, each]) => [name, this.node(each, `${path}/${escaped(name)}`)]),
    );
  }

  /** What `$ref` leads to. @throws {RequestError} it leads nowhere in this document */
  target(node: SchemaNode): SchemaNode {
    const path = `${node.path}/$ref`;
    const ref = node.keywords.$ref;
    if (typeof ref !== "string") throw schemaError(path, "a text is needed");
    const address = resolved(ref, node.base, path);
    const known = this.#addressed.get(address);
    if (known !== undefined) return known;
    const [resource, fragment = ""] = address.split("#");
    const start = this.#addressed.get(resource);
    if (start === undefined || (fragment !== "" && !fragment.startsWith("/"))) {
      throw schemaError(path, `${JSON.stringify(ref)} leads out of the schema, put what it names into $defs`);
    }
    let value: unknown = start.keywords, pointer = start.path;
    for (const part of fragment.split("/").slice(1)) {
      const name = unescaped(part, path);
      const isKnown = typeof value === "object" && value !== null && Object.hasOwn(value, name);
      if (!isKnown) throw schemaError(path, `${JSON.stringify(ref)} leads nowhere`);
      value = (value as Record<string, unknown>)[name];
      pointer += `/${escaped(name)}`;
    }
    return start.isFalse || fragment === "" ? start : this.node(value, pointer, start.base);
  }

  /** Gives each schema its path and its address. */
  #nameAll(value: unknown, path: string, around: string, depth: number): void {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return;
    if (depth > mostNested) throw schemaError(path, `it lies more than ${mostNested} schemas deep`);
    if (this.#nodes.has(value)) return; // the same object in two places
    const { $id, $anchor } = value as Record<string, unknown>;
    const base = typeof $id === "string" && !$id.startsWith("#")
      ? resolved($id, around, `${path}/$id`).split("#")[0]
      : around;
    const node = this.node(value, path, base);
    if (base !== around) this.#addressed.set(base, node);
    if (typeof $anchor === "string") this.#addressed.set(`${base}#${$anchor}`, node);
    if (typeof $id === "string" && $id.startsWith("#")) this.#addressed.set(`${base}${$id}`, node); // draft 7
    for (const keyword of ["const", "enum"]) checkNesting(node.keywords[keyword], `${path}/${keyword}`);
    const name = (each: unknown, end: string) => this.#nameAll(each, `${path}/${end}`, base, depth + 1);
    for (const keyword of single) {
      if (!Array.isArray(node.keywords[keyword])) name(node.keywords[keyword], keyword);
    }
    for (const keyword of lists) {
      const list = node.keywords[keyword];
      if (Array.isArray(list)) list.forEach((each, i) => name(each, `${keyword}/${i}`));
    }
    for (const keyword of named) {
      const map = node.keywords[keyword];
      if (typeof map !== "object" || map === null || Array.isArray(map)) continue;
      for (const [key, each] of Object.entries(map)) name(each, `${keyword}/${escaped(key)}`);
    }
  }
}

/** A value takes a call for each of its levels, as schemas do. */
function checkNesting(value: unknown, path: string, depth = 0): void {
  if (typeof value !== "object" || value === null) return;
  if (depth > mostNested) throw schemaError(path, `it lies more than ${mostNested} lists and objects deep`);
  for (const each of Object.values(value)) checkNesting(each, path, depth + 1);
}

/** A reference as an address. */
function resolved(ref: string, base: string, path: string): string {
  if (ref.startsWith("#")) return ref === "#" ? base : base + ref;
  try {
    return new URL(ref, base).href.replace(/#$/, "");
  } catch {
    throw schemaError(path, `${JSON.stringify(ref)} is no reference`);
  }
}

const escaped = (name: string) => name.replaceAll("~", "~0").replaceAll("/", "~1");

function unescaped(part: string, path: string): string {
  try {
    return decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
  } catch {
    throw schemaError(path, "it is no reference");
  }
}

/** What is wrong with a schema, or cannot be enforced of it, by where it stands. */
export function schemaError(path: string, problem: string): RequestError {
  return new RequestError(`Cannot use json_schema: ${path}: ${problem}`, { param: "json_schema" });
}
