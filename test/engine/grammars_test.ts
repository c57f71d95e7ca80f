import assert from "node:assert/strict";
import { test } from "node:test";
import { RequestError, UnsupportedError } from "../../src/errors.ts";
import { Grammars } from "../../src/engine/grammars.ts";
import type { SamplingOptions } from "../../src/engine/sampling_options.ts";
import type { GrammarSource, GrammarSpec } from "../../src/grammar/spec.ts";
import { Harness, type Outcome, prompt, samplingOf, vocabSize } from "./fake_model.ts";

/** Token k is the character after k others from the space on. */
const characterOf = (token: number) => String.fromCharCode(0x20 + token);
const idOf = (character: string) => character.charCodeAt(0) - 0x20;
const textOf = (outcome: Outcome) => outcome.tokens.map(characterOf).join("");

function harnessWith(nMissing = 0): Harness {
  const harness = new Harness();
  const bytes = Uint8Array.from({ length: vocabSize - nMissing }, (_, id) => 0x20 + id);
  const ends = Int32Array.from(bytes, (_, id) => id + 1);
  harness.engine.useGrammars(new Grammars({ bytes, ends, control: [] }));
  return harness;
}

function run(pattern: string, options: SamplingOptions = {}, harness = harnessWith()): Outcome {
  return harness.result(ask(harness, { maxTokens: 30, ...options }, sourceOf(pattern)));
}

function ask(harness: Harness, options: SamplingOptions, grammar: GrammarSpec): number {
  return harness.submit(prompt(9), { kind: "generate", sampling: { ...samplingOf(options), grammar } });
}

const sourceOf = (pattern: string): GrammarSpec => ({ kind: "source", source: { type: "regex", pattern } });

test("a reply follows its grammar, greedy and drawn, and ends where nothing can follow", () => {
  for (
    const options of [{ temperature: 0 }, { temperature: 1, seed: 3 }, { temperature: 2, seed: 4, topP: 0.9 }]
  ) {
    const outcome = run("(ab|[x-z]{3})[0-9]{4}!", options);
    assert.match(textOf(outcome), /^(ab|[x-z]{3})[0-9]{4}!$/);
    assert.equal(outcome.finish!.reason, "stop");
  }
});

test("a reply that is cut before its grammar ends has the finish reason length", () => {
  const outcome = run("a{20}", { maxTokens: 7 });
  assert.equal(textOf(outcome), "aaaaaaa");
  assert.equal(outcome.finish!.reason, "length");
});

test("a stop token waits until the text may end, and is then drawn as any other", () => {
  const stop = idOf("~");
  const bias = { [stop]: 100 };
  const outcome = run("[a-c]{5,}", { stopIds: [stop], logitBias: bias, temperature: 1, seed: 2 });
  assert.match(textOf(outcome), /^[a-c]{5}$/);
  assert.equal(outcome.finish!.reason, "stop");
  const later = run("[a-c]{5,}", { stopIds: [stop], logitBias: bias, minTokens: 9 });
  assert.match(textOf(later), /^[a-c]{9}$/);
});

test("a bias changes what is drawn among what is allowed, and nothing else", () => {
  const outcome = run("[ab]{6}", { logitBias: { [idOf("b")]: 100, [idOf("c")]: 100 } });
  assert.equal(textOf(outcome), "bbbbbb");
});

test("log-probabilities stay the model's own", () => {
  const [event] = run("[ab]{3}", { topLogprobs: 3 }).events;
  const harness = new Harness();
  const [plain] = harness.result(harness.generate(prompt(9), { topLogprobs: 3 })).events;
  assert.deepEqual(event.top, plain.top);
  assert.ok(event.logprob < 0);
});

test("replies with and without a grammar share steps, and each is what it is alone", () => {
  const alone = ["[a-f]{12}", "(no|yes)+"].map((pattern) => run(pattern).tokens);
  const harness = harnessWith();
  const plain = new Harness();
  const expected = plain.result(plain.generate(prompt(5))).tokens;
  const ids = [
    ask(harness, { maxTokens: 30 }, sourceOf("[a-f]{12}")),
    harness.generate(prompt(5)),
    ask(harness, { maxTokens: 30 }, sourceOf("(no|yes)+")),
  ];
  harness.run();
  assert.deepEqual(ids.map((id) => harness.outcomes.get(id)!.tokens), [alone[0], expected, alone[1]]);
});

test("what the vocabulary cannot spell fails with an error, and the others go on", () => {
  const harness = harnessWith(vocabSize - idOf("q")); // no token from q on
  const failing = ask(harness, {}, sourceOf("abq"));
  const other = ask(harness, { maxTokens: 30 }, sourceOf("abc"));
  harness.run();
  const { error } = harness.outcomes.get(failing)!;
  assert.ok(error instanceof RequestError);
  assert.match(error.message, /no token of the vocabulary/);
  assert.equal(textOf(harness.outcomes.get(other)!), "abc");
});

test("a grammar that cannot be followed is refused when it is sent", () => {
  const harness = harnessWith();
  assert.throws(() => ask(harness, {}, sourceOf("(?=a)")), RequestError);
  assert.throws(() => ask(new Harness(), {}, sourceOf("a")), UnsupportedError);
  assert.equal(harness.engine.stats().requests.refused, 1);
  const source: GrammarSource = { type: "grammar", text: "root ::= missing" };
  assert.throws(() => ask(harness, {}, { kind: "source", source }), /there is no rule "missing"/);
});
