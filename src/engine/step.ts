/**
 * One pass of the network over the parts of a step. It changes no sequence, so it can be tried again
 * with fewer parts when it throws.
 * @module
 */
import type { Backend, LatentCache, Run, Tensor } from "../backend/backend.ts";
import type { Mtp } from "../model/mtp.ts";
import type { Network, Observer } from "../model/network.ts";
import type { Part } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";

/** What a step needs of a network. */
export interface StepModel extends Pick<Network, "predict" | "moveTokens"> {
  readonly backend: Pick<Backend, "gatherRows" | "read" | "clearBlocks" | "copyBlock">;
  /** Null or left out where the layer for multi-token prediction is not loaded. */
  readonly mtp?: Pick<Mtp, "expect"> | null;
}

/** Hidden states of a part's tokens; they live until the next step. */
export interface PartStates {
  /** (rows of all parts, hidden) */
  readonly hidden: Tensor;
  /** Row of the part's first token; the others follow. */
  readonly firstRow: number;
  /** Position of that token in its sequence. */
  readonly firstPosition: number;
}

/** What a part's sequence learns from a step. */
export interface Outcome {
  readonly part: Part;
  /** Rows that it wanted: none before the end of a prompt, one more than guesses after it. */
  readonly nRows: number;
  /** (nRows, vocab), or (nRows, hidden) for `embed` and `keep`; null where `best` says enough. */
  readonly values: Float32Array | null;
  /** The likeliest token of each row, -1 where the row holds NaN or infinity; null for `embed` and `keep`. */
  readonly best: Int32Array | null;
  /** Null where nobody looks further by them. */
  readonly states: PartStates | null;
}

/** Computes the parts' tokens, and the rows that their sequences want. */
export function computeStep(
  model: StepModel,
  cache: LatentCache,
  parts: readonly Part[],
  observer?: Observer,
): Outcome[] {
  const runs: Run[] = [];
  const tokens = new Int32Array(parts.reduce((sum, { count }) => sum + count, 0));
  const wanted: number[] = [], heads: number[] = [];
  let end = 0;
  for (const part of parts) {
    const { sequence, count, drafts } = part;
    addRuns(runs, sequence, count);
    tokens.set(sequence.tokens(sequence.computed, count - drafts.length), end);
    end += count;
    tokens.set(drafts, end - drafts.length);
    const nHeads = meetsHead(sequence) ? rowsWanted(part) : 0;
    for (let back = rowsKept(part); back > 0; back--) {
      if (back <= nHeads) heads.push(wanted.length);
      wanted.push(end - back);
    }
  }
  const predicted = model.predict(cache, runs, tokens, Int32Array.from(wanted), heads, observer);
  const { hidden, logits, best } = predicted;

  let hiddenRow = 0, logitsRow = 0;
  return parts.map((part) => {
    const { sequence } = part;
    const nRows = rowsWanted(part);
    const firstRow = hiddenRow;
    hiddenRow += rowsKept(part);
    const states = sequence.looksFurther ? { hidden, firstRow, firstPosition: sequence.computed } : null;
    if (!meetsHead(sequence)) {
      const values = read(model, hidden, range(hiddenRow - nRows, hiddenRow));
      return { part, nRows, values, best: null, states };
    }
    const firstLogits = logitsRow;
    logitsRow += nRows;
    const values = sequence.isPlainGreedy
      ? null
      : read(model, logits, range(firstLogits, logitsRow), sequence);
    return { part, nRows, values, best: best.slice(firstLogits, logitsRow), states };
  });
}

/** Whether logits are wanted of its rows. */
function meetsHead({ task }: Sequence): boolean {
  return task.kind === "generate" || task.kind === "logits";
}

/** Prompt tokens and generated ones are different runs: their attention is summed differently. */
function addRuns(runs: Run[], sequence: Sequence, count: number): void {
  const { computed, blocks } = sequence;
  const nOfPrompt = sequence.nOfPrompt(count);
  if (nOfPrompt > 0) runs.push({ firstPosition: computed, count: nOfPrompt, isPrompt: true, blocks });
  if (nOfPrompt < count) {
    const firstPosition = computed + nOfPrompt;
    runs.push({ firstPosition, count: count - nOfPrompt, isPrompt: false, blocks });
  }
}

/** @returns how many of the next `count` tokens, counted from the last, are asked for their result */
function rowsWanted({ sequence, count, drafts }: Part): number {
  const end = sequence.computed + count;
  if (sequence.task.kind === "generate" && !sequence.wantsPrompt) {
    return end - drafts.length === sequence.length ? 1 + drafts.length : 0;
  }
  if (sequence.task.kind === "keep") return 1; // finite, it shows that all tokens before it are
  // After a preemption the rows that were given out are computed once more, but not asked for.
  return Math.min(count, Math.max(0, end - sequence.reported));
}

/** @returns how many of them are kept: all, for whoever looks further by them */
function rowsKept(part: Part): number {
  return part.sequence.looksFurther ? part.count : rowsWanted(part);
}

/** @returns the rows named, without a copy where they are all there are */
function gather(model: StepModel, x: Tensor, rows: readonly number[]): Tensor {
  return rows.length === x.rows ? x : model.backend.gatherRows(x, Int32Array.from(rows));
}

/** @param drawn draws from the rows before the next ones are read, and may give them room */
function read(
  model: StepModel,
  x: Tensor | null,
  rows: readonly number[],
  drawn?: Sequence,
): Float32Array | null {
  if (x === null || rows.length === 0) return null;
  const isDrawn = drawn?.task.kind === "generate" && !drawn.wantsPrompt;
  const into = isDrawn ? drawn.logitsRoom(rows.length * x.width) : undefined;
  return model.backend.read(gather(model, x, rows), into);
}

/** @returns first, first + 1, …, end - 1 */
function range(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, i) => first + i);
}
