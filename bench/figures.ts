/**
 * Measurements in a few figures.
 * @module
 */

import { median } from "../src/cli/bench/record.ts";

/** A median, and the two values that it lies between with a certainty of 95 %, whatever the distribution. */
export function inFigures(values: readonly number[], digits: number, unit: string): string {
  const sorted = [...values].sort((a, b) => a - b), n = sorted.length;
  const at = Math.max(0, Math.floor((n - 1.96 * Math.sqrt(n)) / 2));
  const [low, high] = [sorted[at], sorted[n - 1 - at]].map((value) => value.toFixed(digits));
  return `${median(values).toFixed(digits)} ${unit} (${low} to ${high})`;
}
