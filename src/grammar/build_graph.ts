/**
 * From rules to their graph. What needs no recursion becomes one terminal where that stays small.
 * @module
 */
import { RequestError } from "../errors.ts";
import { dfaOf, dfaOfTexts } from "./dfa.ts";
import { type Expr, type Rules, terminal } from "./expr.ts";
import { type Graph, type GraphNode, type GraphRule, shown } from "./graph.ts";
import { findHeights, findNullable, refuseLeftRecursion } from "./graph_facts.ts";
import { Budget, limits, TooLargeError } from "./limits.ts";
import type { Terminal } from "./terminal.ts";

/** States that an expression may have, by its looks, to be made one terminal. */
const terminalSize = 4000;
/** States of an expression that is looked for among those that were made. */
const alikeSize = 256;
/** Rules that call rules, within what is made one terminal: each takes calls of whoever walks them. */
const terminalDepth = 100;

/**
 * @throws {RequestError} a rule that is not there, that begins with itself, or that never ends
 * @throws {TooLargeError}
 */
export function graphOf(rules: Rules, budget = new Budget()): Graph {
  const builder = new Builder(rules, budget);
  const root = builder.rule(rules.root);
  builder.finish();
  if (root.start.height === Infinity) {
    throw new RequestError("Cannot use the grammar: no text of finite length follows it");
  }
  return { root, nNodes: builder.nodes.length };
}

class Builder {
  readonly nodes: GraphNode[] = [];
  readonly #source: Rules;
  readonly #budget: Budget;
  readonly #rules = new Map<string, GraphRule>();
  readonly #all: GraphRule[] = [];
  /** How large each rule is as one terminal; null while that is being found. */
  readonly #sizes = new Map<string, number | null>();
  readonly #terminals = new Map<string, Terminal | null>();
  /** Those of small expressions by how they are written: the commas and brackets of all lists are one. */
  readonly #alike = new Map<string, Terminal | "nothing" | null>();
  readonly #waiting: (() => void)[] = [];
  #nEdges = 0;

  constructor(source: Rules, budget: Budget) {
    this.#source = source;
    this.#budget = budget;
  }

