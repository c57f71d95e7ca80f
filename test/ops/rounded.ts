/**
 * Linear with activations that are rounded to int8, held to the product of just those.
 * @module
 */
import assert from "node:assert/strict";
import type { WeightFormat } from "../../src/tensor/dtype.ts";
import { roundToEven } from "../../src/tensor/round.ts";
import type { BackendCase } from "../backends.ts";
import { type Case, reference, resultOf } from "./suite.ts";

/** The nearest of 127 steps either way of a group's largest magnitude, all in f32. */
function roundActivations(x: Float32Array, width: number): Float64Array {
  const rounded = new Float64Array(x.length);
  for (let row = 0; row < x.length; row += width) {
    for (let start = row; start < row + width; start += 32) {
      const group = x.subarray(start, Math.min(start + 32, row + width));
      const largest = group.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const inverse = Math.fround(127 / largest), step = Math.fround(largest / 127);
      for (const [i, value] of group.entries()) {
        rounded[start + i] = largest > 0 ? roundToEven(Math.fround(value * inverse)) * step : 0;
      }
    }
  }
  return rounded;
}

/**
 * Holds linear to the sum, in f64, of rounded activations times what the weights stand for.
 * @param shape as (rows, width, outputs)
 */
export async function assertMultipliesRounded(
  targets: readonly BackendCase[],
  format: WeightFormat,
  [rows, width, outputs]: readonly [number, number, number],
): Promise<void> {
  const seed = `${rows} ${width} ${outputs}`;
  const act: Case = (ops, random) => {
    const w = random.weight(outputs, width, format);
    return ops.linear(random(rows, width), w);
  };
  // Products with single activations are the weights as both sides see them.
  const parts: Case = (ops, random) => {
    const w = random.weight(outputs, width, format);
    const ones = new Float32Array(width * width);
    for (let i = 0; i < width; i++) ones[i * width + i] = 1;
    return [ops.linear(ops.upload(ones, width), w), random(rows, width)];
  };
  const [columns, x] = await resultOf(reference, parts, seed);
  const rounded = roundActivations(x as Float32Array, width);
  for (const target of targets) {
    const [found] = await resultOf(target, act, seed);
    for (let at = 0; at < rows * outputs; at++) {
      const row = Math.floor(at / outputs), output = at % outputs;
      let sum = 0, magnitude = 0;
      for (let i = 0; i < width; i++) {
        const product = rounded[row * width + i] * columns[i * outputs + output];
        sum += product, magnitude += Math.abs(product);
      }
      const error = Math.abs(found[at] - sum);
      assert.ok(error <= 1e-6 * magnitude, `${seed} on ${target.name}: ${error} from ${sum}`);
    }
  }
}
