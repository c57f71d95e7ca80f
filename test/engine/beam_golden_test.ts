/** Beam search against transformers' generate, on a tiny network. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Backend } from "../../src/backend/backend.ts";
import { Engine } from "../../src/engine/engine.ts";
import type { BeamOptions } from "../../src/engine/beam_options.ts";
import { resolveSampling, type SamplingOptions } from "../../src/engine/sampling_options.ts";
import { everyBackend } from "../backends.ts";
import { openNetwork } from "../model/golden.ts";

const own = fileURLToPath(new URL("../golden/", import.meta.url));
const shared = fileURLToPath(new URL("../../../shared/fixtures/beam.json", import.meta.url));

/** What tools/golden/make_beams.py and make_beam_groups.py write. */
interface Case {
  readonly prompt: readonly number[];
  readonly options: {
    readonly num_beams: number;
    readonly num_beam_groups?: number;
    readonly diversity_penalty?: number;
    readonly num_return_sequences: number;
    readonly max_new_tokens: number;
    readonly eos_token_id: number | readonly number[];
    readonly length_penalty: number;
    readonly early_stopping: BeamOptions["earlyStopping"];
    readonly repetition_penalty?: number;
    readonly min_new_tokens?: number;
  };
  /** With the token that ended them. */
  readonly sequences: readonly (readonly number[])[];
  readonly scores: readonly number[];
}

function optionsOf({ options }: Case): SamplingOptions {
  return {
    n: options.num_return_sequences,
    maxTokens: options.max_new_tokens,
    minTokens: options.min_new_tokens,
    repetitionPenalty: options.repetition_penalty,
    ignoreEos: true,
    stopIds: [options.eos_token_id].flat(),
    beam: {
      width: options.num_beams,
      groups: options.num_beam_groups,
      diversityPenalty: options.diversity_penalty,
      lengthPenalty: options.length_penalty,
      earlyStopping: options.early_stopping,
    },
  };
}

/** The cases, all at once on one engine, so that they share steps. */
function check(backend: Backend, cases: readonly Case[], maxSequences: number): void {
  const network = openNetwork(`${own}v2lite`, backend);
  const nBlocks = 200;
  const found = new Map<number, { tokens: number[]; score: number; reason: string }>();
  const engine = new Engine(
    network,
    network.createCache(nBlocks, "f32"),
    { maxSequences, maxQueue: 1000, chunkTokens: 64, logitRows: 32, contextLength: 128, prefixCache: true },
    {
      tokens: (events) => {
        for (const { id, event } of events) entry(id).tokens.push(event.token);
      },
      rows: () => assert.fail("no rows were asked for"),
      prompt: () => assert.fail("no prompt was asked for"),
      finished: (id, { score, reason }) => Object.assign(entry(id), { score, reason }),
      failed: (_, error) => assert.fail(error as Error),
    },
  );
  const entry = (id: number) => {
    if (!found.has(id)) found.set(id, { tokens: [], score: NaN, reason: "" });
    return found.get(id)!;
  };
  for (const [i, one] of cases.entries()) {
    const sampling = resolveSampling(optionsOf(one), { vocabSize: network.config.vocabSize, eosIds: [] });
    engine.submit(1000 * i, Int32Array.from(one.prompt), { kind: "generate", sampling });
  }
  while (engine.hasWork) engine.step();
  for (const [i, { options, sequences, scores }] of cases.entries()) {
    const what = `case ${i}: ${JSON.stringify(options)}`;
    const ends = [options.eos_token_id].flat();
    for (const [choice, sequence] of sequences.entries()) {
      const { tokens, score, reason } = entry(1000 * i + choice);
      const isEnded = ends.includes(sequence.at(-1)!);
      assert.deepEqual(tokens, isEnded ? sequence.slice(0, -1) : sequence, what);
      assert.equal(reason, isEnded ? "stop" : "length", what);
      assert.ok(
        Math.abs(score - scores[choice]) <= 2e-4 * Math.max(1, Math.abs(scores[choice])),
        `${what}: ${score}`,
      );
    }
  }
  const { cacheBlocks } = engine.stats();
  assert.equal(cacheBlocks.used, 0);
}

const plain: Case[] = JSON.parse(readFileSync(`${own}beams.json`, "utf8"));
const inGroups: Case[] = JSON.parse(readFileSync(`${own}beam_groups.json`, "utf8"));
const cases = [...plain, ...inGroups], few = [...plain.slice(0, 6), ...inGroups.slice(0, 6)];

const backends = await everyBackend();

for (const [i, { name, open }] of backends.entries()) {
  // The reference takes its time, and the last one is the fastest.
  const isLast = i === backends.length - 1;
  for (const maxSequences of isLast ? [32, 2] : [8]) {
    test(`beams on ${name} are those of transformers, ${maxSequences} searches at a time`, async () => {
      const backend = await open();
      try {
        check(backend, isLast ? cases : few, maxSequences);
      } finally {
        backend.close();
      }
    });
  }
}

test("beams are those of the shared fixture", async () => {
  if (!existsSync(shared)) {
    console.log("NOTE: no shared beams: ../shared/fixtures is not here");
    return;
  }
  const { prompt, runs } = JSON.parse(readFileSync(shared, "utf8"));
  const backend = await backends.at(-1)!.open();
  try {
    check(
      backend,
      runs.map(({ sequences, sequences_scores: scores, ...options }: Record<string, unknown>) => ({
        prompt,
        options,
        sequences,
        scores,
      })),
      4,
    );
  } finally {
    backend.close();
  }
});
