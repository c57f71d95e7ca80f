/**
 * Whether a value follows schemas: for the values that a schema lists, and to tell alternatives apart.
 * @module
 */
import type { Budget } from "../limits.ts";
import { matches } from "../terminal.ts";
import { itemsOf } from "./arrays.ts";
import type { SchemaDocument } from "./document.ts";
import type { Flat, Flattener } from "./flatten.ts";
import { includesValue, type JsonType, leastOf, mostOf, spelling, typesOf, valuesOf } from "./keywords.ts";
import { numberFits } from "./numbers.ts";
import { contentBytes, objectShape } from "./objects.ts";
import { contentDfa } from "./strings.ts";

export class Validator {
  readonly #document: SchemaDocument;
  readonly #flattener: Flattener;
  readonly #budget: Budget;

  constructor(document: SchemaDocument, flattener: Flattener, budget: Budget) {
    this.#document = document;
    this.#flattener = flattener;
    this.#budget = budget;
  }

  /** Whether a value follows all of some schemas, whose combinations were taken apart. */
  fits(value: unknown, nodes: Flat): boolean {
    const isListed = nodes.every((node) => {
      const values = valuesOf(node);
      this.#budget.spend(values?.length ?? 0);
      return values === null || includesValue(values, value);
    });
    return isListed && this.fitsUnlisted(value, nodes);
  }

  /** As `fits`, for a value that is known to be among those that the schemas list. */
  fitsUnlisted(value: unknown, nodes: Flat): boolean {
    this.#budget.spend(20);
    const type = typeOf(value);
    if (!nodes.every((node) => typesOf(node).has(type))) return false;
    if (typeof value === "string") return this.#stringFits(value, nodes);
    if (typeof value === "number") return numberFits(value, nodes);
    if (Array.isArray(value)) return this.#arrayFits(value, nodes);
    return typeof value !== "object" || value === null || this.#objectFits(value, nodes);
  }

  #fitsAny(value: unknown, nodes: Flat): boolean {
    return this.#flattener.all(nodes).some((flat) => this.fits(value, flat));
  }

  #stringFits(value: string, nodes: Flat): boolean {
    const length = [...value].length;
    if (length < leastOf(nodes, "minLength") || length > mostOf(nodes, "maxLength")) return false;
    const dfa = contentDfa(nodes, this.#budget);
    return dfa === "any" || matches(dfa, contentBytes(value));
  }

  #arrayFits(list: readonly unknown[], nodes: Flat): boolean {
    if (list.length < leastOf(nodes, "minItems") || list.length > mostOf(nodes, "maxItems")) return false;
    if (nodes.some(({ keywords }) => keywords.uniqueItems === true)) {
      if (new Set(list.map(spelling)).size < list.length) return false;
    }
    const { at } = itemsOf(nodes, this.#document);
    return list.every((each, i) => this.#fitsAny(each, at(i)));
  }

  #objectFits(value: object, nodes: Flat): boolean {
    const { required, min, max, valueAt } = objectShape(nodes, this.#document, this.#budget);
    const entries = Object.entries(value);
    if (entries.length < min || entries.length > max) return false;
    return [...required].every((name) => Object.hasOwn(value, name)) &&
      entries.every(([name, each]) => this.#fitsAny(each, valueAt(name)));
  }
}

function typeOf(value: unknown): JsonType {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value as "boolean" | "string" | "object";
}
