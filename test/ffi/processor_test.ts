import assert from "node:assert/strict";
import { test } from "node:test";
import { setsOfMachine } from "../../ffi/processor.ts";
import { readSources } from "../../ffi/sources.ts";

const { recipe, sets } = await readSources();

test("a library is compiled for the instruction sets that the processor has", () => {
  const names = (...features: string[]) =>
    setsOfMachine(recipe.isa.x64, new Set(features)).map(({ name }) => name);
  assert.deepEqual(names("sse2"), ["portable"]);
  assert.deepEqual(names("avx2", "fma", "f16c", "bmi2"), ["portable", "avx2"]);
  assert.deepEqual(names("avx2", "fma", "f16c", "bmi2", "avx_vnni").at(-1), "avxvnni");
  const wide = ["avx512f", "avx512bw", "avx512vl", "avx512dq"];
  assert.deepEqual(names("avx2", "fma", "f16c", "bmi2", ...wide), ["portable", "avx2", "avx512"]);
  assert.deepEqual(names("avx2", "fma", "f16c", "bmi2", ...wide, "avx512_vnni").at(-1), "vnni");
  const onArm = (...features: string[]) =>
    setsOfMachine(recipe.isa.arm64, new Set(features)).map(({ name }) => name);
  assert.deepEqual(onArm("asimd"), ["portable", "neon"]);
  assert.deepEqual(onArm("asimd", "asimddp"), ["portable", "neon", "dotprod"]);
  assert.deepEqual(onArm("asimd", "asimddp", "i8mm").at(-1), "i8mm");
});

test("where the processor does not say what it has, all sets are compiled", () => {
  assert.deepEqual(setsOfMachine(recipe.isa.x64, null), recipe.isa.x64);
});

test("this machine gets at least the portable one", () => {
  assert(sets.some(({ name }) => name === "portable"));
});
