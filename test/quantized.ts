/**
 * What the tests of quantized folders have in common: who packs, who computes, and from what.
 * @module
 */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Packer, TargetFormat } from "../src/model/quantized_tensors.ts";
import type { Network } from "../src/model/network.ts";
import { quantize as write, type QuantizeOptions } from "../src/quantize.ts";
import { packedFormats } from "../src/tensor/packed_format.ts";
import { openReference } from "../src/backend/reference/backend.ts";
import { cpuBackends, everyBackend } from "./backends.ts";
import { aloneOn, openGolden } from "./model/golden.ts";

export const formats: readonly TargetFormat[] = [...packedFormats, "fp8", "bf16"];
export const cpus = await cpuBackends();
const rounding = (await cpuBackends({ exact: false })).map(({ name, open }) => ({
  name: `${name} with int8 activations`,
  open,
}));
export const backends = [...await everyBackend(), ...rounding];
/** The plain packer: all others make the same bytes. */
const packer: Packer = openReference();

/** Into int8, where nothing else is said. */
export function quantize(from: string, to: string, options: Partial<QuantizeOptions> = {}) {
  return write(from, to, { format: "int8", packer, ...options });
}

export const source = openGolden("v3bf16")!.folder;
export const minnow = fileURLToPath(new URL("../examples/minnow", import.meta.url));

/** Kernels where they open: a few MB in plain TypeScript take seconds. */
export async function fastPacker(): Promise<Packer> {
  return cpus.length > 0 ? await cpus.at(-1)!.open() : packer;
}

/** A copy of a model's folder with other keys in config.json. */
export function copyOf(from: string, to: string, config: object): string {
  mkdirSync(to);
  for (const name of readdirSync(from)) copyFileSync(join(from, name), join(to, name));
  const json = JSON.parse(readFileSync(join(from, "config.json"), "utf8"));
  writeFileSync(join(to, "config.json"), JSON.stringify({ ...json, ...config }));
  return to;
}

/** A prompt, and two generated tokens. */
export function logitsOf(network: Network, tokens: Int32Array): Float32Array {
  const sequence = aloneOn(network, tokens.length + 2);
  const logits = [sequence.prompt(tokens), sequence.generated(5), sequence.generated(7)];
  return Float32Array.from(logits.flatMap((values) => [...values]));
}

export function assertSameBits(found: Float32Array, expected: Float32Array, what: string): void {
  assert.equal(found.length, expected.length, what);
  const a = new Uint32Array(found.buffer), b = new Uint32Array(expected.buffer);
  const different = a.findIndex((bits, i) => bits !== b[i]);
  assert.equal(different, -1, `${what}: ${found[different]} at ${different}, ${expected[different]} needed`);
}
