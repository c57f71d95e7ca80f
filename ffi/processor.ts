/**
 * Which instruction sets this machine's library is compiled for: those that its processor has, since each
 * takes a compiler ten seconds and more. The library itself asks the processor again before it uses one.
 * @module
 */
import { readWhole } from "../src/runtime.ts";

/** How the kernels are compiled for an instruction set. */
export interface InstructionSet {
  readonly name: string;
  readonly define: string;
  /** What a processor must have, in the words of Linux. */
  readonly needs?: readonly string[];
  readonly flags: readonly string[];
}

/** @returns those of the sets that the processor has; all of them where it does not say */
export function setsOfMachine(
  sets: readonly InstructionSet[],
  features: ReadonlySet<string> | null = processorFeatures(),
): readonly InstructionSet[] {
  return features === null
    ? sets
    : sets.filter(({ needs = [] }) => needs.every((each) => features.has(each)));
}

/** What Linux calls the features of the first processor; null elsewhere, and where that may not be read. */
function processorFeatures(): ReadonlySet<string> | null {
  try {
    const line = /^(?:flags|Features)\s*:(.*)$/m.exec(new TextDecoder().decode(readWhole("/proc/cpuinfo")));
    return line && new Set(line[1].trim().split(/\s+/));
  } catch {
    return null;
  }
}
