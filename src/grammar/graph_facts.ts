/**
 * What holds for all rules of a graph together: which may read nothing, that none begins with itself, and how far
 * each place is from its rule's end.
 * @module
 */
import { RequestError } from "../errors.ts";
import { type GraphNode, type GraphRule, shown } from "./graph.ts";
import type { Budget } from "./limits.ts";
import { isNullable } from "./terminal.ts";

/** Finds the rules that may read nothing. */
export function findNullable(rules: readonly GraphRule[], budget: Budget): void {
  const edges = new Map<GraphRule, boolean>();
  for (let isNew = true; isNew;) {
    isNew = false;
    for (const rule of rules) {
      if (rule.isNullable) continue;
      budget.spend(reachWithoutText(rule, edges));
      if (edges.get(rule)) isNew = rule.isNullable = true;
    }
  }
}

/** Notes whether the rule's end can be reached without text. @returns the work it took */
function reachWithoutText(rule: GraphRule, reachesEnd: Map<GraphRule, boolean>): number {
  const met = new Set<GraphNode>([rule.start]);
  for (const node of met) {
    node.jumps.forEach((next) => met.add(next));
    for (const { terminal, next } of node.reads) if (isNullable(terminal)) met.add(next);
    for (const { rule: called, next } of node.calls) if (called.isNullable) met.add(next);
    if (node.loop !== null && (node.loop.min === 0 || node.loop.body.isNullable)) met.add(node.loop.next);
  }
  reachesEnd.set(rule, met.has(rule.end));
  return met.size;
}

/**
 * A rule that calls itself before it has read anything would be called without end.
 * @param isNamed whether a rule stands under such a name in the grammar
 * @throws {RequestError} for such a rule
 */
export function refuseLeftRecursion(
  rules: readonly GraphRule[],
  isNamed: (name: string) => boolean,
  budget: Budget,
): void {
  const leftCalls = new Map(rules.map((rule) => [rule, leftCallsOf(rule, budget)]));
  const state = new Map<GraphRule, "open" | "done">();
  for (const first of rules) {
    const trail: { rule: GraphRule; calls: GraphRule[] }[] = [];
    const enter = (rule: GraphRule) => {
      if (state.get(rule) === "open") {
        const names = [...trail.map((each) => each.rule), rule].filter((each) => isNamed(each.name));
        const name = shown(names.at(-1)?.name ?? rule.name);
        throw new RequestError(
          `Cannot use the grammar: the rule ${name} calls itself before it reads anything, ` +
            "write the repetition with * or put what is read first",
        );
      }
      if (state.has(rule)) return;
      state.set(rule, "open");
      trail.push({ rule, calls: [...leftCalls.get(rule)!] });
    };
    enter(first);
    while (trail.length > 0) {
      const { rule, calls } = trail[trail.length - 1];
      const next = calls.pop();
      if (next !== undefined) enter(next);
      else {
        state.set(rule, "done");
        trail.pop();
      }
    }
  }
}

function leftCallsOf(rule: GraphRule, budget: Budget): Set<GraphRule> {
  const called = new Set<GraphRule>();
  const met = new Set<GraphNode>([rule.start]);
  for (const node of met) {
    node.jumps.forEach((next) => met.add(next));
    for (const { terminal, next } of node.reads) if (isNullable(terminal)) met.add(next);
    for (const { rule: each, next } of node.calls) {
      called.add(each);
      if (each.isNullable) met.add(next);
    }
    if (node.loop === null) continue;
    called.add(node.loop.body);
    if (node.loop.min === 0 || node.loop.body.isNullable) met.add(node.loop.next);
  }
  budget.spend(met.size);
  return called;
}

/** Finds how far each node is from the end of its rule, in calls within calls. */
export function findHeights(nodes: readonly GraphNode[], nEdges: number, budget: Budget): void {
  for (let isNew = true; isNew;) {
    isNew = false;
    budget.spend(2 * (nodes.length + nEdges));
    // Ends come last where a rule is built: backwards most heights are known after one pass.
    for (let i = nodes.length - 1; i >= 0; i--) {
      const height = heightOf(nodes[i]);
      if (height >= nodes[i].height) continue;
      nodes[i].height = height;
      isNew = true;
    }
  }
}

function heightOf(node: GraphNode): number {
  let least = node.height;
  for (const next of node.jumps) least = Math.min(least, next.height);
  for (const { next } of node.reads) least = Math.min(least, next.height);
  for (const { rule, next } of node.calls) {
    least = Math.min(least, Math.max(1 + rule.start.height, next.height));
  }
  if (node.loop !== null) {
    const { body, min, next } = node.loop;
    const ofBody = min === 0 || body.isNullable ? 0 : 1 + body.start.height;
    least = Math.min(least, Math.max(ofBody, next.height));
  }
  return least;
}
