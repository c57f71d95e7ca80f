/**
 * A row's bits in any company: the same rows computed alone, some at a time, and all at once.
 * @module
 */
import type { Backend, Tensor } from "../../src/backend/backend.ts";
import type { BackendCase } from "../backends.ts";
import { join } from "../join.ts";
import type { Random } from "./random.ts";
import { assertSameBits, type Case, resultOf, type Values } from "./suite.ts";

/** Makes what a function of rows needs, then is that function. */
export type RowCase = (ops: Backend, random: Random) => (x: Tensor) => Tensor;

/** The same random rows of `width`, computed in parts of each of `sizes` rows. @returns all outputs, for each size */
function inParts(make: RowCase, nRows: number, width: number, sizes: readonly number[]): Case {
  return (ops, random) => {
    const act = make(ops, random);
    const values = random.values(nRows * width);
    return sizes.map((size) => {
      const out: Float32Array[] = [];
      for (let row = 0; row < nRows; row += size) {
        const mark = ops.mark();
        out.push(ops.read(act(ops.upload(values.subarray(row * width, (row + size) * width), width))));
        ops.release(mark);
      }
      return join(out);
    });
  };
}

/**
 * Holds rows computed together to the bits of rows computed alone on the first of `targets`.
 * @param sizes rows at once
 * @returns those bits
 */
export async function assertSameInCompany(
  targets: readonly BackendCase[],
  name: string,
  make: RowCase,
  nRows: number,
  width: number,
  sizes: readonly number[],
): Promise<Values> {
  const [expected] = await resultOf(targets[0], inParts(make, nRows, width, [1]), name);
  for (const target of targets) {
    const found = await resultOf(target, inParts(make, nRows, width, sizes), name);
    for (const [at, size] of sizes.entries()) {
      assertSameBits([found[at]], [expected], `${size} rows at once on ${target.name}`);
    }
  }
  return expected;
}
