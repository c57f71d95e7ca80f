/**
 * Opens the meter of this machine's limits for a model's bench.
 * @module
 */
import { readFileSync } from "node:fs";
import { findLibrary } from "../../../ffi/library.ts";
import { readSources } from "../../../ffi/sources.ts";
import { LimitMeter } from "../../backend/native/limits.ts";
import { packageFolder } from "../../package/folder.ts";
import { availableMemory, cacheDirectory, environment } from "../../runtime.ts";

/** Memory is read this many times what the last cache holds, and at least so much. */
const timesCache = 4, leastBytes = 256 * 2 ** 20;

/**
 * @param isa instruction set that the model uses
 * @throws {DeviceError} the library or its memory cannot be had
 */
export async function openMeter(isa: string, threads: number): Promise<LimitMeter> {
  const library = await findLibrary({
    path: environment("HADAL_CPU_LIBRARY") ?? null,
    cacheFolder: cacheDirectory(),
    compiler: environment("CC") ?? null,
  }, await readSources(await packageFolder("kernels")));
  const wanted = Math.max(leastBytes, timesCache * lastCacheBytes());
  const most = (availableMemory() ?? Infinity) / 4;
  return new LimitMeter({ library, isa, threads, bufferBytes: Math.floor(Math.min(wanted, most)) });
}

/** @returns what Linux says of the first processor, or 0 where nobody does */
function lastCacheBytes(): number {
  let largest = 0;
  for (let index = 0; index < 5; index++) {
    try {
      const size = readFileSync(`/sys/devices/system/cpu/cpu0/cache/index${index}/size`, "utf8");
      largest = Math.max(largest, 1024 * (parseInt(size) || 0)); // "32768K"
    } catch {
      break;
    }
  }
  return largest;
}
