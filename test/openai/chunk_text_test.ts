import assert from "node:assert/strict";
import { test } from "node:test";
import { chunkTexts } from "../../src/openai/chunk_text.ts";

test("a chunk of a text is JSON of that chunk, whatever the text and what stands around it are", () => {
  const texts = ["", "a", '"content":""', "\\", "\u0000\n\u2028", "é\u{1f98a}", "$&$1", '","id":"x'];
  for (const model of texts) {
    const make = (index: number, content: string) => ({
      model,
      choices: [{ index, delta: { content } }],
      n: null,
    });
    const json = chunkTexts(make);
    for (const index of [0, 1, 0]) {
      for (const text of texts) assert.equal(json(index, text), JSON.stringify(make(index, text)));
    }
  }
});
