/**
 * The official networks' answers on tiny checkpoints, and how to ask a network of ours for the same.
 * @module
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  type Backend,
  blockTokens,
  type LatentCache,
  type Routes,
  type Run,
  type Tensor,
} from "../../src/backend/backend.ts";
import { decode, type FloatDtype } from "../../src/checkpoint/decode.ts";
import { openModelFile } from "../../src/checkpoint/file.ts";
import { openCheckpoint } from "../../src/checkpoint/open.ts";
import { readSafetensors } from "../../src/checkpoint/safetensors.ts";
import type { CacheDtype, WeightFormat } from "../../src/tensor/dtype.ts";
import { parseConfig } from "../../src/model/config.ts";
import { Network } from "../../src/model/network.ts";
import { loadNetwork } from "../../src/model/weights.ts";

const own = fileURLToPath(new URL("../golden/", import.meta.url));
const shared = fileURLToPath(new URL("../../../shared/fixtures/", import.meta.url));

/** Architectures with golden logits; the first two are part of the project. */
export const architectures = ["v3bf16", "v2lite", "v2", "v3", "v3fp8", "moonlight"] as const;

/** A prompt of a golden file and what the official network made of it. */
export interface GoldenPrompt {
  readonly name: string;
  readonly tokens: Int32Array;
  /** 24 tokens that follow greedily, the end of text ignored. */
  readonly greedy: readonly number[];
}

/** What the official network answers. */
export interface Answers {
  readonly prompts: readonly GoldenPrompt[];
  /** A float tensor: `short.logits` has the logits of the prompt `short`. */
  floats(name: string): Float32Array;
}

/** A golden folder that is present. */
export interface Golden extends Answers {
  readonly folder: string;
  /** An integer tensor of golden.safetensors. */
  ints(name: string): Int32Array;
  has(name: string): boolean;
}

/** @returns the golden folder of an architecture, or null where it is neither here nor in ../shared */
export function openGolden(architecture: string): Golden | null {
  const folder = [own, shared].map((place) => place + architecture).find((place) => existsSync(place));
  if (!folder) {
    console.log(`NOTE: no golden files for ${architecture}: ../shared/fixtures is not here`);
    return null;
  }
  return openGoldenFolder(folder);
}

/** @returns the golden data of a folder in the form of tools/golden/make_golden.py */
export function openGoldenFolder(folder: string): Golden {
  const json = JSON.parse(readFileSync(`${folder}/golden.json`, "utf8"));
  const file = openModelFile(folder, "golden.safetensors");
  const tensors = new Map(readSafetensors(file, "basic").map((tensor) => [tensor.name, tensor]));
  const bytes = readFileSync(`${folder}/golden.safetensors`);
  const read = (name: string): Uint8Array<ArrayBuffer> => {
    const { offset, sizeBytes } = tensors.get(name)!;
    return Uint8Array.from(bytes.subarray(offset, offset + sizeBytes));
  };
  file.close();
  return {
    folder,
    prompts: (["short", "long"] as const).map((name) => ({
      name,
      tokens: Int32Array.from(json.prompts[name]),
      greedy: json.greedy[name].tokens,
    })),
    floats: (name) => decode(tensors.get(name)!.dtype as FloatDtype, read(name)),
    ints: (name) => new Int32Array(read(name).buffer),
    has: (name) => tensors.has(name),
  };
}

/** Loads a folder's network onto a backend. */
export function openNetwork(
  folder: string,
  backend: Backend,
  format: "auto" | WeightFormat = "auto",
  mtp = false,
): Network {
  const checkpoint = openCheckpoint(folder, "basic");
  try {
    const config = parseConfig(checkpoint.config, `${folder}/config.json`);
    return loadNetwork(checkpoint, config, backend, format, { mtp });
  } finally {
    checkpoint.close();
  }
}

/** What a network did with a prompt, layer by layer. */
export interface Trace {
  /** (tokens, hidden) of the embedding (-1) and of each layer. */
  readonly hidden: Map<number, Float32Array>;
  readonly routes: Map<number, { ids: Int32Array; weights: Float32Array }>;
}

