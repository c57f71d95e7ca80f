import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { abiVersion, listedOps, results, symbols } from "../../ffi/symbols.ts";

const header = readFileSync(new URL("../../kernels/ops.h", import.meta.url), "utf8");
const code = header.replace(/\/\/.*/g, "").replace(/\/\*[^]*?\*\//g, "");

/** C types of the header by what crosses the border for them. */
const types: Record<string, string> = {
  "handle": "i32",
  "status": "i32",
  "int32_t": "i32",
  "float": "f32",
  "double": "f64",
  "uint8_t *": "bytes",
  "const uint8_t *": "bytes",
};

/** The functions of the header, in the table's notation. */
const declared = [...code.matchAll(/^HADAL_API\s+(\w+)\s+(\w+)\s*\(([^)]*)\)\s*;/gm)].map(
  ([, result, name, parameters]) => ({
    name,
    result: types[result],
    parameters: parameters.trim() === "void" ? [] : parameters.split(",").map((parameter) => {
      const [, type, word] = /^\s*(.*?\W)(\w+)\s*$/.exec(parameter)!;
      return `${word}: ${types[type.replace(/\s+/g, " ").trim()]}`;
    }),
  }),
);

test("every function that the header exports is parsed", () => {
  assert.equal(declared.length, code.match(/^HADAL_API/gm)!.length);
  assert.ok(declared.length > 30);
});

test("the table lists the functions of ops.h, in its order", () => {
  assert.deepEqual(Object.keys(symbols), declared.map(({ name }) => name));
});

for (const { name, result, parameters } of declared) {
  test(`${name} has the parameters and the result of the header`, () => {
    assert.deepEqual([...symbols[name as keyof typeof symbols]], parameters);
    assert.equal(results[name] ?? "i32", result);
  });
}

test("a list of run_ops numbers the ops in the order of the header", () => {
  const names = declared.map(({ name }) => name);
  assert.deepEqual([...listedOps], names.slice(names.indexOf("embed"), names.indexOf("run_ops")));
});

test("results names no function that the header lacks", () => {
  for (const name of Object.keys(results)) assert.ok(name in symbols, name);
});

test("the ABI version is the header's", () => {
  assert.equal(abiVersion, Number(/#define HADAL_ABI (\d+)/.exec(header)![1]));
});
