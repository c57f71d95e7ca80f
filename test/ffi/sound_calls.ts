/**
 * Calls of a kernel library that would succeed, for tests that change them or make them in other ways.
 * @module
 */
import assert from "node:assert/strict";
import { type Bytes, listedOps, symbols } from "../../ffi/symbols.ts";

type Arguments = (number | Bytes)[];

/** The functions of a library, whatever they are given. */
export type AnyCalls = Record<keyof typeof symbols, (...parameters: Arguments) => number>;

/** Arguments that every function would take, and the objects that these name. */
export interface SoundCalls {
  readonly sound: Record<keyof typeof symbols, Arguments>;
  readonly handles: number[];
}

/** Objects that fit together, and for each function arguments that it would take. */
export function soundCalls(
  calls: AnyCalls,
  device: number,
  next: () => number,
): SoundCalls {
  const bytes = new Uint8Array(4096).map(() => Math.floor(next() * 256));
  const data = calls.buffer_create(device, 65536);
  const weight = calls.weight_create(data, 0, 0, 0, 0, 16, 16);
  const packed = calls.weight_pack(weight, 4 + Math.floor(5 * next()));
  const experts = calls.experts_create(device, 2, 16, 16);
  const expertWeight = next() < 0.5 ? weight : packed;
  for (const expert of [0, 1]) {
    assert.equal(calls.experts_set(experts, expert, expertWeight, expertWeight, expertWeight), 0);
  }
  const cache = calls.cache_create(device, Math.floor(4 * next()), 2, 2, 12, 4);
  const blockBytes = calls.cache_bytes(cache) / 2;
  const [x, y, z, ints, chosen, factors] = Array.from({ length: 6 }, () => calls.step_buffer(device, 4096));
  const runs = Int32Array.of(3, 1, 0, 3, 0, next() < 0.5 ? 1 : 0, 8, 1, 0);
  calls.buffer_write(ints, 0, runs, runs.byteLength);
  calls.buffer_write(chosen, 0, Int32Array.of(0, 1, 0, 1, 0, 1), 24);
  const batch = calls.batch_create(ints, runs.length);
  const kvUp = calls.weight_create(data, 0, 0, 0, 1, 20, 12);
  const handles = [device, data, weight, packed, experts, cache, x, y, z, ints, chosen, factors, batch, kvUp];
  for (const handle of handles) assert.ok(handle > 0);
  const path = new TextEncoder().encode("/no/such/file");
  const ofOps: Record<typeof listedOps[number], number[]> = {
    embed: [x, weight, chosen, 6],
    rms_norm: [x, y, z, 4, 16, 1e-6],
    add_rms_norm: [x, y, z, factors, 4, 16, 1e-6],
    add: [x, y, 4, 16],
    linear: [x, y, weight, 4],
    gather_rows: [x, y, chosen, 6, 4, 16],
    rope: [x, y, 3, 4, 8, 4, 1],
    append_latent: [cache, 1, batch, x, y, 1e-6, z, 1],
    move_latents: [cache, chosen, 3, next() < 0.5 ? z : 0, 1],
    latent_attention: [x, cache, 1, batch, y, kvUp, 2, 4, 6, 0.5],
    mlp: [x, y, experts, 3],
    route_experts: [chosen, factors, y, weight, 0, 3, 2, 1, 4, 2, 1, 1, 2.5],
    experts: [x, y, chosen, factors, experts, 0, 3, 2],
    argmax: [z, y, 4, 16],
  };
  const list = opList(listedOps.map((name) => [name, ofOps[name]]));
  const sound: Record<keyof typeof symbols, Arguments> = {
    abi_version: [],
    build_hash: [new Uint8Array(64), 64],
    last_error: [new Uint8Array(64), 64],
    isa_best: [],
    isa_has: [1],
    device_open: [0, 1, 65536],
    device_close: [device],
    device_bytes: [device, 0],
    device_exact: [device, 1],
    device_movable: [device, 0],
    buffer_create: [device, 4096],
    file_map: [device, path, path.length, 100],
    handle_free: [data],
    buffer_write: [x, 0, bytes, 4096],
    buffer_read: [new Uint8Array(4096), x, 0, 4096],
    step_begin: [device],
    step_buffer: [device, 1024],
    step_mark: [device],
    step_release: [device, 0],
    weight_create: [data, 0, 0, 0, 0, 16, 16],
    weight_pack: [weight, 4],
    weight_bytes: [weight],
    weight_read: [new Uint8Array(64), packed, 0, 64],
    experts_create: [device, 2, 16, 16],
    experts_set: [experts, 1, weight, weight, weight],
    cache_create: [device, 1, 2, 2, 12, 4],
    cache_bytes: [cache],
    cache_clear: [cache, 1],
    cache_copy: [cache, 1, 0],
    cache_read: [new Uint8Array(blockBytes), cache, 1, blockBytes],
    cache_write: [cache, 1, new Uint8Array(blockBytes), blockBytes],
    batch_create: [ints, runs.length],
    ...ofOps,
    run_ops: [list, list.byteLength],
    limit_read: [data],
    limit_copy: [data],
    limit_int8: [device],
    limit_f32: [device],
  };
  return { sound, handles };
}

/** @returns ops with their arguments as `run_ops` wants them */
export function opList(ops: readonly (readonly [typeof listedOps[number], readonly number[]])[]): Int32Array {
  const numbers = ops.flatMap(([name, values]) => [
    listedOps.indexOf(name),
    ...values.map((value, i) => symbols[name][i].endsWith("f32") ? bitsOf(value) : value),
  ]);
  return Int32Array.from(numbers);
}

function bitsOf(value: number): number {
  return new DataView(Float32Array.of(value).buffer).getInt32(0, true);
}

/** Numbers in [0, 1) (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ state >>> 15, state | 1);
    mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61);
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32;
  };
}
