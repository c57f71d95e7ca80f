/**
 * Objects of a schema. Properties are written in the order in which they are declared. An object that
 * declares properties has no others, unless `additionalProperties` or `patternProperties` says so.
 * @module
 */
import { type Dfa, dfaOf, intersect, subtract } from "../dfa.ts";
import { choice, type Expr, nothing, repeat, rule, sequence, terminal, text } from "../expr.ts";
import { colon, comma, space, stringTerminal } from "../json_text.ts";
import type { Budget } from "../limits.ts";
import { QuotedText } from "../quoted_text.ts";
import { matches } from "../terminal.ts";
import { type SchemaDocument, schemaError, type SchemaNode } from "./document.ts";
import { checkKeywords, leastOf, mostOf, textsOf, typesOf, valuesOf } from "./keywords.ts";
import { anyContent, contentDfaOf, patternDfa } from "./strings.ts";

/** A kind of key that is not declared by name, and the schemas of its value. */
interface OtherKeys {
  /** Null for all keys. */
  readonly keys: Dfa | null;
  readonly value: readonly SchemaNode[];
}

/** What schemas say of the properties of an object. */
export interface ObjectShape {
  /** Declared or required ones in order, with the schemas of their values. */
  readonly properties: ReadonlyMap<string, readonly SchemaNode[]>;
  readonly required: ReadonlySet<string>;
  readonly min: number;
  readonly max: number;
  readonly others: readonly OtherKeys[];
  /** The schemas of the value of any name; one of them is `false` where the name cannot be. */
  valueAt(name: string): readonly SchemaNode[];
}

/** Patterns of keys: each may hold or not, beside all the others. */
const mostPatterns = 6;
const mostProperties = 1000;
/** States of properties times how many were written. */
const mostStates = 5000;

const utf8 = new TextEncoder();

/** How a text stands between quotes, in its one spelling. */
export const contentBytes = (value: string) => utf8.encode(JSON.stringify(value).slice(1, -1));

/** Asked again for each value that is listed, and each pair of alternatives. */
const shapes = new WeakMap<readonly SchemaNode[], ObjectShape>();

export function objectShape(
  nodes: readonly SchemaNode[],
  document: SchemaDocument,
  budget: Budget,
): ObjectShape {
  let shape = shapes.get(nodes);
  if (shape === undefined) shapes.set(nodes, shape = shapeOf(nodes, document, budget));
  return shape;
}

function shapeOf(nodes: readonly SchemaNode[], document: SchemaDocument, budget: Budget): ObjectShape {
  const layers = nodes.map((node) => layerOf(node, document, budget));
  const held = nodes.flatMap((node) => document.child(node, "unevaluatedProperties") ?? []);
  const valueOf = (name: string): readonly SchemaNode[] => {
    const said = layers.map((layer) => valueIn(layer, name));
    return said.every((each) => each === null) ? held : said.flatMap((each) => each ?? []);
  };
  const names = new Set<string>();
  for (const { properties } of layers) for (const name of properties.keys()) names.add(name);
  const required = new Set(textsOf(nodes, "required"));
  for (const name of required) names.add(name);
  const namings = nodes.flatMap((node) => document.child(node, "propertyNames") ?? []);
  const keyDfas = namings.map((node) => keyDfaOf(node, document, budget));
  if (names.size > mostProperties) {
    throw schemaError(nodes[0].path, `more than ${mostProperties} properties cannot be enforced`);
  }
  budget.spend(10 * names.size * layers.length);
  const properties = new Map<string, readonly SchemaNode[]>();
  for (const name of names) {
    const value = valueOf(name);
    const isNamed = keyDfas.every((dfa) => matches(dfa, contentBytes(name)));
    const isPossible = isNamed && !value.some(({ isFalse }) => isFalse);
    if (isPossible || required.has(name)) {
      properties.set(name, isPossible ? value : [document.node(false, "#")]);
    }
  }
  const isClosed = layers.some(({ additional }) => additional?.isFalse === true);
  const isOpen = !isClosed &&
    (layers.some(({ additional }) => additional !== null) ||
      (held.length === 0 && layers.every((layer) => layer.declaresNothing)));
  const others = otherKeys(layers, names, keyDfas, isOpen, nodes, budget);
  const min = leastOf(nodes, "minProperties"), max = mostOf(nodes, "maxProperties");
  const no = document.node(false, "#");
  const valueAt = (name: string) =>
    keyDfas.every((dfa) => matches(dfa, contentBytes(name))) ? valueOf(name) : [no];
  return { properties, required, min, max, others, valueAt };
}

