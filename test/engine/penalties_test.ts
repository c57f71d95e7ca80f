/** Tokens and words that may not come, however a reply is written. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type GenerateOptions, type LanguageModel, load, RequestError } from "../../mod.ts";

let model: LanguageModel;
before(async () => void (model = await load("minnow", { contextLength: 512 })));
after(() => model.close());

const prompt = "Once upon a time there was a little";
const short: GenerateOptions = { maxTokens: 32, temperature: 0, ignoreEos: true };
const idsOf = (text: string) => [...model.tokenizer.encode(text)];

/** Ways to write a reply. */
const ways: Readonly<Record<string, GenerateOptions>> = {
  greedy: {},
  guessed: { speculative: "ngram" },
  drawn: { temperature: 1, seed: 5, n: 3 },
  penalised: { repetitionPenalty: 1.2, frequencyPenalty: 0.5 },
  searched: { beam: { width: 3 }, n: 3 },
  formed: { regex: "[a-z ,.]{20,40}" },
};

/** Whether tokens stand in others, one after the other. */
function holds(tokens: readonly number[], word: readonly number[]): boolean {
  return tokens.some((_, at) => word.every((token, i) => tokens[at + i] === token));
}

test("words that may not come are in no reply, at its beginning and within, of one token and of several", async () => {
  for (const [name, options] of Object.entries(ways)) {
    const plain = await model.complete(prompt, { ...short, ...options });
    // What the reply would have been: its first token, and pieces of what follows.
    const pieces = plain.choices.flatMap(({ tokens }) =>
      [[0, 1], [3, 2], [8, 3]].map(([at, length]) => model.tokenizer.decode(tokens.slice(at, at + length)))
    );
    const badWords = pieces.filter((piece) => !piece.includes("\uFFFD"));
    const { choices } = await model.complete(prompt, { ...short, ...options, badWords });
    for (const { tokens } of choices) {
      for (const word of badWords.flatMap((text) => [text, text.trimStart(), ` ${text.trimStart()}`])) {
        if (word !== "") assert.ok(!holds(tokens, idsOf(word)), `${name}: ${JSON.stringify(word)}`);
      }
    }
  }
});

test("a word is banned only where its first tokens stand", async () => {
  const { tokens } = await model.complete(prompt, short);
  const word = `zebra${model.tokenizer.decode([tokens[1]])}`;
  assert.ok(idsOf(word).length > 1 && idsOf(word).at(-1) === tokens[1], word);
  assert.deepEqual((await model.complete(prompt, { ...short, badWords: [word] })).tokens, tokens);
});

test("guesses change nothing about it, and neither do other requests", async () => {
  const options = { ...short, badWords: ["girl", "boy", "named", "was a"] };
  const alone = await model.complete(prompt, options);
  const [guessed, among] = await Promise.all([
    model.complete(prompt, { ...options, speculative: "ngram" }),
    model.complete(prompt, options),
    model.complete(prompt, { ...short, temperature: 1 }),
  ]);
  assert.deepEqual(guessed.tokens, alone.tokens);
  assert.deepEqual(among.tokens, alone.tokens);
});

test("tokens that may be drawn are the only ones, however a reply is written", async () => {
  const allowedTokenIds = [...new Set(idsOf("the bear and the fox, see it run. abcdefghijklmnopqrstuvwxyz"))];
  for (const [name, options] of Object.entries(ways)) {
    const { choices } = await model.complete(prompt, { ...short, ...options, allowedTokenIds });
    for (const { tokens } of choices) {
      assert.ok(tokens.length > 0 && tokens.every((token) => allowedTokenIds.includes(token)), name);
    }
  }
});

test("a reply that nothing may follow is refused by the name of what leaves nothing, and the model goes on", async () => {
  const blamed = async (options: GenerateOptions) => {
    const error = await model.complete(prompt, { ...short, ...options }).then(() => null, (error) => error);
    assert.ok(error instanceof RequestError, String(error));
    return error.param;
  };
  assert.equal(await blamed({ regex: "[a-c]{9}", allowedTokenIds: idsOf("x") }), "allowed_token_ids");
  assert.equal(
    await blamed({ regex: "a{40}", badWords: Array.from({ length: 9 }, (_, i) => "a".repeat(i + 1)) }),
    "bad_words",
  );
  for (const badWords of ["a", [""], [5], Array.from({ length: 1025 }, () => "a"), ["a".repeat(1025)]]) {
    assert.equal(await blamed({ badWords: badWords as string[] }), "bad_words");
  }
  assert.equal((await model.complete(prompt, short)).tokens.length, 32);
});
