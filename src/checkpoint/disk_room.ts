/**
 * Room on a disk, asked for before hours of work fill it.
 * @module
 */
import { freeDiskBytes } from "../runtime.ts";

/**
 * @param folder that something is to be written in
 * @throws {Error} saying how much is needed and how much there is
 */
export function checkRoom(folder: string, neededBytes: number): void {
  const freeBytes = freeDiskBytes(folder);
  if (freeBytes === null || neededBytes <= freeBytes) return; // where the system does not say, writing finds out
  const [needed, free] = [neededBytes, freeBytes].map((bytes) => `${Math.ceil(bytes / 1e6)} MB`);
  throw new Error(`Cannot write in ${folder}: ${needed} are needed, ${free} are free there`);
}
