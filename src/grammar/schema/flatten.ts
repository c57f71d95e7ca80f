/**
 * What holds at one place of a document: references, `allOf`, `anyOf`, `oneOf` and dependents taken apart, so that
 * each alternative is a plain list of schemas which all hold.
 * @module
 */
import type { Budget } from "../limits.ts";
import { mostNested, type SchemaDocument, schemaError, type SchemaNode } from "./document.ts";
import { dependents } from "./dependents.ts";
import { checkKeywords, type JsonType, types, typesOf } from "./keywords.ts";

/** Schemas that hold together, without regard to their references and combinations. */
export type Flat = readonly SchemaNode[];

/** Alternatives at one place. */
const mostAlternatives = 1024;

/** Says of the alternatives of a `oneOf` whether a reply could follow two of them. */
export interface Apart {
  areTagged(branches: readonly (readonly Flat[])[]): boolean;
  areApart(a: Flat, b: Flat): boolean;
}

/** Alternatives that are compared in pairs at once. */
const fewBranches = 8;

export class Flattener {
  readonly #document: SchemaDocument;
  readonly #apart: Apart;
  readonly #budget: Budget;
  readonly #known = new Map<SchemaNode, readonly Flat[]>();
  readonly #open = new Set<SchemaNode>();

  constructor(document: SchemaDocument, apart: Apart, budget: Budget) {
    this.#document = document;
    this.#apart = apart;
    this.#budget = budget;
  }

  /** The alternatives of schemas that hold together. */
  all(nodes: readonly SchemaNode[]): readonly Flat[] {
    return nodes.reduce<readonly Flat[]>((flats, node) => this.#cross(flats, this.#flatten(node), node), [
      [],
    ]);
  }

  #flatten(node: SchemaNode): readonly Flat[] {
    const known = this.#known.get(node);
    if (known !== undefined) return known;
    if (node.isFalse) return [];
    if (this.#open.has(node)) {
      throw schemaError(node.path, "it refers to itself, and nothing of a document is in between");
    }
    // Each takes calls of this: references may follow one another to any depth.
    if (this.#open.size >= mostNested) {
      throw schemaError(node.path, `more than ${mostNested} references and combinations lead here`);
    }
    this.#open.add(node);
    checkKeywords(node);
    const { keywords } = node;
    let flats: readonly Flat[] = [[node]];
    const also = (others: readonly Flat[]) => flats = this.#cross(flats, others, node);
    if (keywords.$ref !== undefined) also(this.#flatten(this.#document.target(node)));
    for (const each of this.#document.children(node, "allOf")) also(this.#flatten(each));
    if (keywords.anyOf !== undefined) {
      also(this.#document.children(node, "anyOf").flatMap((each) => this.#flatten(each)));
    }
    if (keywords.oneOf !== undefined) also(this.#oneOf(node));
    if (keywords.not !== undefined) also(this.#not(node));
    for (const alternatives of dependents(this.#document, node)) {
      also(alternatives.flatMap((nodes) => this.all(nodes)));
    }
    this.#open.delete(node);
    this.#known.set(node, flats);
    return flats;
  }

  #oneOf(node: SchemaNode): readonly Flat[] {
    const branches = this.#document.children(node, "oneOf").map((each) => this.#flatten(each));
    if (branches.length > fewBranches && this.#apart.areTagged(branches)) return branches.flat();
    for (const [i, ones] of branches.entries()) {
      for (let j = 0; j < i; j++) {
        if (branches[j].every((other) => ones.every((one) => this.#apart.areApart(one, other)))) continue;
        throw schemaError(
          `${node.path}/oneOf`,
          `a document may follow both ${j} and ${i}, which cannot be ruled out; anyOf can be enforced`,
        );
      }
    }
    return branches.flat();
  }

  /** Only what says nothing, rules all out, or rules out types. */
  #not(node: SchemaNode): readonly Flat[] {
    const inner = this.#document.child(node, "not")!;
    if (inner.isFalse) return [[]];
    const keywords = Object.keys(inner.keywords);
    if (keywords.length === 0) return [];
    if (keywords.length === 1 && keywords[0] === "type") {
      const out = typesOf(inner);
      // Numbers are not written so that they are certainly not whole.
      const isOut = (type: JsonType) => out.has(type) || (type === "number" && out.has("integer"));
      return [[this.#document.node({ type: types.filter((type) => !isOut(type)) }, node.path)]];
    }
    throw schemaError(`${node.path}/not`, "it cannot be enforced");
  }

  /** Each of the one with each of the other. */
  #cross(a: readonly Flat[], b: readonly Flat[], { path }: SchemaNode): readonly Flat[] {
    if (a.length * b.length > mostAlternatives) {
      throw schemaError(path, `there are more than ${mostAlternatives} combinations of its alternatives`);
    }
    const sizeOf = (flats: readonly Flat[]) => flats.reduce((sum, { length }) => sum + length, 0);
    this.#budget.spend(2 * (sizeOf(a) * b.length + sizeOf(b) * a.length));
    return a.flatMap((one) => b.map((other) => [...new Set([...one, ...other])]));
  }
}
