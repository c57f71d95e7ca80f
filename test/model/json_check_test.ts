import assert from "node:assert/strict";
import { test } from "node:test";
import { CheckpointError } from "../../src/errors.ts";
import {
  checkJson,
  either,
  exactly,
  Fault,
  list,
  object,
  oneOf,
  onlyThese,
  text,
  whole,
} from "../../src/model/json_check.ts";

test("an object is read with the keys that are known, nested ones too", () => {
  const check = object({
    name: text(),
    sizes: list(whole(1)),
    inner: object({ kind: oneOf("a", "b") }).nullish(),
  });
  const json = { name: "x", sizes: [1, 2], inner: { kind: "b", more: 1 }, other: true };
  assert.deepEqual(checkJson(check, json, "f"), { name: "x", sizes: [1, 2], inner: { kind: "b" } });
  assert.equal(checkJson(check, { ...json, inner: null }, "f").inner, null);
});

test("the first value that does not fit is named by its place, with what is needed", () => {
  const check = object({
    sizes: list(whole(1)),
    id: either(whole(0), list(whole(0)), "an id or ids are needed"),
  });
  const wrong: [unknown, string][] = [
    [{ sizes: [1, 0], id: 1 }, `sizes.1 is 0, a whole number from 1 to ${2 ** 31 - 1} is needed`],
    [{ sizes: 5, id: 1 }, "sizes is 5, an array is needed"],
    [{ sizes: [], id: [0, "1"] }, "id is an array of 2, an id or ids are needed"],
    [{ sizes: [] }, "id is missing, an id or ids are needed"],
    [[], "it is [], a JSON object is needed"],
    [null, "it is null, a JSON object is needed"],
  ];
  for (const [json, sentence] of wrong) {
    assert.throws(() => checkJson(check, json, "f"), new CheckpointError("f", sentence));
  }
  assert.throws(() => checkJson(check, { sizes: [Infinity] }, "f", "top"), /top\.sizes\.0 is Infinity/);
});

test("a key too many is a fault where no others are allowed", () => {
  const check = exactly({ deep: onlyThese({ a: text(), b: text() }) });
  assert.deepEqual(check.read({ deep: {} }), { deep: { a: undefined, b: undefined } });
  assert.throws(
    () => check.read({ deep: { toString: 1 } }),
    (error) =>
      error instanceof Fault && error.path.join(".") === "deep.toString" &&
      error.message === "known are a, b",
  );
});
