/**
 * JSON schema (draft 2020-12, and what older drafts wrote otherwise) as rules that write its documents.
 * Every document that the rules allow follows the schema; of those that follow it the rules allow the ones
 * in the form that is written here: properties in order, each text in one spelling where it matters, no
 * undeclared properties beside declared ones. What cannot be enforced is refused by where it stands.
 * @module
 */
import { choice, type Expr, nothing, rule, type Rules, text } from "../expr.ts";
import { anyRules, jsonRules, valueText } from "../json_text.ts";
import type { Budget } from "../limits.ts";
import { listedIn, Separator, typesIn } from "./apart.ts";
import { arrayExpr } from "./arrays.ts";
import { SchemaDocument, schemaError, type SchemaNode } from "./document.ts";
import { Validator } from "./fits.ts";
import { type Flat, Flattener } from "./flatten.ts";
import { numberExpr } from "./numbers.ts";
import { objectExpr, objectShape } from "./objects.ts";
import { stringExpr } from "./strings.ts";

/**
 * @param isObject the document is an object, whatever else it follows
 * @throws {RequestError} what is no schema, or cannot be enforced, by where it stands
 */
export function schemaRules(schema: unknown, budget: Budget, { isObject = false } = {}): Rules {
  return new SchemaCompiler(schema, budget).compile(isObject);
}

const onlyObjects = { type: "object" };

class SchemaCompiler {
  readonly #document: SchemaDocument;
  readonly #budget: Budget;
  readonly #flattener: Flattener;
  readonly #validator: Validator;
  readonly #rules = jsonRules();
  /** Rules that are named, but not written yet. */
  readonly #open: { readonly name: string; readonly nodes: readonly SchemaNode[] }[] = [];
  readonly #known = new Map<string, Expr>();

  constructor(schema: unknown, budget: Budget) {
    this.#budget = budget;
    this.#document = new SchemaDocument(schema);
    const separator = new Separator(this.#document, budget);
    this.#flattener = new Flattener(this.#document, separator, budget);
    this.#validator = new Validator(this.#document, this.#flattener, budget);
    separator.flattener = this.#flattener;
    separator.validator = this.#validator;
  }

  compile(isObject: boolean): Rules {
    const { root: whole } = this.#document;
    const root = this.#ruleOf(isObject ? [whole, this.#document.node(onlyObjects, "#")] : [whole]);
    for (let next = this.#open.pop(); next !== undefined; next = this.#open.pop()) {
      this.#rules.set(next.name, this.#exprOf(next.nodes));
    }
    if (root.kind === "rule") return { rules: this.#rules, root: root.name };
    return { rules: this.#rules.set("root", root), root: "root" };
  }

  /** The rule of schemas that hold together; it is written later, since it may lead back here. */
  #ruleOf(nodes: readonly SchemaNode[]): Expr {
    const kept = [...new Set(nodes)].filter((node) => node.isFalse || Object.keys(node.keywords).length > 0);
    if (kept.length === 0) return rule(anyRules.value);
    if (kept.some(({ isFalse }) => isFalse)) return nothing;
    const key = kept.map(({ id }) => id).sort((a, b) => a - b).join();
    let known = this.#known.get(key);
    if (known === undefined) {
      const name = `schema ${key}`;
      known = rule(name);
      this.#known.set(key, known);
      this.#open.push({ name, nodes: kept });
    }
    return known;
  }

  #exprOf(nodes: readonly SchemaNode[]): Expr {
    this.#budget.spend(500);
    const flats = this.#flattener.all(nodes);
    return choice(...flats.map((flat) => this.#flatExpr(flat, nodes)));
  }

  #flatExpr(flat: Flat, roots: readonly SchemaNode[]): Expr {
    this.#budget.spend(100 * flat.length);
    const listed = listedIn(flat);
    if (listed !== null) {
      return choice(...listed.filter((value) => this.#validator.fitsUnlisted(value, flat)).map(valueText));
    }
    const types = typesIn(flat);
    const parts: Expr[] = [];
    if (types.has("object")) parts.push(this.#objectOf(flat, roots));
    if (types.has("array")) parts.push(arrayExpr(flat, this.#document, (nodes) => this.#ruleOf(nodes)));
    if (types.has("string")) parts.push(stringExpr(flat, this.#budget));
    if (types.has("integer")) parts.push(numberExpr(flat, !types.has("number"), this.#budget));
    if (types.has("boolean")) parts.push(text("true"), text("false"));
    if (types.has("null")) parts.push(text("null"));
    return choice(...parts);
  }

  #objectOf(flat: Flat, roots: readonly SchemaNode[]): Expr {
    for (const { keywords, path } of flat) {
      // It sees what stands beside it and below, but not what stands around it.
      const isOutermost = roots.every((root) => root.keywords === keywords || root.keywords === onlyObjects);
      if (keywords.unevaluatedProperties !== undefined && !isOutermost) {
        throw schemaError(
          `${path}/unevaluatedProperties`,
          "it cannot be enforced here, use additionalProperties",
        );
      }
    }
    const shape = objectShape(flat, this.#document, this.#budget);
    const addRule = (expr: Expr) => {
      const name = `part ${this.#rules.size}`;
      this.#rules.set(name, expr);
      return name;
    };
    return objectExpr(shape, flat[0]?.path ?? "#", (nodes) => this.#ruleOf(nodes), addRule);
  }
}
