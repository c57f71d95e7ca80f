/**
 * What speculative decoding stands on: generated tokens that are computed several in a step have, bit for
 * bit, the logits that each has in a step of its own.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Network } from "../../src/model/network.ts";
import type { CacheDtype, WeightFormat } from "../../src/tensor/dtype.ts";
import { everyBackend } from "../backends.ts";
import { join } from "../join.ts";
import { aloneOn, openGolden, openNetwork } from "./golden.ts";

const cacheDtypes: readonly CacheDtype[] = ["f32", "bf16", "f16", "int8"];
const formats = ["auto", "fp8", "int8", "int4", "int4a", "int3", "nf4"] as const;
const nPrompt = 60; // the generated tokens cross into a second block
const nGenerated = 16;

for (const exact of [true, false]) {
  const how = exact ? "" : " and int8 activations";
  for (const { name, open } of await everyBackend({ exact })) {
    if (!exact && name === "reference") continue; // it is always exact
    test(`generated tokens in one step or many are the same bits on ${name} in every weight format${how}`, async () => {
      const { folder } = openGolden("v3bf16")!;
      for (const format of name === "reference" ? ["auto"] as const : formats) { // it computes all of them alike
        const backend = await open();
        try {
          assertSameHoweverCut(openNetwork(folder, backend, format as "auto" | WeightFormat), "f32", format);
        } finally {
          backend.close();
        }
      }
    });

    test(`generated tokens in one step or many are the same bits on ${name} in every cache${how}`, async () => {
      for (const architecture of name === "reference" ? ["v3bf16"] : ["v3bf16", "v2lite"]) {
        const backend = await open();
        try {
          const network = openNetwork(openGolden(architecture)!.folder, backend);
          for (const dtype of cacheDtypes) assertSameHoweverCut(network, dtype, `${architecture}, ${dtype}`);
        } finally {
          backend.close();
        }
      }
    });
  }
}

function assertSameHoweverCut(network: Network, dtype: CacheDtype, what: string): void {
  const tokens = Int32Array.from(
    { length: nPrompt + nGenerated },
    (_, i) => (i * i * 37 + 11 * i) % network.config.vocabSize,
  );
  const expected = generated(network, dtype, tokens, [1]);
  for (const counts of [[2], [5, 1, 3], [nGenerated]]) {
    const found = generated(network, dtype, tokens, counts);
    const wrong = found.findIndex((value, i) => !Object.is(value, expected[i]));
    assert.equal(wrong, -1, `${what}: value ${wrong} with ${counts} tokens a step`);
  }
}

/** @returns (nGenerated, vocab), with so many tokens in the steps, in turn; each step guesses one more in vain */
function generated(
  network: Network,
  dtype: CacheDtype,
  tokens: Int32Array,
  counts: readonly number[],
): Float32Array {
  const sequence = aloneOn(network, nPrompt + nGenerated + 1, dtype);
  sequence.prompt(tokens.slice(0, nPrompt));
  const { backend, config: { vocabSize } } = network;
  const rows: Float32Array[] = [];
  for (let done = 0, step = 0; done < nGenerated; step++) {
    const count = Math.min(counts[step % counts.length], nGenerated - done);
    const run = sequence.next(count, false);
    const text = Int32Array.of(
      ...tokens.subarray(nPrompt + done, nPrompt + done + count),
      (7 * step) % vocabSize,
    );
    const wanted = text.map((_, i) => i);
    // The wrong guess leaves its latent behind the tokens, where the next step writes over it.
    const hidden = network.forward(sequence.cache, [{ ...run, count: count + 1 }], text, wanted);
    rows.push(backend.read(network.logits(hidden)).subarray(0, count * vocabSize));
    done += count;
  }
  return join(rows);
}
