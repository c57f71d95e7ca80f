/**
 * The values of nf4: 16 levels that cut a normal distribution into equal parts (QLoRA, arXiv:2305.14314,
 * appendix E), as whole numbers of 127ths, so that kernels multiply integers.
 * @module
 */
import type { GroupCode, GroupFormat } from "./group_code.ts";
import { int8Scale, largestMagnitude } from "./int8.ts";
import { packedGroup } from "./packed_format.ts";

/** round(127 * level) of the paper. */
const nf4Levels: readonly number[] = [
  -127,
  -88,
  -67,
  -50,
  -36,
  -23,
  -12,
  0,
  10,
  20,
  31,
  43,
  56,
  71,
  92,
  127,
];
const zeroCode = nf4Levels.indexOf(0);

/** Codes stand for their level times the scale. */
export const nf4: GroupFormat = {
  encode(values: Float32Array): GroupCode {
    const codes = new Uint8Array(packedGroup).fill(zeroCode);
    const scale = int8Scale(largestMagnitude(values));
    if (!(scale < Infinity)) return { codes, scale: NaN, min: 0 };
    if (scale > 0) {
      for (let i = 0; i < values.length; i++) codes[i] = nearest(Math.fround(values[i] / scale));
    }
    return { codes, scale, min: 0 };
  },
  decode: (code, scale) => nf4Levels[code] * scale,
};

/** @returns the code of the nearest level, of two equally near ones the lower */
function nearest(value: number): number {
  let code = 0;
  while (code < nf4Levels.length - 1 && value > (nf4Levels[code] + nf4Levels[code + 1]) / 2) code++;
  return code;
}
