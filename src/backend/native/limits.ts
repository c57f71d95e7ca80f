/**
 * What this machine can do at most with so many threads: the yardstick of a model's speed. Measured, not
 * looked up: clocks, neighbours and memory differ from one second to the next.
 * @module
 */
import type { KernelLibrary } from "../../../ffi/library.ts";
import { NativeDevice } from "./device.ts";
import { isaNames } from "./isa.ts";

/** A limit, and how it is measured: reading and copying in bytes a second, the others in operations. */
export type LimitKind = "read" | "copy" | "int8" | "f32";

/** Runs of which the best counts: memory takes tens of ms a run, arithmetic about one. */
const runs = { read: 3, copy: 3, int8: 20, f32: 20 } as const satisfies Record<LimitKind, number>;

/** What to measure with. */
export interface MeterOptions {
  /** A library that has passed the handshake. */
  readonly library: KernelLibrary;
  /** One of `isaNames`: that of the model to be compared. */
  readonly isa: string;
  /** Threads that compute, the caller's included. */
  readonly threads: number;
  /** Of the memory that is read: several times what the caches hold. */
  readonly bufferBytes: number;
}

/** Measures limits on threads of its own. The caller's thread is one of them: nothing else should run there. */
export class LimitMeter {
  readonly #device: NativeDevice;
  readonly #bufferBytes: number;
  #buffer: number | null = null;

  /** @throws {DeviceError | RangeError} the device cannot be opened */
  constructor({ library, isa, threads, bufferBytes }: MeterOptions) {
    this.#device = NativeDevice.open(library, isaNames.indexOf(isa as typeof isaNames[number]), threads, 0);
    this.#bufferBytes = bufferBytes;
  }

  /**
   * Bytes a second (read: of memory, in order, prefetched; copy: that are copied), or operations a second,
   * two for each product that is summed.
   * @throws {DeviceError} the memory cannot be had
   */
  measure(kind: LimitKind): number {
    const { calls, handle } = this.#device;
    const run = {
      read: () => calls.limit_read(this.#memory()),
      copy: () => calls.limit_copy(this.#memory()),
      int8: () => calls.limit_int8(handle),
      f32: () => calls.limit_f32(handle),
    }[kind];
    let best = 0;
    for (let i = 0; i < runs[kind]; i++) best = Math.max(best, this.#device.checked(run()));
    return best;
  }

  close(): void {
    this.#device.close();
  }

  /** Taken when it is first needed. */
  #memory(): number {
    const { calls, handle } = this.#device;
    this.#buffer ??= this.#device.checked(calls.buffer_create(handle, this.#bufferBytes));
    return this.#buffer;
  }
}
