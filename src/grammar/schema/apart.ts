/**
 * Whether two alternatives of a `oneOf` can be told apart: then what follows the one never follows the
 * other, and writing either of them is enough. False where that cannot be shown.
 * @module
 */
import type { Budget } from "../limits.ts";
import type { SchemaDocument, SchemaNode } from "./document.ts";
import type { Validator } from "./fits.ts";
import type { Flat, Flattener } from "./flatten.ts";
import { type JsonType, leastOf, mostOf, spelling, types, typesOf, valuesOf } from "./keywords.ts";
import { numbersAreApart } from "./numbers.ts";
import { type ObjectShape, objectShape } from "./objects.ts";

/** Properties of properties that are looked into. */
const mostDepth = 4;

export class Separator {
  readonly #document: SchemaDocument;
  readonly #budget: Budget;
  flattener!: Flattener;
  validator!: Validator;

  constructor(document: SchemaDocument, budget: Budget) {
    this.#document = document;
    this.#budget = budget;
  }

  /**
   * Whether one property tells all alternatives apart, each of which asks for it and lists values of its own: of
   * hundreds of them that is seen at once, where pairs would be thousands.
   */
  areTagged(branches: readonly (readonly Flat[])[]): boolean {
    const [names = [], ...others] = branches.map((flats) => this.#tagsOf(flats));
    return [...names].some(([name, values]) => {
      const known = new Set(values);
      return others.every((tags) =>
        tags.get(name)?.every((value) => known.size < known.add(value).size) ?? false
      );
    });
  }

  /** The values that properties list in all of some alternatives, which are objects, by name. */
  #tagsOf(flats: readonly Flat[]): Map<string, readonly string[]> {
    const found = flats.map((flat) => {
      this.#budget.spend(200);
      const tags = new Map<string, readonly string[]>();
      const types = typesIn(flat);
      if (listedIn(flat) !== null || types.size !== 1 || !types.has("object")) return tags;
      const shape = objectShape(flat, this.#document, this.#budget);
      for (const name of shape.required) {
        const ofValue = this.flattener.all(shape.valueAt(name)).map(listedIn);
        const values = ofValue.flatMap((values) => values ?? []);
        if (ofValue.every((values) => values !== null)) tags.set(name, [...new Set(values.map(spelling))]);
        this.#budget.spend(20 * values.length);
      }
      return tags;
    });
    const [first = new Map<string, readonly string[]>(), ...others] = found;
    return new Map(
      [...first].filter(([name]) => others.every((tags) => tags.has(name))).map(([name, values]) =>
        [name, [...new Set([...values, ...others.flatMap((tags) => tags.get(name)!)])]] as const
      ),
    );
  }

  areApart(a: Flat, b: Flat, depth = 0): boolean {
    this.#budget.spend(250);
    const valuesA = listedIn(a), valuesB = listedIn(b);
    if (valuesA !== null) {
      return valuesA.every((value) => !this.validator.fits(value, a) || !this.validator.fits(value, b));
    }
    if (valuesB !== null) return this.areApart(b, a, depth);
    const shared = [...typesIn(a)].filter((type) => typesIn(b).has(type));
    return shared.every((type) => this.#typesAreApart(type, a, b, depth));
  }

  #typesAreApart(type: JsonType, a: Flat, b: Flat, depth: number): boolean {
    const outOf = (least: string, most: string) =>
      leastOf(a, least) > mostOf(b, most) || leastOf(b, least) > mostOf(a, most);
    switch (type) {
      case "integer":
      case "number":
        return numbersAreApart(a, b);
      case "string":
        return outOf("minLength", "maxLength");
      case "array":
        return outOf("minItems", "maxItems");
      case "object":
        return outOf("minProperties", "maxProperties") || this.#objectsAreApart(a, b, depth);
      default:
        return false;
    }
  }

  #objectsAreApart(a: Flat, b: Flat, depth: number): boolean {
    const shapeA = objectShape(a, this.#document, this.#budget);
    const shapeB = objectShape(b, this.#document, this.#budget);
    const both = [...shapeA.required].filter((name) => shapeB.required.has(name));
    if (depth < mostDepth && both.some((name) => this.#valuesAreApart(name, shapeA, shapeB, depth))) {
      return true;
    }
    return isNeverIn(shapeA, shapeB) && isNeverIn(shapeB, shapeA);
  }

  #valuesAreApart(name: string, a: ObjectShape, b: ObjectShape, depth: number): boolean {
    const ofA = this.flattener.all(a.valueAt(name)), ofB = this.flattener.all(b.valueAt(name));
    return ofA.every((one) => ofB.every((other) => this.areApart(one, other, depth + 1)));
  }
}

/** What is written by the one shape lacks what the other asks for, or has what the other rules out. */
function isNeverIn(written: ObjectShape, other: ObjectShape): boolean {
  const lacks = [...other.required].some((name) =>
    written.others.length === 0 && !written.properties.has(name)
  );
  const isRuledOut = (name: string) => other.valueAt(name).some(({ isFalse }) => isFalse);
  return lacks || [...written.required].some(isRuledOut);
}

/** The values that schemas list, or null where none does. */
export function listedIn(nodes: readonly SchemaNode[]): readonly unknown[] | null {
  let listed: readonly unknown[] | null = null;
  for (const node of nodes) {
    const values = valuesOf(node);
    if (values === null) continue;
    if (listed !== null) {
      const known = new Set(values.map(spelling)); // of thousands each is found at once
      listed = listed.filter((value) => known.has(spelling(value)));
    } else listed = values;
  }
  return listed;
}

/** The types that all of some schemas leave. */
export function typesIn(nodes: readonly SchemaNode[]): Set<JsonType> {
  const sets = nodes.map(typesOf);
  return new Set(types.filter((type) => sets.every((set) => set.has(type))));
}