/** One sequence on a network: tokens go in, logits come out. */
export class Sequence {
  readonly network: Network;
  readonly cache: LatentCache;
  readonly #blocks: readonly number[];
  #length = 0;

  /** @param blocks blocks of the cache, in the order that the sequence uses them */
  constructor(network: Network, cache: LatentCache, blocks: readonly number[]) {
    this.network = network;
    this.cache = cache;
    this.#blocks = blocks;
  }

  /** @returns where the next `count` tokens stand */
  next(count: number, isPrompt: boolean): Run {
    const run = { firstPosition: this.#length, count, isPrompt, blocks: this.#blocks };
    this.#length += count;
    return run;
  }

  /** @returns (tokens, vocab), and what happened on the way */
  prompt(tokens: Int32Array, trace?: Trace): Float32Array {
    return this.#step(tokens, true, trace);
  }

  /** @returns (vocab) after a generated token */
  generated(token: number): Float32Array {
    return this.#step(Int32Array.of(token), false);
  }

  #step(tokens: Int32Array, isPrompt: boolean, trace?: Trace): Float32Array {
    const { network, cache } = this;
    const { backend } = network;
    const hidden = network.forward(
      cache,
      [this.next(tokens.length, isPrompt)],
      tokens,
      tokens.map((_, i) => i),
      trace && {
        onHidden: (layer: number, x: Tensor) => void trace.hidden.set(layer, backend.read(x)),
        onRoutes: (layer: number, routes: Routes) => void trace.routes.set(layer, backend.readRoutes(routes)),
      },
    );
    trace?.hidden.set(network.config.nLayers, backend.read(hidden));
    return backend.read(network.logits(hidden));
  }
}

/** @returns a sequence alone in a cache of its own */
export function aloneOn(network: Network, nPositions: number, dtype: CacheDtype = "f32"): Sequence {
  const nBlocks = Math.ceil(nPositions / blockTokens);
  // Blocks in falling order: a kernel that takes positions for places shows at once.
  const blocks = Array.from({ length: nBlocks }, (_, i) => nBlocks - 1 - i);
  return new Sequence(network, network.createCache(nBlocks, dtype), blocks);
}

/** @returns the index of the largest value */
export function largest(values: Float32Array): number {
  return values.reduce((best, value, i) => value > values[best] ? i : best, 0);
}

/** Part of the range that values may differ by from the official network's, which computes in f32 too. */
const tolerance = 2e-4;

/** Every value is the official network's. */
export function assertClose(found: Float32Array, expected: Float32Array, what: string): void {
  assert.equal(found.length, expected.length, `${what}: number of values`);
  const range = expected.reduce((a, b) => Math.max(a, b), -Infinity) -
    expected.reduce((a, b) => Math.min(a, b), Infinity);
  let worst = 0;
  // Written so that a NaN counts as worst of all.
  for (let i = 0; i < found.length; i++) {
    if (!(Math.abs(found[i] - expected[i]) <= worst)) worst = Math.abs(found[i] - expected[i]);
  }
  assert.ok(worst <= tolerance * range, `${what}: off by ${worst}, ${tolerance * range} allowed`);
}

/**
 * The logits of every prompt, and the tokens that follow it greedily, are the official network's.
 * @param onTrace gets what happened in the layers on the way
 */
export function assertSameAnswers(
  network: Network,
  answers: Answers,
  onTrace?: (prompt: GoldenPrompt, trace: Trace) => void,
): void {
  for (const prompt of answers.prompts) {
    const { name, tokens, greedy } = prompt;
    const sequence = aloneOn(network, tokens.length + greedy.length);
    const trace = onTrace && { hidden: new Map(), routes: new Map() };
    const logits = sequence.prompt(tokens, trace);
    assertClose(logits, answers.floats(`${name}.logits`), `logits of the ${name} prompt`);
    if (trace) onTrace(prompt, trace);
    const generated = [largest(logits.subarray(logits.length - network.config.vocabSize))];
    while (generated.length < greedy.length) {
      generated.push(largest(sequence.generated(generated[generated.length - 1])));
    }
    assert.deepEqual(generated, greedy, `tokens after the ${name} prompt`);
  }
}
