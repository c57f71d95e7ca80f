/** The tokens that may come inside of strings, against trying each of them. */
import { test } from "node:test";
import { follow, manyTokens } from "./following.ts";
import { masksOf, mixedVocabulary } from "./writing.ts";

const strings: Record<string, unknown>[] = [
  {},
  { maxLength: 0 },
  { maxLength: 3 },
  { minLength: 2 },
  { minLength: 3, maxLength: 5 },
  { minLength: 4, maxLength: 4 },
  { minLength: 2, maxLength: 300 },
  { pattern: "^[^b]{1,4}$" },
  { pattern: '^[a\\n"]+$', maxLength: 3 },
  { pattern: "^.$" },
  { pattern: "a.*b" },
  { pattern: "^(aé)*$", maxLength: 4 },
];

test("what may follow in a string is what each token may by itself, whatever counts and patterns hold it", () => {
  for (const masks of [masksOf(mixedVocabulary), masksOf(manyTokens())]) {
    // Twice, so that strings of one kind find what others left behind.
    for (const seed of [1, 2]) {
      for (const string of strings) {
        const schema = { type: "array", items: { type: "string", ...string } };
        follow(masks, { type: "jsonSchema", schema }, seed);
      }
    }
  }
});
