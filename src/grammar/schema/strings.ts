/**
 * Strings of a schema: their lengths, patterns and formats.
 * @module
 */
import { anyChar, type CharSet } from "../char_set.ts";
import { type Dfa, dfaOf, intersect, repeated, subtract } from "../dfa.ts";
import { chars, type Expr, nothing, repeat, terminal } from "../expr.ts";
import { spelled, spelledExpr, stringOf } from "../json_text.ts";
import { Budget } from "../limits.ts";
import { QuotedText } from "../quoted_text.ts";
import { begun, parseLookaheads, searched } from "../regex.ts";
import { schemaError, type SchemaNode } from "./document.ts";
import { formatExpr, isSpelledOut, knownFormats } from "./formats.ts";
import { leastOf, mostOf } from "./keywords.ts";

/** Beyond this a string cannot be counted and held to a pattern at once. */
const mostCounted = 4000;

/** The strings that schemas allow. */
export function stringExpr(nodes: readonly SchemaNode[], budget: Budget): Expr {
  const min = leastOf(nodes, "minLength"), max = mostOf(nodes, "maxLength");
  if (min > max) return nothing;
  const alike = alikeChars(nodes);
  if (alike !== null) {
    const least = Math.max(min, alike.min), most = Math.min(max, alike.max);
    const content = repeated(dfaOf(spelled(alike.set), budget));
    return least > most ? nothing : terminal(new QuotedText(content, least, most));
  }
  const dfa = contentDfa(nodes, budget);
  if (dfa === "any") return stringOf(min, max);
  return dfa.isEmpty ? nothing : terminal(new QuotedText(dfa));
}

/**
 * Where all that holds a string is one pattern such as `^[a-z_]{2,40}$`, of characters alike: they are counted, for
 * which no state is laid out.
 */
function alikeChars(nodes: readonly SchemaNode[]): { set: CharSet; min: number; max: number } | null {
  const held = nodes.filter(({ keywords }) =>
    keywords.pattern !== undefined || keywords.format !== undefined
  );
  if (held.length !== 1 || held[0].keywords.format !== undefined) return null;
  const { keywords: { pattern }, path } = held[0];
  if (typeof pattern !== "string") return null;
  const { expr, lookaheads } = parsed(pattern, `${path}/pattern`);
  if (expr.kind !== "sequence" || expr.items.length !== 3 || lookaheads.length > 0) return null;
  const [first, middle, last] = expr.items;
  if (first.kind !== "edge" || first.at !== "start" || last.kind !== "edge" || last.at !== "end") return null;
  const { item, min, max } = middle.kind === "repeat" ? middle : { item: middle, min: 1, max: 1 };
  return item.kind === "chars" && item.set.length > 0 ? { set: item.set, min, max } : null;
}

/**
 * What may stand between the quotes, in one spelling; "any" where only the length matters, or nothing.
 */
export function contentDfa(nodes: readonly SchemaNode[], budget: Budget): Dfa | "any" {
  let all: Dfa | "any" = "any";
  for (const node of nodes) {
    for (const each of patternsOf(node, budget)) all = all === "any" ? each : intersect(all, each, budget);
  }
  return all === "any" ? all : withinLengths(all, nodes, budget);
}

/** As `contentDfa`, for whoever needs an automaton in any case. */
export function contentDfaOf(nodes: readonly SchemaNode[], budget: Budget): Dfa {
  const dfa = contentDfa(nodes, budget);
  return dfa === "any" ? withinLengths(anyContent(budget), nodes, budget) : dfa;
}

/** Any string, in one spelling. */
export function anyContent(budget: Budget): Dfa {
  return dfaOf(spelledExpr(repeat(chars(anyChar), 0, Infinity)), budget);
}

function withinLengths(dfa: Dfa, nodes: readonly SchemaNode[], budget: Budget): Dfa {
  const min = leastOf(nodes, "minLength"), max = mostOf(nodes, "maxLength");
  if (min === 0 && max === Infinity) return dfa;
  if (min > mostCounted || (max !== Infinity && max > mostCounted)) {
    const node = nodes.find(({ keywords }) => keywords.maxLength ?? keywords.minLength)!;
    throw schemaError(
      node.path,
      `lengths beyond ${mostCounted} cannot be enforced beside a pattern or a format`,
    );
  }
  const counted = dfaOf(spelledExpr(repeat(chars(anyChar), min, max)), budget);
  return intersect(dfa, counted, budget);
}

function patternsOf({ keywords, path }: SchemaNode, budget: Budget): Dfa[] {
  const found: Dfa[] = [];
  if (keywords.pattern !== undefined) found.push(patternDfa(keywords.pattern, `${path}/pattern`, budget));
  const { format } = keywords;
  if (format === undefined) return found;
  if (typeof format !== "string") throw schemaError(`${path}/format`, "a text is needed");
  if (keywords.pattern !== undefined && isSpelledOut(format)) return found;
  const dfa = formatDfa(format);
  if (dfa === undefined) {
    throw schemaError(
      `${path}/format`,
      `${JSON.stringify(format)} is not known, formats of strings are ${knownFormats.join(", ")}`,
    );
  }
  return dfa === null ? found : [...found, dfa];
}

const formats = new Map<string, Dfa | null>();

/** As `formatExpr`; each is made once for all grammars. */
function formatDfa(name: string): Dfa | null | undefined {
  const known = formats.get(name);
  if (known !== undefined) return known;
  const expr = formatExpr(name);
  if (expr === undefined) return undefined;
  const dfa = expr && dfaOf(spelledExpr(expr), new Budget());
  formats.set(name, dfa);
  return dfa;
}

/** Strings of which a pattern matches a part. */
export function patternDfa(pattern: unknown, path: string, budget: Budget): Dfa {
  if (typeof pattern !== "string") throw schemaError(path, "a regular expression as a text is needed");
  const { expr, lookaheads } = parsed(pattern, path);
  let dfa = dfaOf(spelledExpr(searched(expr)), budget);
  for (const { expr: ahead, isNegative } of lookaheads) {
    const other = dfaOf(spelledExpr(begun(ahead)), budget);
    dfa = isNegative ? subtract(dfa, other, budget) : intersect(dfa, other, budget);
  }
  return dfa;
}

function parsed(pattern: string, path: string): ReturnType<typeof parseLookaheads> {
  try {
    return parseLookaheads(pattern, "json_schema");
  } catch (error) {
    throw schemaError(path, (error as Error).message.replace(/^Cannot use json_schema: /, ""));
  }
}
