import assert from "node:assert/strict";
import { test } from "node:test";
import { originsOf } from "../../src/openai/origins.ts";

test("origins are one, several, all or none", () => {
  assert.deepEqual(originsOf(undefined), []);
  assert.deepEqual(originsOf(false), []);
  assert.deepEqual(originsOf("https://page.example"), ["https://page.example"]);
  const several = ["http://localhost:3000", "http://[::1]:3000", "tauri://localhost", "null"];
  assert.deepEqual(originsOf(several), several);
  for (const all of [true, "*", ["https://page.example", "*"]]) assert.equal(originsOf(all), "*");
});

test("what no browser sends as an origin is refused: it would let nobody in", () => {
  const paths = ["https://page.example/", "https://page.example/app", "https://page.example?a", "https://"];
  for (
    const cors of ["", "page.example", "HTTPS://page.example", "https://Page.example", "not a url", ...paths]
  ) {
    for (const option of [cors, ["https://page.example", cors]]) {
      assert.throws(() => originsOf(option), (error: Error) => {
        assert(error instanceof TypeError);
        assert.equal(error.message.includes(`${JSON.stringify(cors)} was given`), true, error.message);
        return true;
      });
    }
  }
  assert.throws(() => originsOf([]), /^TypeError: Cannot use cors: an empty list was given/);
  assert.throws(() => originsOf(5), /5 was given/);
});
