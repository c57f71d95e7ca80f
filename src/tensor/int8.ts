/**
 * The values of hadal's int8 format: -127 to 127 times the group's scale, the largest magnitude over 127.
 * @module
 */
import type { GroupCode, GroupFormat } from "./group_code.ts";
import { packedGroup } from "./packed_format.ts";
import { roundToEven } from "./round.ts";

/** Codes are the values in two's complement. */
export const int8: GroupFormat = {
  encode(values: Float32Array): GroupCode {
    const codes = new Int8Array(packedGroup);
    const scale = int8Scale(largestMagnitude(values));
    if (!(scale < Infinity)) return { codes: new Uint8Array(packedGroup), scale: NaN, min: 0 };
    for (let i = 0; i < values.length; i++) codes[i] = int8Step(values[i], scale);
    return { codes: new Uint8Array(codes.buffer), scale, min: 0 };
  },
  decode: (code, scale) => (code << 24 >> 24) * scale,
};

/** @returns the largest magnitude; NaN if any value is NaN */
export function largestMagnitude(values: Float32Array): number {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, Math.abs(value));
  return largest;
}

/** @returns the scale of a group, an f16 value, from its largest magnitude */
export function int8Scale(largest: number): number {
  return Math.f16round(Math.fround(largest / 127));
}

/** @returns the multiple of the scale that is nearest to a value, -127 to 127 */
function int8Step(value: number, scale: number): number {
  // -128 is left out: kernels take magnitudes of the bytes.
  const step = scale === 0 ? 0 : roundToEven(Math.fround(value / scale));
  return Math.min(127, Math.max(-127, step));
}
