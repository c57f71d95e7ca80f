/**
 * The backends and instruction sets that this machine runs, for tests that hold on each of them.
 * @module
 */
import { findLibrary, type KernelLibrary } from "../ffi/library.ts";
import type { Backend } from "../src/backend/backend.ts";
import { isasOf } from "../src/backend/native/isa.ts";
import { openNative } from "../src/backend/native/open.ts";
import { openReference } from "../src/backend/reference/backend.ts";
import { cacheDirectory } from "../src/runtime.ts";

/** A way to open a backend, named for test titles. */
export interface BackendCase {
  readonly name: string;
  open(): Promise<Backend>;
}

/** How the cpu backend is opened. */
export interface CpuOptions {
  readonly threads: number;
  /** int8 weights meet f32 activations. */
  readonly exact: boolean;
  readonly arenaBytes: number;
}

let found: Promise<KernelLibrary | null> | null = null;

/**
 * @returns the kernel library, or null on a machine without a C compiler; then that has been printed
 * @throws {DeviceError} when there is one and it does not build the kernels: that is a failure
 */
export function kernelLibrary(): Promise<KernelLibrary | null> {
  found ??= findLibrary({ cacheFolder: cacheDirectory() }).catch((error: Error) => {
    if (!error.message.includes("(cc: not found; gcc: not found; clang: not found; zig cc: not found)")) {
      throw error;
    }
    console.error(`NOTE: nothing is tested on the cpu backend: ${error.message}`);
    return null;
  });
  return found;
}

/** @returns the cpu backend on each instruction set of this machine */
export async function cpuBackends(options: Partial<CpuOptions> = {}): Promise<BackendCase[]> {
  const library = await kernelLibrary();
  if (library === null) return [];
  const { threads = 2, exact = true, arenaBytes = 64 * 2 ** 20 } = options;
  return isasOf(library).map((isa) => ({
    name: `cpu ${isa}${threads === 1 ? " on one thread" : ""}`,
    open: () => Promise.resolve(openNative({ library, isa, threads, exact, arenaBytes })),
  }));
}

/** @returns the reference, then the cpu backend on each instruction set of this machine */
export async function everyBackend(options: Partial<CpuOptions> = {}): Promise<BackendCase[]> {
  const reference = { name: "reference", open: () => Promise.resolve(openReference()) };
  return [reference, ...await cpuBackends(options)];
}
