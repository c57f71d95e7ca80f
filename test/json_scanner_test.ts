import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { JsonScanner, JsonSyntaxError, parseJson } from "../src/json_scanner.ts";
import { spentBy } from "./spent.ts";

const scan = (text: string): JsonScanner => new JsonScanner(new TextEncoder().encode(text));

/** Reads all bytes as one JSON value. */
function accepts(text: string | Uint8Array): boolean {
  try {
    const scanner = typeof text === "string" ? scan(text) : new JsonScanner(text);
    scanner.skip("the text");
    scanner.finish();
    return true;
  } catch (error) {
    assert.ok(error instanceof JsonSyntaxError, `${error}`);
    return false;
  }
}

test("the scanner accepts what JSON.stringify writes", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom(undefined, 1, "\t"), (value, indent) => {
      assert.ok(accepts(JSON.stringify(value, null, indent)));
    }),
  );
});

test("the scanner agrees with JSON.parse on damaged texts", () => {
  // One key an object at most: two equal ones are where the two differ on purpose.
  const { node } = fc.letrec<{ node: unknown }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 4 },
      fc.string({ maxLength: 6 }),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.constantFrom(true, false, null, {}),
      fc.array(tie("node"), { maxLength: 4 }),
      fc.record({ key: tie("node") }),
    ),
  }));
  const piece = fc.constantFrom(...'"\\{}[],:0-.eu \n\0t', "");
  const edits = fc.array(fc.tuple(fc.nat(), piece), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(node, edits, (value, edits) => {
      let text = JSON.stringify(value);
      for (const [place, piece] of edits) {
        const at = place % text.length;
        text = text.slice(0, at) + piece + text.slice(at + 1);
      }
      let isJson = true;
      try {
        JSON.parse(text);
      } catch {
        isJson = false;
      }
      assert.equal(accepts(text), isJson, text);
    }),
    { numRuns: 2000 },
  );
});

/** Reads a whole value by its parts. */
function read(json: JsonScanner): unknown {
  if (json.isArray()) {
    const items: unknown[] = [];
    json.array("a list", () => items.push(read(json)));
    return items;
  }
  const start = json.position;
  try {
    const entries: [string, unknown][] = [];
    json.entries("an object", () => entries.push([json.text(), read(json)]));
    return Object.fromEntries(entries);
  } catch (error) {
    if (!/needed an object/.test(`${error}`)) throw error;
    json.position = start;
    return json.value("a value");
  }
}

test("a value read by its parts, or as a whole, is what JSON.parse makes of it", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), fc.nat(3), (value, indent) => {
      const text = ` ${JSON.stringify(value, null, indent)}\n`;
      for (const way of [read, (json: JsonScanner) => json.value("it")]) {
        const json = scan(text);
        assert.equal(JSON.stringify(way(json)), JSON.stringify(JSON.parse(text)));
        json.finish();
      }
    }),
    { numRuns: 500 },
  );
});

test("a skipped value ends where the value ends, and can be come back to", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (first, second) => {
      const json = scan(`[${JSON.stringify(first, null, 1)},${JSON.stringify(second)}]`);
      const seen: unknown[] = [];
      json.array("both", () => {
        const start = json.position;
        json.skip("one");
        const end = json.position;
        json.position = start;
        seen.push(json.value("one"));
        assert.equal(json.position, end);
      });
      assert.equal(JSON.stringify(seen), JSON.stringify([first, second]));
    }),
  );
});

test("a text is refused wherever it is cut", () => {
  const whole = '{"a\\u00e9\\n": [1, -2.5e3, true, null, "x\\"y"], "b": {"c": []}}';
  assert.ok(accepts(whole));
  for (let length = 0; length < whole.length; length++) {
    assert.ok(!accepts(whole.slice(0, length)), whole.slice(0, length));
  }
});

test("bytes that are no UTF-8 are refused, in strings and between them", () => {
  for (const bytes of [[0x22, 0xc3, 0x28, 0x22], [0xff], [0x31, 0xa0], [0xef, 0xbb, 0xbf, 0x31]]) {
    assert.ok(!accepts(Uint8Array.from(bytes)), `${bytes}`);
  }
  assert.ok(accepts('"é中😀\ufeff"'));
});

test("keys that are equal once unescaped count as the same key", () => {
  assert.ok(!accepts('{"a":1,"a":2}'));
  assert.ok(!accepts('{"a":1,"\\u0061":2}'));
  assert.ok(!accepts('[{"x":{"a/b":1,"a\\/b":2}}]'));
  assert.ok(accepts('{"a":{"a":1},"b":{"a":2}}'));
});

test("strings with half a surrogate pair, control characters or no end are refused", () => {
  for (const text of ['"\\ud800"', '"\\udc00x"', '"a\nb"', '"\\x"', '"\\u12"', '"', '"a', '"\\']) {
    assert.ok(!accepts(text), text);
  }
  assert.ok(accepts('"\\ud83d\\ude00 \\"\\\\\\/\\b\\f\\n\\r\\t"'));
});

test("sizes are whole numbers written as such, up to 2^53 - 1", () => {
  const size = (text: string) => scan(text).size("n");
  assert.equal(size(" 0"), 0);
  assert.equal(size("9007199254740991"), Number.MAX_SAFE_INTEGER);
  for (
    const text of [
      "9007199254740992",
      "9007199254740993",
      "1e400",
      "1e3",
      "1.0",
      "-1",
      "-0",
      "01",
      '"1"',
      "",
      "true",
      "9".repeat(400),
      "null",
      "[]",
      "1x",
      "+1",
    ]
  ) {
    assert.throws(() => size(text), JsonSyntaxError, text);
  }
});

test("nesting beyond 128 levels is refused at once, however deep it goes", () => {
  assert.ok(accepts("[".repeat(128) + "]".repeat(128)));
  for (const depth of [129, 1_000_000]) {
    const spent = spentBy(() => {
      assert.ok(!accepts("[".repeat(depth)));
      assert.ok(!accepts('{"a":'.repeat(depth)));
    });
    assert.ok(spent < 5000); // a fifth of a second where it takes longest
  }
});

test("a value is read up to a number of values in it, and a key twice is refused at any depth", () => {
  assert.deepEqual(parseJson('{"a":[1,{"b":null}]} '), { a: [1, { b: null }] });
  assert.deepEqual(parseJson("[1,2,3]", 4), [1, 2, 3]);
  assert.throws(() => parseJson("[1,2,3]", 3), /too many values/);
  assert.throws(() => parseJson(`[${"{},".repeat(300_000)}{}]`), /too many values/);
  assert.throws(() => parseJson('{"a":{"b":1,"\\u0062":2}}'), /has the key "b" twice/);
  assert.throws(() => parseJson("{} {}"), JsonSyntaxError);
});

test("short strings that differ in one letter are told apart", () => {
  for (const length of [1, 2, 8, 16, 17]) {
    const words = Array.from(
      { length: 64 },
      (_, i) => "x".repeat(length - 1) + String.fromCharCode(0x30 + i),
    );
    const found: string[] = [];
    const scanner = scan(JSON.stringify([...words, ...words]));
    scanner.array("words", () => found.push(scanner.string("a word")));
    assert.deepEqual(found, [...words, ...words]);
  }
});
