/**
 * What a session of calls covers, in words that can be compared: which function, on which instruction set,
 * with how many threads, formats of weights and caches, about how many rows, in whole vectors or not. Read
 * from the names of parameters, so that what is new is covered when it comes.
 * @module
 */
import type { Declared } from "./header.ts";

/** Parameters whose value decides which code runs. */
const choices = /^(isa|threads|exact|format|dtype|interleaved|scoring|group_score|normalise)$/;
/** Parameters that count rows. */
const rowCounts = /^(rows|n_tokens|n_rows)$/;
const widths = /^(width|rope_dim|nope_dim|v_dim|kv_lora_rank|hidden|intermediate)$/;

/** Follows objects through calls. */
export class Coverage {
  readonly #seen = new Set<string>();
  /** What is known of a handle: the choices that it was made with, and those of what it was made of. */
  readonly #traits = new Map<number, ReadonlySet<string>>();

  /** @param result of a call that succeeded */
  note({ name, result: kind, parameters }: Declared, given: readonly number[], result: number): void {
    const traits = new Set<string>();
    const own = new Set<string>();
    for (const [i, { name: parameter, letter }] of parameters.entries()) {
      const value = given[i];
      if (letter === "h") { for (const trait of this.#traits.get(value) ?? []) traits.add(trait); }
      else if (choices.test(parameter)) own.add(`${parameter}=${value}`);
      else if (widths.test(parameter)) own.add(value % 16 === 0 ? "whole" : "odd");
    }
    for (const trait of own) {
      // A weight that is packed is no longer what it was packed from.
      for (const other of traits) if (kindOf(other) === kindOf(trait)) traits.delete(other);
    }
    for (const trait of own) traits.add(trait);
    if (kind === "h") this.#traits.set(result, traits);
    // Members and modes count for whatever is done with the whole.
    else if (parameters[0]?.letter === "h" && changes.has(name)) {
      this.#traits.set(given[0], new Set([...this.#traits.get(given[0]) ?? [], ...traits]));
    }
    const rows = parameters.findIndex(({ name: parameter }) => rowCounts.test(parameter));
    const size = rows < 0 ? "" : sizeClass(given[rows]);
    this.#seen.add([name, size, ...[...traits].sort()].join(" "));
  }

  /** @returns each kind of call once */
  seen(): string[] {
    return [...this.#seen];
  }
}

/** @returns what a trait is about: "format" of "format=4" */
function kindOf(trait: string): string {
  return trait.replace(/=.*/, "");
}

/** Functions that change what their first argument does later. */
const changes = new Set(["experts_set", "device_exact"]);

/** Kernels change over at 2, 4, 16 or so rows, and cut larger numbers into panels. */
function sizeClass(rows: number): string {
  return `rows<${2 ** Math.ceil(Math.log2(rows + 1))}`;
}

/** @returns a kind of call by what was called, on what, with which formats: no numbers of rows, no modes */
export function coarse(kind: string): string {
  return kind.replace(/ (rows<\d+|odd|whole|(?!isa|format|dtype)\w+=\d+)(?= |$)/g, "").replace(/ +/g, " ")
    .trim();
}
