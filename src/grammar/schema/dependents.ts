/**
 * What a property brings with it, as alternatives: it is not there, or what it asks for holds too.
 * @module
 */
import { type SchemaDocument, schemaError, type SchemaNode } from "./document.ts";

/** Schemas that hold together. */
export type Alternative = readonly SchemaNode[];

/** @returns the alternatives for each property that brings something with it */
export function dependents(document: SchemaDocument, node: SchemaNode): (readonly Alternative[])[] {
  const { keywords } = node;
  const required = Array.isArray(keywords.required) ? keywords.required : [];
  // `dependencies` is what the others were one keyword of, until draft 2019-09.
  return ["dependentRequired", "dependentSchemas", "dependencies"].flatMap((keyword) => {
    const value = keywords[keyword];
    if (value === undefined) return [];
    const path = `${node.path}/${keyword}`;
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw schemaError(path, "what each property brings with it is needed, by its name");
    }
    return Object.entries(value).map(([name, asked]) => {
      const isThere = isList(asked, keyword, path)
        ? [document.node({ required: [name, ...asked] }, path)]
        : [document.node({ required: [name] }, path), document.node(asked, path)];
      if (required.includes(name)) return [isThere];
      return [[document.node({ properties: { [name]: false } }, path)], isThere];
    });
  });
}

function isList(asked: unknown, keyword: string, path: string): asked is readonly string[] {
  if (keyword === "dependentSchemas" || (keyword === "dependencies" && !Array.isArray(asked))) return false;
  if (Array.isArray(asked) && asked.every((each) => typeof each === "string")) return true;
  throw schemaError(path, "lists of names by name are needed");
}
