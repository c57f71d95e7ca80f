/**
 * A device of a kernel library: its handle, its memory, and the one place where a status is looked at.
 * @module
 */
import type { KernelLibrary } from "../../../ffi/library.ts";
import { CheckpointError, DeviceError, UnsupportedError } from "../../errors.ts";
import { statusAt } from "../../runtime.ts";
import type { Tensor } from "../backend.ts";

/** What every object of the library is on this side. */
export interface Held {
  readonly handle: number;
}

/** @returns a thing's handle; one of another backend has none, and 0 is what the library refuses */
export function handleOf(thing: unknown): number {
  return (thing as Held).handle | 0;
}

/** The largest scratch buffer that is kept. */
const keptScratchBytes = 32 * 2 ** 20;

/** An open device. */
export class NativeDevice {
  readonly calls: KernelLibrary["calls"];
  readonly handle: number;
  readonly #files = new Map<string, number>();
  #scratch = { handle: 0, bytes: 0 };

  constructor(calls: KernelLibrary["calls"], handle: number) {
    this.calls = calls;
    this.handle = this.checked(handle);
  }

  /** @throws {DeviceError} when memory or threads cannot be had */
  static open({ calls }: KernelLibrary, isa: number, threads: number, arenaBytes: number): NativeDevice {
    return new NativeDevice(calls, calls.device_open(isa, threads, arenaBytes));
  }

  /** @returns a result that is no error. @throws what the library says went wrong */
  checked(result: number): number {
    if (result < 0) throw this.#error(result);
    return result;
  }

  /** @returns a matrix of this step, not cleared */
  tensor(rows: number, width: number): Tensor {
    return { rows, width, handle: this.stepBuffer(rows * width) } as Tensor;
  }

  /** @returns the handle of a buffer of this step for `count` 32-bit numbers */
  stepBuffer(count: number): number {
    return this.checked(this.calls.step_buffer(this.handle, 4 * count));
  }

  /** Puts the first `count` of `values` into a buffer of this step. @returns its handle */
  uploadInts(values: Int32Array, count: number): number {
    const buffer = this.stepBuffer(count);
    this.checked(this.calls.buffer_write(buffer, 0, values, 4 * count));
    return buffer;
  }

  /** Maps a file, once. @returns its handle */
  map(file: string): number {
    let handle = this.#files.get(file);
    if (handle === undefined) {
      const path = new TextEncoder().encode(file);
      handle = this.checked(this.calls.file_map(this.handle, path, path.length, sizeOf(file)));
      this.#files.set(file, handle);
    }
    return handle;
  }

  /**
   * Lends a buffer of at least `bytes` for the length of a call: one that is used again and again costs no
   * page faults. Large ones are not kept.
   */
  withScratch<T>(bytes: number, use: (buffer: number) => T): T {
    const { buffer_create, handle_free } = this.calls;
    if (bytes > this.#scratch.bytes) {
      const handle = this.checked(buffer_create(this.handle, bytes));
      if (bytes > keptScratchBytes) {
        try {
          return use(handle);
        } finally {
          this.checked(handle_free(handle));
        }
      }
      if (this.#scratch.handle !== 0) this.checked(handle_free(this.#scratch.handle));
      this.#scratch = { handle, bytes };
    }
    return use(this.#scratch.handle);
  }

  /** Frees all that the device holds; its handles are refused from now on. */
  close(): void {
    this.checked(this.calls.device_close(this.handle));
    this.#files.clear();
  }

  #error(status: number): Error {
    const text = new Uint8Array(1024);
    const length = this.calls.last_error(text, text.length);
    const message = new TextDecoder().decode(text.subarray(0, Math.min(length, text.length)));
    // The numbers are those of kernels/cpu/device.h.
    if (status === -1) return new RangeError(message);
    if (status === -4) return new UnsupportedError(message);
    return new DeviceError(message);
  }
}

function sizeOf(file: string): number {
  try {
    return statusAt(file).sizeBytes;
  } catch (error) {
    throw new CheckpointError(file, (error as Error).message);
  }
}
