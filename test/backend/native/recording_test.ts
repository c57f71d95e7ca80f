import assert from "node:assert/strict";
import { test } from "node:test";
import { type Ops, recordedRows, type Run, type Tensor } from "../../../src/backend/backend.ts";
import { cpuBackends } from "../../backends.ts";
import { randomFrom } from "../../ops/random.ts";
import { withPlace } from "../../with_place.ts";

const run: Run = { firstPosition: 0, count: 2, isPrompt: true, blocks: [0] };

for (const { name, open } of (await cpuBackends()).slice(-1)) {
  test(`a recording on ${name} takes as many tokens and angles as it was made for, and no others`, () =>
    withPlace(async (place) => {
      const backend = await open();
      try {
        const embedding = randomFrom(backend, "recording", place).weight(8, 16, "f32");
        backend.beginStep();
        const recording = backend.record!(
          2,
          (ops) => stepOn(ops, () => ops.embed(embedding, new Int32Array(2))),
        );
        const values = (tokens: number[]) => {
          const { hidden, logits, best } = recording.run(Int32Array.from(tokens), [run], new Float32Array(8));
          const found = backend.read(hidden);
          assert.deepEqual(best, backend.argmax(logits));
          assert.deepEqual(backend.read(logits), found);
          return found;
        };
        const row = (token: number) => backend.read(backend.embed(embedding, Int32Array.of(token)));
        assert.deepEqual(values([3, 7]), Float32Array.of(...row(3), ...row(7)));
        assert.deepEqual(values([7, 0]), Float32Array.of(...row(7), ...row(0)));
        const refused = (nTokens: number, count: number, nAngles: number, words: RegExp) =>
          assert.throws(
            () => recording.run(new Int32Array(nTokens), [{ ...run, count }], new Float32Array(nAngles)),
            words,
          );
        refused(1, 2, 8, /^RangeError: run: 1 tokens found, 2 needed$/);
        refused(2, 2, 9, /^RangeError: run: 9 angles found, 8 needed$/);
        refused(2, 3, 8, /^RangeError: run: 3 tokens in the runs found, 2 needed$/);
        refused(2, 65, 8, /^RangeError: batch: 1 blocks found, 2 needed$/);
        assert.throws(() => values([3, 8]), /^RangeError: embed: tokens\[1\] is 8, 0 to 7 are possible$/);
        assert.deepEqual(values([3, 7]), Float32Array.of(...row(3), ...row(7)));
      } finally {
        backend.close();
      }
    }));

  test(`${name} refuses to record what a list of ops cannot do again`, () =>
    withPlace(async (place) => {
      const backend = await open();
      try {
        const embedding = randomFrom(backend, "recording", place).weight(8, 16, "f32");
        backend.beginStep();
        const refused = (compute: (ops: Ops) => ReturnType<typeof stepOn>, words: RegExp) =>
          assert.throws(() => backend.record!(2, compute), words);
        const embed = (ops: Ops) => ops.embed(embedding, new Int32Array(2));
        const atOnce = (name: string) =>
          new RegExp(`^Error: Cannot record a step: it calls ${name}, which must happen at once$`);
        refused((ops) => stepOn(ops, () => (ops.beginStep(), embed(ops))), atOnce("step_begin"));
        refused((ops) => stepOn(ops, () => (ops.read(embed(ops)), embed(ops))), atOnce("buffer_read"));
        const notInputs = /^Error: Cannot record a step: [123] uploads are not tokens and angles$/;
        const alone = (ops: Ops) => ops.upload(new Float32Array(2), 1);
        refused((ops) => ({ hidden: alone(ops), logits: alone(ops) }), notInputs);
        refused((ops) => stepOn(ops, () => ops.embed(embedding, new Int32Array(1))), notInputs);
        refused((ops) => stepOn(ops, () => ops.gatherRows(embed(ops), new Int32Array(2))), notInputs);
        for (const nTokens of [0, 1.5, recordedRows + 1]) {
          assert.throws(
            () => backend.record!(nTokens, (ops) => stepOn(ops, () => embed(ops))),
            /^RangeError: record: number of tokens /,
          );
        }
      } finally {
        backend.close();
      }
    }));
}

/** @returns what `compute` does, after which the runs and the angles of a step are put on the device */
function stepOn(ops: Ops, compute: () => Tensor): { hidden: Tensor; logits: Tensor } {
  const hidden = compute();
  ops.batch([run]);
  ops.upload(new Float32Array(8), 4);
  return { hidden, logits: hidden };
}
