/**
 * A row's bits do not depend on the rows beside it, on how a prompt is cut, or on the number of threads.
 */
import { test } from "node:test";
import type { Backend, Routing, Run, Tensor } from "../../src/backend/backend.ts";
import { packedFormats } from "../../src/tensor/packed_format.ts";
import { type BackendCase, cpuBackends } from "../backends.ts";
import { join } from "../join.ts";
import { assertSameInCompany, type RowCase } from "./company.ts";
import { type Random, weightFormats } from "./random.ts";
import { type Attention, attentionShape, layer, prepare, type Sequence } from "./sequences.ts";
import { assertSameBits, type Case, reference, resultOf, type Values } from "./suite.ts";

const routing: Routing = {
  nExperts: 9,
  nExpertsPerToken: 3,
  scoring: "sigmoid",
  nGroups: 3,
  nGroupsPerToken: 2,
  groupScore: "top2",
  normalise: true,
  scale: 2.5,
};

/** Every op that takes rows, as a function of them. */
const ops: Record<string, RowCase> = {
  "rms_norm": (ops, random) => {
    const weight = random(150);
    return (x) => ops.rmsNorm(x, weight, 1e-6);
  },
  "rope": (ops, random) => {
    const angles = random.angles(1, 10);
    return (x) => {
      ops.rope(x, ops.gatherRows(angles, new Int32Array(x.rows)), 15, true);
      return x;
    };
  },
};
for (const format of weightFormats) {
  ops[`linear with ${format} weights`] = (ops, random) => {
    const w = random.weight(70, 150, format);
    return (x) => ops.linear(x, w);
  };
  ops[`mlp with ${format} weights`] = (ops, random) => {
    const w = random.experts(1, 150, 40, format);
    return (x) => ops.mlp(x, w);
  };
  ops[`a layer of experts with ${format} weights`] = (ops, random) => {
    const gate = random.weight(9, 150), bias = random(9);
    const routed = random.experts(9, 150, 24, format), shared = random.experts(1, 150, 40, format);
    return (x) => ops.experts(x, ops.routeExperts(x, gate, bias, routing), routed, shared);
  };
  ops[`attention of generated tokens with ${format} weights`] = (ops, random) => {
    const shape = attentionShape(3, 48, 2, 32, 128), past = 70;
    const attention = prepare(ops, random, shape, [{ past, count: 0, isPrompt: true }], { format });
    const run = { firstPosition: 0, count: past, isPrompt: true, blocks: attention.blocks[0] };
    const kv = random(past, 130), angles = random.angles(past, 2);
    ops.appendLatent(attention.cache, layer, ops.batch([run]), kv, attention.norm, 1e-6, angles, true);
    const now = { ...run, firstPosition: past - 1, count: 1, isPrompt: false };
    return (x) => {
      const batch = ops.batch(Array.from({ length: x.rows }, () => now));
      return ops.latentAttention(attention.cache, layer, batch, x, attention.kvUp, shape);
    };
  };
}

/** Ways to cut 130 rows: alone, in pairs, around the sizes where kernels change over, all at once. */
const cuts = [1, 2, 3, 5, 8, 13, 16, 17, 31, 33, 64, 65, 130];
const nRows = 130;

for (const exact of [true, false]) {
  const single = [reference, ...await cpuBackends({ threads: 1, exact })];
  const double = [reference, ...await cpuBackends({ threads: 2, exact })];
  for (const [name, make] of Object.entries(ops)) {
    if (!exact && !packedFormats.some((format) => name.includes(`with ${format} `))) continue;
    for (const [i, target] of single.entries()) {
      if (!exact && target === reference) continue;
      const mode = exact ? "" : " and int8 activations";
      test(`${name}${mode} on ${isaOf(target)} gives a row the same bits in any company, on one thread and two`, async () => {
        const sizes = target === reference ? [1, nRows] : cuts;
        await assertSameInCompany([target, double[i]], name, make, nRows, 150, sizes);
      });
    }
  }
}

const shape = attentionShape(5, 12, 6, 10, 40);

/** 150 tokens of a prompt and 5 generated ones in chunks, in company or alone. @returns the outputs */
function sequenceInParts(chunk: number, hasCompany: boolean, dtype: "f32" | "bf16" | "f16" | "int8"): Case {
  const nPrompt = 150, nGenerated = 5;
  const ours: Sequence = { past: nPrompt, count: nGenerated, isPrompt: true };
  return (ops, random) => {
    const attention = prepare(ops, random, shape, [ours, { past: 300, count: 20, isPrompt: true }], {
      dtype,
    });
    const total = nPrompt + nGenerated;
    const inputs = {
      kv: random.values(total * 46),
      angles: ops.read(random.angles(total, 6)),
      query: random.values(total * 90),
    };
    const out: Float32Array[] = [];
    let companyAt = 0;
    for (let at = 0; at < total;) {
      const isPrompt = at < nPrompt;
      const count = isPrompt ? Math.min(chunk, nPrompt - at) : 1;
      const runs: Run[] = [{ firstPosition: at, count, isPrompt, blocks: attention.blocks[0] }];
      let ahead = 0;
      if (hasCompany && companyAt < 300) {
        ahead = at % 2 === 0 ? 1 : 3;
        runs.unshift({
          firstPosition: companyAt,
          count: ahead,
          isPrompt: ahead === 3,
          blocks: attention.blocks[1],
        });
        companyAt += ahead;
      }
      const mark = ops.mark();
      const result = step(ops, attention, runs, random, ahead, at, count, inputs);
      out.push(result.subarray(ahead * 50));
      ops.release(mark);
      at += count;
    }
    return [join(out)];
  };
}

/** One step of the batch: strangers' rows first, then ours. */
function step(
  ops: Backend,
  attention: Attention,
  runs: readonly Run[],
  random: Random,
  ahead: number,
  at: number,
  count: number,
  inputs: Readonly<Record<"kv" | "angles" | "query", Float32Array>>,
): Float32Array {
  const part = (values: Float32Array, width: number): Tensor =>
    ops.upload(
      join([random.values(ahead * width), values.subarray(at * width, (at + count) * width)]),
      width,
    );
  const batch = ops.batch(runs);
  const kv = part(inputs.kv, 46), angles = part(inputs.angles, 6);
  ops.appendLatent(attention.cache, layer, batch, kv, attention.norm, 1e-6, angles, true);
  const query = part(inputs.query, 90);
  return ops.read(ops.latentAttention(attention.cache, layer, batch, query, attention.kvUp, shape));
}

const single = await cpuBackends({ threads: 1 });
const double = await cpuBackends({ threads: 2 });
for (const dtype of ["f32", "bf16", "f16", "int8"] as const) {
  for (const [i, target] of single.entries()) {
    test(`attention over ${dtype} on ${isaOf(target)} gives the same bits however a prompt is cut, in any company`, async () => {
      let expected: Values[] | null = null;
      for (const chunk of [150, 64, 7, 1, 100]) {
        for (const hasCompany of [false, true]) {
          for (const threads of [target, double[i]]) {
            const found = await resultOf(threads, sequenceInParts(chunk, hasCompany, dtype), dtype);
            expected ??= found;
            assertSameBits(found, expected, `chunks of ${chunk} on ${threads.name}, company: ${hasCompany}`);
          }
        }
      }
    });
  }
}

function isaOf({ name }: BackendCase): string {
  return name.replace(" on one thread", "");
}
