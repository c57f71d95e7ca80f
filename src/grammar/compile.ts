/**
 * From what a caller asks for to a graph that can be followed.
 * @module
 */
import { RequestError } from "../errors.ts";
import { graphOf } from "./build_graph.ts";
import { parseEbnf } from "./ebnf.ts";
import { choice, type Expr, markBytes, repeat, rule, type Rules, sequence, terminal, text } from "./expr.ts";
import { freeText } from "./free_text.ts";
import type { Graph } from "./graph.ts";
import { anyRules, jsonRules } from "./json_text.ts";
import { Budget } from "./limits.ts";
import { parseRegex } from "./regex.ts";
import { schemaRules } from "./schema/schema.ts";
import type { GrammarSource, GrammarSpec } from "./spec.ts";

/**
 * @throws {RequestError} saying what of the grammar cannot be read, or cannot be enforced
 */
export function compileGrammar(spec: GrammarSpec): Graph {
  const compiler = new Compiler();
  const root = compiler.add(spec);
  compiler.rules.set("reply", root);
  return graphOf({ rules: compiler.rules, root: "reply" }, compiler.budget);
}

class Compiler {
  readonly budget = new Budget();
  readonly rules = new Map<string, Expr>();
  #nSources = 0;

  add(spec: GrammarSpec): Expr {
    switch (spec.kind) {
      case "source":
        return this.#addSource(spec.source);
      case "strictArguments":
        return this.#addRules(schemaRules(spec.schema, this.budget, { isObject: true }));
      case "looseArguments":
        return this.#addLoose(spec.schema);
      case "mark":
        return { kind: "bytes", bytes: markBytes(spec.mark) };
      case "until":
        return terminal(freeText(markBytes(spec.mark), true));
      case "without":
        return terminal(freeText(markBytes(spec.mark), false));
      case "lineBreaks":
        return repeat(text("\n"), 0, spec.most);
      case "sequence":
        return sequence(...spec.items.map((item) => this.add(item)));
      case "choice":
        return choice(...spec.items.map((item) => this.add(item)));
      case "repeat":
        return repeat(this.add(spec.item), spec.min, spec.max ?? Infinity);
    }
  }

  #addSource(source: GrammarSource): Expr {
    switch (source.type) {
      case "jsonSchema":
        return this.#addRules(schemaRules(source.schema, this.budget));
      case "jsonObject":
        return this.#addRules({ rules: jsonRules(), root: anyRules.object });
      case "regex": {
        const root = withoutEdges(parseRegex(source.pattern, "regex"));
        return this.#addRules({ rules: new Map([["root", root]]), root: "root" });
      }
      case "grammar":
        return this.#addRules(parseEbnf(source.text));
      case "choice":
        return choice(...source.texts.map(text));
    }
  }

  #addLoose(schema: unknown): Expr {
    try {
      const own = new Budget();
      const { rules, root } = schemaRules(schema, own, { isObject: true });
      graphOf({ rules, root }, own); // throws where no document follows it
      return this.#addRules({ rules, root });
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      return this.#addSource({ type: "jsonObject" }); // nothing was promised of them
    }
  }

  /** Each source's rules have names of their own. */
  #addRules({ rules, root }: Rules): Expr {
    const prefix = `${this.#nSources++} `;
    for (const [name, expr] of rules) this.rules.set(prefix + name, renamed(expr, prefix));
    return rule(prefix + root);
  }
}

/** A pattern that is to match a whole text needs no marks of its edges. */
function withoutEdges(expr: Expr): Expr {
  if (expr.kind === "choice") return { ...expr, items: expr.items.map(withoutEdges) };
  const items = expr.kind === "sequence" ? [...expr.items] : [expr];
  while (isEdge(items[0], "start")) items.shift();
  while (isEdge(items.at(-1), "end")) items.pop();
  return sequence(...items);
}

const isEdge = (expr: Expr | undefined, at: "start" | "end") => expr?.kind === "edge" && expr.at === at;

function renamed(expr: Expr, prefix: string): Expr {
  switch (expr.kind) {
    case "sequence":
    case "choice":
      return { ...expr, items: expr.items.map((item) => renamed(item, prefix)) };
    case "repeat":
      return { ...expr, item: renamed(expr.item, prefix) };
    case "rule":
      return rule(prefix + expr.name);
    default:
      return expr;
  }
}