  rule(name: string): GraphRule {
    const known = this.#rules.get(name);
    if (known !== undefined) return known;
    const expr = this.#exprOf(name);
    const made = this.#begin(name);
    this.#rules.set(name, made);
    // Later, not within: rules may follow one another to any depth.
    this.#waiting.push(() => {
      const terminal = this.#terminalOfRule(name);
      if (terminal === null) this.#lowerParts(expr, made.start, made.end);
      else this.#read(terminal, made.start, made.end);
    });
    return made;
  }

  /** Builds all rules that are called, and finds out what holds for all of them together. */
  finish(): void {
    for (let next = this.#waiting.pop(); next !== undefined; next = this.#waiting.pop()) next();
    findNullable(this.#all, this.#budget);
    refuseLeftRecursion(this.#all, (name) => this.#rules.has(name), this.#budget);
    findHeights(this.nodes, this.#nEdges, this.#budget);
  }

  #begin(name: string): GraphRule {
    const rule = { name, start: this.#node(false), end: this.#node(true), isNullable: false };
    this.#all.push(rule);
    return rule;
  }

  #node(isEnd: boolean): GraphNode {
    const node: GraphNode = {
      reads: [],
      calls: [],
      jumps: [],
      loop: null,
      isEnd,
      id: this.nodes.length,
      height: isEnd ? 0 : Infinity,
    };
    this.nodes.push(node);
    this.#count();
    return node;
  }

  #count(): void {
    if (this.nodes.length + ++this.#nEdges > limits.nodes) throw new TooLargeError("it has too many rules");
    this.#budget.spend(10);
  }

  #exprOf(name: string): Expr {
    const expr = this.#source.rules.get(name);
    if (expr !== undefined) return expr;
    throw new RequestError(`Cannot use the grammar: there is no rule ${shown(name)}`);
  }

  #read(terminal: Terminal, from: GraphNode, to: GraphNode): void {
    from.reads.push({ terminal, next: to });
    this.#count();
  }

  #lower(expr: Expr, from: GraphNode, to: GraphNode): void {
    if (expr.kind === "terminal") return this.#read(expr.terminal, from, to);
    if (expr.kind === "rule") {
      const terminal = this.#terminalOfRule(expr.name);
      if (terminal !== null) return this.#read(terminal, from, to);
      from.calls.push({ rule: this.rule(expr.name), next: to });
      return this.#count();
    }
    const terminal = hasEdge(expr) ? null : this.#terminalOf(expr);
    if (terminal === "nothing") return;
    if (terminal === null) this.#lowerParts(expr, from, to);
    else this.#read(terminal, from, to);
  }

  #lowerParts(expr: Expr, from: GraphNode, to: GraphNode): void {
    switch (expr.kind) {
      case "sequence": {
        let at = from;
        const items = this.#grouped(expr.items);
        items.forEach((item, i) => {
          const next = i === items.length - 1 ? to : this.#node(false);
          this.#lower(item, at, next);
          at = next;
        });
        if (items.length === 0) from.jumps.push(to);
        return;
      }
      case "choice":
        for (const item of this.#joined(expr.items)) {
          const own = this.#node(false);
          from.jumps.push(own);
          this.#lower(item, own, to);
        }
        return;
      case "repeat":
        return this.#lowerRepeat(expr, from, to);
      // Too large by its looks to be joined with what stands beside it, and a terminal all the same.
      case "bytes":
        return this.#read(dfaOfTexts([expr.bytes], this.#budget), from, to);
      case "chars": {
        const dfa = dfaOf(expr, this.#budget);
        return dfa.isEmpty ? undefined : this.#read(dfa, from, to);
      }
      case "edge":
        throw new TooLargeError("^ or $ stands within an expression that is too large for them");
      default:
        return this.#lower(expr, from, to);
    }
  }

  /** Neighbours that are plain become one item: the fewer terminals, the fewer tokens lie across their ends. */
  #grouped(items: readonly Expr[]): readonly Expr[] {
    const grouped: Expr[] = [];
    let run: Expr[] = [], size = 0;
    const end = () => {
      if (run.length > 0) grouped.push(run.length === 1 ? run[0] : { kind: "sequence", items: run });
      run = [];
      size = 0;
    };
    for (const item of items) {
      const ownSize = isPlain(item) && !hasEdge(item) ? this.#sizeOf(item) : Infinity;
      if (size + ownSize > terminalSize) end();
      if (ownSize > terminalSize) grouped.push(item);
      else {
        run.push(item);
        size += ownSize;
      }
    }
    end();
    return grouped.length === 1 ? items : grouped; // one that could not be a terminal as a whole
  }

  /** Alternatives that are texts become one terminal: an enumeration may have thousands. */
  #joined(items: readonly Expr[]): readonly Expr[] {
    const texts = items.filter((item) => item.kind === "bytes");
    if (texts.length < 2) return items;
    const joined = terminal(dfaOfTexts(texts.map(({ bytes }) => bytes), this.#budget));
    return [...items.filter((item) => item.kind !== "bytes"), joined];
  }

  #lowerRepeat({ item, min, max }: Expr & { kind: "repeat" }, from: GraphNode, to: GraphNode): void {
    if (min <= 1 && (max === Infinity || max === 1)) {
      const loop = this.#node(false);
      if (max === 1) {
        if (min === 0) from.jumps.push(to);
        return this.#lower(item, from, to);
      }
      if (min === 0) from.jumps.push(loop);
      else this.#lower(item, from, loop);
      this.#lower(item, loop, loop);
      loop.jumps.push(to);
      return;
    }
    const body = this.#begin("a repetition");
    this.#lower(item, body.start, body.end);
    const node = this.#node(false);
    from.jumps.push(node);
    node.loop = { body, min, max, next: to };
    this.#count();
  }

  #terminalOfRule(name: string): Terminal | null {
    const known = this.#terminals.get(name);
    if (known !== undefined) return known;
    const expr = this.#exprOf(name);
    const made = expr.kind === "terminal" ? expr.terminal : this.#terminalOf(expr);
    const terminal = made === "nothing" ? null : made;
    this.#terminals.set(name, terminal);
    return terminal;
  }

  /** @returns null for what is no terminal */
  #terminalOf(expr: Expr): Terminal | "nothing" | null {
    if (expr.kind === "choice" && expr.items.length > 1 && expr.items.every(({ kind }) => kind === "bytes")) {
      const texts = expr.items.filter((item) => item.kind === "bytes").map(({ bytes }) => bytes);
      return dfaOfTexts(texts, this.#budget);
    }
    const size = this.#sizeOf(expr);
    if (size > terminalSize) return null;
    if (size > alikeSize) return this.#terminalAnew(expr);
    const key = JSON.stringify(expr);
    let made = this.#alike.get(key);
    if (made === undefined) this.#alike.set(key, made = this.#terminalAnew(expr));
    return made;
  }

  #terminalAnew(expr: Expr): Terminal | "nothing" | null {
    let dfa;
    try {
      dfa = dfaOf(this.#inlined(expr), this.#budget);
    } catch (error) {
      if (!(error instanceof TooLargeError)) throw error;
      this.#budget.spend(0); // throws again where it is the whole grammar's that is spent
      return null;
    }
    return dfa.isEmpty ? "nothing" : dfa;
  }

  /** About how many states an expression takes as a regular one; Infinity where it is none, or too deep. */
  #sizeOf(expr: Expr, depth = 0): number {
    switch (expr.kind) {
      case "chars":
        return Math.max(1, expr.set.length);
      case "bytes":
        return expr.bytes.length;
      case "sequence":
      case "choice":
        return expr.items.reduce((sum, item) => sum + this.#sizeOf(item, depth), 1);
      case "repeat":
        return this.#sizeOf(expr.item, depth) * Math.max(1, expr.max === Infinity ? expr.min : expr.max);
      case "edge":
        return 1;
      case "terminal":
        return Infinity;
      case "rule": {
        const known = this.#sizes.get(expr.name);
        if (known === null) return Infinity; // it calls itself
        if (known !== undefined) return known;
        if (depth === terminalDepth) return Infinity;
        this.#sizes.set(expr.name, null);
        const size = this.#sizeOf(this.#exprOf(expr.name), depth + 1);
        this.#sizes.set(expr.name, size);
        return size;
      }
    }
  }

  #inlined(expr: Expr): Expr {
    switch (expr.kind) {
      case "sequence":
      case "choice":
        return { ...expr, items: expr.items.map((item) => this.#inlined(item)) };
      case "repeat":
        return { ...expr, item: this.#inlined(expr.item) };
      case "rule":
        return this.#inlined(this.#exprOf(expr.name));
      default:
        return expr;
    }
  }
}

/** Whether an expression names no rule: one that does is shared with others. */
function isPlain(expr: Expr): boolean {
  switch (expr.kind) {
    case "rule":
    case "terminal":
      return false;
    case "sequence":
    case "choice":
      return expr.items.every(isPlain);
    case "repeat":
      return isPlain(expr.item);
    default:
      return true;
  }
}

/** Whether an expression asks for an edge of the whole text, which is not known of a part. */
function hasEdge(expr: Expr): boolean {
  switch (expr.kind) {
    case "edge":
      return true;
    case "sequence":
    case "choice":
      return expr.items.some(hasEdge);
    case "repeat":
      return hasEdge(expr.item);
    default:
      return false;
  }
}