/** What one schema says of properties. */
interface Layer {
  readonly properties: ReadonlyMap<string, SchemaNode>;
  readonly patterns: readonly { readonly keys: Dfa; readonly value: SchemaNode }[];
  readonly additional: SchemaNode | null;
  readonly declaresNothing: boolean;
}

function layerOf(node: SchemaNode, document: SchemaDocument, budget: Budget): Layer {
  const properties = document.named(node, "properties");
  const patterns = [...document.named(node, "patternProperties")].map(([pattern, value]) => ({
    keys: patternDfa(pattern, `${node.path}/patternProperties`, budget),
    value,
  }));
  const additional = document.child(node, "additionalProperties");
  // A property that cannot be is not one that the object is made of.
  const declaresNothing = patterns.length === 0 && [...properties.values()].every(({ isFalse }) => isFalse);
  return { properties, patterns, additional, declaresNothing };
}

/** @returns null where the schema says nothing of a property of that name */
function valueIn({ properties, patterns, additional }: Layer, name: string): SchemaNode[] | null {
  const declared = properties.get(name);
  const matched = patterns.filter(({ keys }) => matches(keys, contentBytes(name))).map(({ value }) => value);
  const found = declared === undefined ? matched : [declared, ...matched];
  if (found.length > 0) return found;
  return additional === null ? null : [additional];
}

/** @param open references on the way here: one that leads back says no more */
function keyDfaOf(
  node: SchemaNode,
  document: SchemaDocument,
  budget: Budget,
  open: readonly SchemaNode[] = [],
): Dfa {
  const { keywords, path } = node;
  checkKeywords(node);
  if (!typesOf(node).has("string")) return dfaOf(nothing, budget);
  for (const name of ["anyOf", "oneOf", "not"]) {
    if (keywords[name] !== undefined) throw schemaError(`${path}/${name}`, "it cannot be enforced of names");
  }
  let dfa = contentDfaOf([node], budget);
  const values = valuesOf(node);
  if (values !== null) {
    const texts = values.filter((each) => typeof each === "string");
    const listed = dfaOf(choice(...texts.map((each) => text(JSON.stringify(each).slice(1, -1)))), budget);
    dfa = intersect(dfa, listed, budget);
  }
  const also = keywords.$ref === undefined ? [] : [document.target(node)];
  for (const each of [...also, ...document.children(node, "allOf")]) {
    if (open.includes(each)) continue;
    dfa = intersect(dfa, keyDfaOf(each, document, budget, [...open, node]), budget);
  }
  return dfa;
}

