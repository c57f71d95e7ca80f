/**
 * Calls every function of a kernel library with sound arguments of which some have been replaced by
 * senseless ones. Whatever comes back, the process lives, and a sound call still gives the right answer.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Bytes, symbols } from "../../ffi/symbols.ts";
import { kernelLibrary } from "../backends.ts";
import { type AnyCalls, generator, soundCalls } from "./sound_calls.ts";

const nDevices = 25, nCallsEach = 200;

/** Numbers around every border that a check could get wrong. */
const ints = [0, 1, 2, 3, 4, 8, 15, 16, 17, 64, 65, 100, -1, -2, 2 ** 31 - 1, -(2 ** 31), 2 ** 30];
const sizes = [
  0,
  1,
  3,
  4,
  64,
  100,
  4096,
  65536,
  -1,
  -0.5,
  0.5,
  NaN,
  Infinity,
  -Infinity,
  2 ** 32,
  2 ** 53,
  1e300,
];
const floats = [0, 1, -1, 1e-6, NaN, Infinity, 1e30];

const library = await kernelLibrary();
if (library !== null) {
  const calls = library.calls as unknown as AnyCalls;
  for (const seed of [1, 2, 3]) {
    test(`${nDevices * nCallsEach} senseless calls do no harm (seed ${seed})`, () =>
      senselessCalls(calls, seed));
  }
}

function senselessCalls(calls: AnyCalls, seed: number): void {
  const next = generator(seed);
  const pick = <T>(choices: readonly T[]): T => choices[Math.floor(next() * choices.length)];
  const names = Object.keys(symbols) as (keyof typeof symbols)[];
  let nAccepted = 0;
  for (let round = 0; round < nDevices; round++) {
    const device = calls.device_open(pick([0, calls.isa_best()]), pick([1, 2]), 2 ** 20);
    assert.ok(device > 0);
    const { sound, handles } = soundCalls(calls, device, next);
    for (let i = 0; i < nCallsEach; i++) {
      const name = pick(names);
      // These would leave nothing for the calls after them.
      if (/^(device_close|handle_free|step_begin|step_release)$/.test(name) && next() < 0.9) continue;
      const parameters: readonly string[] = symbols[name];
      const values = [...sound[name]];
      for (let change = Math.floor(next() * 3); change > 0 && values.length > 0; change--) {
        const at = Math.floor(next() * values.length);
        const [word, type] = parameters[at].split(": ");
        if (word === "list") values[at] = otherList(values[at] as Int32Array, handles, pick);
        if (type === "bytes") continue;
        // How long an array is, only the caller can know: it must not be told too much.
        const array = values.find((value) => typeof value === "object");
        if (array !== undefined && /^(size|path_bytes)$/.test(word)) {
          values[at] = pick([0, 1, (array as Bytes).byteLength, -1, -2]);
        } else if (word === "threads") values[at] = pick([-1, 0, 2, 3, 2 ** 31 - 1]);
        else if (word === "arena_bytes") values[at] = pick([0, -1, NaN, 1000, 2 ** 53]);
        else if (type === "f64") values[at] = pick(sizes);
        else if (type === "f32") values[at] = pick(floats);
        else values[at] = pick(next() < 0.5 ? handles : ints);
      }
      const result = calls[name](...values);
      assert.equal(typeof result, "number");
      if (result >= 0) nAccepted++;
      else assert.ok(calls.last_error(new Uint8Array(256), 256) > 0, `${name} says what is wrong`);
      if (name === "device_open" && result > 0) calls.device_close(result);
    }
    calls.device_close(device);
  }
  assert.ok(nAccepted > nDevices * nCallsEach / 10, `only ${nAccepted} calls got past the checks`);
  addOneAndTwo(calls);
}

/** @returns a list of ops in which some numbers are others: an op's number, a handle, a size, the bits of a float */
function otherList(
  list: Int32Array,
  handles: readonly number[],
  pick: <T>(choices: readonly T[]) => T,
): Int32Array {
  const other = Int32Array.from(list);
  for (let change = pick([1, 2, 3]); change > 0; change--) {
    other[pick([...other.keys()])] = pick(pick([handles, ints]));
  }
  return other;
}

/** A device of its own, and a sum that has to come out. */
function addOneAndTwo(calls: AnyCalls): void {
  const device = calls.device_open(0, 1, 2 ** 16);
  const x = calls.step_buffer(device, 8), y = calls.step_buffer(device, 8);
  assert.equal(calls.buffer_write(x, 0, Float32Array.of(1, 2), 8), 0);
  assert.equal(calls.buffer_write(y, 0, Float32Array.of(3, 4), 8), 0);
  assert.equal(calls.add(x, y, 1, 2), 0);
  const out = new Float32Array(2);
  assert.equal(calls.buffer_read(out, x, 0, 8), 0);
  assert.deepEqual(out, Float32Array.of(4, 6));
  assert.equal(calls.device_close(device), 0);
}
