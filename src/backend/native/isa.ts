/**
 * The instruction sets that kernels are compiled for.
 * @module
 */
import type { KernelLibrary } from "../../../ffi/library.ts";

/** Instruction sets, in the order of ops.h: a name's index is its number there. */
export const isaNames = ["portable", "avx2", "avxvnni", "avx512", "vnni", "neon", "dotprod", "i8mm"] as const;

/** @returns the instruction sets that this machine and library can run */
export function isasOf(library: KernelLibrary): string[] {
  return isaNames.filter((_, isa) => library.calls.isa_has(isa) === 1);
}