/** Keys without a name of their own, by the patterns that they match. */
function otherKeys(
  layers: readonly Layer[],
  names: ReadonlySet<string>,
  keyDfas: readonly Dfa[],
  isOpen: boolean,
  nodes: readonly SchemaNode[],
  budget: Budget,
): OtherKeys[] {
  const patterns = layers.flatMap((layer) => layer.patterns.map((pattern) => ({ ...pattern, layer })));
  const additional = layers.flatMap((layer) => layer.additional ?? []);
  if (patterns.length === 0) {
    if (!isOpen) return [];
    if (names.size === 0 && keyDfas.length === 0) return [{ keys: null, value: additional }];
  }
  if (patterns.length > mostPatterns) {
    throw schemaError(
      `${nodes[0].path}/patternProperties`,
      `more than ${mostPatterns} patterns cannot be enforced`,
    );
  }
  let all = anyContent(budget);
  const declared = [...names].map((name) => text(JSON.stringify(name).slice(1, -1)));
  all = subtract(all, dfaOf(choice(...declared), budget), budget);
  for (const each of keyDfas) all = intersect(all, each, budget);
  const found: OtherKeys[] = [];
  for (let subset = 0; subset < 1 << patterns.length; subset++) {
    const isIn = (i: number) => ((subset >> i) & 1) === 1;
    if (subset === 0 && !isOpen) continue;
    let keys = all;
    patterns.forEach((pattern, i) => {
      keys = isIn(i) ? intersect(keys, pattern.keys, budget) : subtract(keys, pattern.keys, budget);
    });
    // A layer that knows the key by a pattern has nothing additional to say of it.
    const value = layers.flatMap((layer) => {
      const matched = patterns.filter((pattern, i) => pattern.layer === layer && isIn(i)).map(({ value }) =>
        value
      );
      return matched.length > 0 || layer.additional === null ? matched : [layer.additional];
    });
    if (!keys.isEmpty && !value.some(({ isFalse }) => isFalse)) found.push({ keys, value });
  }
  return found;
}

/**
 * @param ruleOf the rule of schemas that hold together
 * @param addRule gives an expression a name
 */
export function objectExpr(
  shape: ObjectShape,
  path: string,
  ruleOf: (nodes: readonly SchemaNode[]) => Expr,
  addRule: (expr: Expr) => string,
): Expr {
  const { properties, required, min, max, others } = shape;
  if (required.size > max) return nothing;
  const declared = [...properties];
  const isCounted = min > required.size || max < (others.length > 0 ? Infinity : declared.length);
  if (isCounted && declared.length * (Math.min(max, declared.length) + 1) > mostStates) {
    throw schemaError(path, "minProperties and maxProperties of so many properties cannot be enforced");
  }
  const other = choice(
    ...others.map(({ keys, value }) =>
      sequence(keys === null ? stringTerminal() : terminal(new QuotedText(keys)), colon, ruleOf(value))
    ),
  );
  const close = text("}");
  let lacksOthers = false;

  const tail = (count: number): Expr => {
    const missing = isCounted ? Math.max(0, min - count) : 0;
    const left = isCounted ? max - count : Infinity;
    const end = sequence(space, close);
    if (others.length === 0 || left === 0) {
      return missing > 0 ? nothing : count > 0 ? end : close;
    }
    // Two keys that are not declared may be the same, so that only one of them counts for certain.
    if (missing > 1) {
      lacksOthers = true;
      return nothing;
    }
    const more = (taken: number) =>
      repeat(sequence(comma, other), Math.max(0, missing - taken), left - taken);
    if (count > 0) return sequence(more(0), end);
    const some = sequence(other, more(1), end);
    return missing > 0 ? some : choice(close, some);
  };
  // From the end: what follows when the properties before an index are done and so many of them were written.
  const mostCount = isCounted ? declared.length : 1;
  let rest = Array.from({ length: mostCount + 1 }, (_, count) => tail(count));
  for (let index = declared.length - 1; index >= 0; index--) {
    const [name, value] = declared[index];
    const after = rest;
    rest = Array.from({ length: Math.min(index, mostCount) + 1 }, (_, count) => {
      const written = isCounted ? count + 1 : 1;
      const isLeft = !isCounted || count < max;
      const pair = sequence(...(count > 0 ? [comma] : []), text(JSON.stringify(name)), colon, ruleOf(value));
      const taken = isLeft ? sequence(pair, after[written]) : nothing;
      return required.has(name) ? taken : rule(addRule(choice(taken, after[count])));
    });
  }
  const whole = sequence(text("{"), space, rest[0]);
  if (lacksOthers && min > declared.length) {
    throw schemaError(
      `${path}/minProperties`,
      "it cannot be enforced of names that are not declared, beyond one of them",
    );
  }
  return whole;
}
