/**
 * Opens the backend that the caller names, or the first that opens. Nothing is imported that is not used.
 * @module
 */
import type { LibraryOptions } from "../../ffi/library.ts";
import { packageFolder } from "../package/folder.ts";
import { cacheDirectory, coreCount } from "../runtime.ts";
import type { Backend } from "./backend.ts";

/** What to open. */
export interface BackendOptions {
  /** "auto" takes cpu, then reference. */
  readonly backend: "auto" | "reference" | "cpu";
  /** Instruction set to force ("portable", "avx2", …), or null for the best. */
  readonly isa: string | null;
  /** Path of a kernel library to use instead of building one, or null. */
  readonly library: string | null;
  /** Threads that compute, at most 256; "auto" for one on each core. */
  readonly threads: number | "auto";
  /** Compute int8 weights with f32 activations instead of rounding those to int8 too. */
  readonly exact: boolean;
  /** Bytes for the activations of a step. */
  readonly arenaBytes: number;
  /** Mapped files up to this many bytes in all may be copied into huge pages; none by default. */
  readonly movableBytes?: number;
  /** How a library is built and where it is kept, where the defaults will not do. */
  readonly build?: Omit<LibraryOptions, "path">;
}

/** Why a backend that "auto" would have preferred is not the one. */
export interface PassedOver {
  readonly backend: string;
  readonly reason: string;
}

/** @throws {DeviceError} when the backend named cannot be opened, with the reason */
export async function openBackend(
  options: BackendOptions,
): Promise<{ backend: Backend; passedOver: PassedOver[] }> {
  if (options.backend === "reference") return { backend: await openReference(), passedOver: [] };
  try {
    return { backend: await openCpu(options), passedOver: [] };
  } catch (error) {
    // Who names an instruction set or a library wants that one, not a backend in its place.
    const insists = options.backend === "cpu" || options.isa !== null || options.library !== null;
    if (insists || error instanceof RangeError) throw error;
    const passedOver = [{ backend: "cpu", reason: (error as Error).message }];
    return { backend: await openReference(), passedOver };
  }
}

/** MAX_THREADS of kernels/cpu/device.h. */
const mostThreads = 256;

async function openCpu(options: BackendOptions): Promise<Backend> {
  const { isa, exact, arenaBytes, movableBytes } = options;
  const { findLibrary } = await import("../../ffi/library.ts");
  const { openNative } = await import("./native/open.ts");
  const { readSources } = await import("../../ffi/sources.ts");
  const library = await findLibrary({
    cacheFolder: cacheDirectory(),
    ...options.build,
    path: options.library,
  }, await readSources(await packageFolder("kernels")));
  const threads = options.threads === "auto" ? Math.min(coreCount(), mostThreads) : options.threads;
  return openNative({ library, isa, threads, exact, arenaBytes, movableBytes });
}

async function openReference(): Promise<Backend> {
  return (await import("./reference/backend.ts")).openReference();
}
