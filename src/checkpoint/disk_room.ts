/**
 * Room on a disk, asked for before hours of work fill it.
 * @module
 */
import { statfsSync } from "node:fs";

/**
 * @param folder that something is to be written in
 * @throws {Error} saying how much is needed and how much there is
 */
export function checkRoom(folder: string, neededBytes: number): void {
  const freeBytes = freeRoom(folder);
  if (neededBytes <= freeBytes) return;
  const [needed, free] = [neededBytes, freeBytes].map((bytes) => `${Math.ceil(bytes / 1e6)} MB`);
  throw new Error(`Cannot write in ${folder}: ${needed} are needed, ${free} are free there`);
}

/** @returns bytes, Infinity where the system does not say: writing then finds out */
function freeRoom(folder: string): number {
  try {
    const { bavail, bsize, blocks } = statfsSync(folder);
    return blocks > 0 ? bavail * bsize : Infinity; // file systems without blocks of their own say 0 of everything
  } catch {
    return Infinity;
  }
}
