/**
 * The results as a markdown table that is also aligned in a terminal, row by row as they come.
 * @module
 */
import type { LimitKind } from "../../backend/native/limits.ts";
import { parseMetrics, unitOf } from "./metrics.ts";
import { type BenchRecord, median, type OldRecord } from "./record.ts";

/** Both kinds of table fit a terminal of 100 columns: beside an earlier run the spread gives way. */
const widths = { alone: [10, 10, 8, 21, 18, 8], compared: [10, 10, 8, 18, 8, 10, 12] } as const;

/** Heading of the table. */
export function tableHead(isCompared: boolean): string {
  const limit = ["machine's limit", "reached"];
  const cells = isCompared
    ? ["metric", "median", "unit", ...limit, "before", "times better"]
    : ["metric", "median", "unit", "least to most", ...limit];
  return `${line(cells)}\n${line(cells.map((_, i) => "-".repeat(widthsOf(cells)[i])))}`;
}

/** One row. @param old what an earlier run found of the same metric, null for nothing; undefined: no columns */
export function tableRow(record: BenchRecord, old?: OldRecord | null): string {
  const { metric, unit, samples, value, limit, part } = record;
  const cells = [
    metric,
    shown(value),
    unit,
    ...(old === undefined ? [`${shown(Math.min(...samples))} to ${shown(Math.max(...samples))}`] : []),
    limit === undefined ? "" : limitText(limit.kind, median(limit.samples)),
    part === undefined ? "" : `${(100 * part).toFixed(1)} %`,
  ];
  if (old !== undefined) {
    const before = old === null ? null : median(old.samples);
    cells.push(
      before === null ? "" : shown(before),
      before === null ? "" : timesBetter(metric, value, before).toFixed(2),
    );
  }
  return line(cells);
}

/** @returns above 1 for an improvement, whichever way that is */
export function timesBetter(metric: string, now: number, before: number): number {
  return unitOf(parseMetrics(metric)[0]).moreIsBetter ? now / before : before / now;
}

/** Such as "read 21.3 GB/s". */
export function limitText(kind: LimitKind, perSecond: number): string {
  const isBytes = kind === "read" || kind === "copy";
  return `${kind} ${shown(perSecond / 1e9)} ${isBytes ? "GB/s" : "Gop/s"}`;
}

/** Four digits, none of them an exponent. */
export function shown(value: number): string {
  const digits = Math.max(0, 3 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return value.toFixed(Math.min(digits, 4));
}

function widthsOf(cells: readonly string[]): readonly number[] {
  return cells.length === widths.alone.length ? widths.alone : widths.compared;
}

function line(cells: readonly string[]): string {
  return `| ${cells.map((cell, i) => cell.padEnd(widthsOf(cells)[i])).join(" | ")} |`;
}
