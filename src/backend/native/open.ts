/**
 * Opens a kernel library on this machine: which instruction set computes.
 * @module
 */
import type { KernelLibrary } from "../../../ffi/library.ts";
import { DeviceError } from "../../errors.ts";
import type { Backend } from "../backend.ts";
import { needInt } from "../shapes.ts";
import { NativeBackend } from "./backend.ts";
import { NativeDevice } from "./device.ts";
import { isaNames, isasOf } from "./isa.ts";

/** Options of a native backend. */
export interface NativeOptions {
  /** A library that has passed the handshake. */
  readonly library: KernelLibrary;
  /** One of `isaNames`, or null for the best that this machine has. */
  readonly isa: string | null;
  /** Threads that compute, the caller's included. */
  readonly threads: number;
  /** int8 weights meet f32 activations; otherwise activations are rounded to int8 in groups of 32. */
  readonly exact: boolean;
  /** Reserved for the activations of a step. */
  readonly arenaBytes: number;
  /** Mapped files up to this many bytes in all may be copied into huge pages; none by default. */
  readonly movableBytes?: number;
}

/**
 * Opens a device of a library.
 * @throws {RangeError} for an unknown instruction set
 * @throws {DeviceError} for one that this machine lacks, or when memory or threads cannot be had
 */
export function openNative(options: NativeOptions): Backend {
  const { library, isa, threads, exact, arenaBytes, movableBytes = 0 } = options;
  const index = isa === null ? library.calls.isa_best() : isaNames.indexOf(isa as typeof isaNames[number]);
  if (index < 0) {
    throw new RangeError(`Cannot use the option isa: "${isa}" found, one of ${isaNames.join(", ")} needed`);
  }
  if (library.calls.isa_has(index) !== 1) {
    throw new DeviceError(
      `Cannot open cpu: this machine has no ${isa}, it has ${isasOf(library).join(", ")}`,
    );
  }
  needInt("open", threads, 1, "number of threads");
  const hash = new Uint8Array(64);
  const sources = new TextDecoder().decode(hash.subarray(0, library.calls.build_hash(hash, hash.length)));
  const device = NativeDevice.open(library, index, threads, arenaBytes);
  device.checked(device.calls.device_exact(device.handle, exact ? 1 : 0));
  device.checked(device.calls.device_movable(device.handle, movableBytes));
  const build = exact ? `${sources} exact` : sources;
  return new NativeBackend({ name: "cpu", kernels: isaNames[index], threads, build }, device);
}
