/**
 * Opens a kernel library on this machine: which instruction set computes.
 * @module
 */
import { DeviceError } from "../../errors.ts";
import type { Backend } from "../backend.ts";
import { needInt } from "../shapes.ts";
import { NativeBackend, type NativeOptions } from "./backend.ts";
import { isaNames, isasOf } from "./isa.ts";

/**
 * Opens a device of a library.
 * @throws {RangeError} for an unknown instruction set
 * @throws {DeviceError} for one that this machine lacks, or when memory or threads cannot be had
 */
export function openNative(options: NativeOptions): Backend {
  const { library, isa, threads } = options;
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
  return new NativeBackend(index, options);
}
