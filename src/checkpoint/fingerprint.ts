/**
 * Which model it is, for things on disk that are of use to that model alone. Weights are too many to be read
 * for this: their files' sizes, beginnings and samples of the rest stand for them.
 * @module
 */
import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import type { Checkpoint } from "./checkpoint.ts";

/** A file's header says where each tensor lies; of larger ones the beginning is taken. */
const beginningBytes = 256 * 1024;
const nSamples = 64, sampleBytes = 512;

/** A model, told from others. */
export interface Fingerprint {
  /** SHA-256 (hex) of configuration and samples: the same for copies of a model wherever they are. */
  readonly content: string;
  /** SHA-256 (hex) of these and of when the files were changed last: a change that no sample shows changes it. */
  readonly place: string;
}

/** @throws {Error} of the file system */
export function fingerprintOf(checkpoint: Checkpoint): Fingerprint {
  const content = createHash("sha256"), times = createHash("sha256");
  content.update(JSON.stringify(checkpoint.config));
  const all = [...checkpoint.tensors.values(), ...(checkpoint.coded?.values() ?? [])];
  for (const path of [...new Set(all.map(({ file }) => file))].sort()) {
    const file = openSync(path, "r");
    try {
      const { size, mtimeMs } = fstatSync(file);
      content.update(`\0${size}\0`);
      times.update(`${path}\0${mtimeMs}\0`);
      const buffer = new Uint8Array(beginningBytes);
      content.update(buffer.subarray(0, readSync(file, buffer, 0, beginningBytes, 0)));
      for (let i = 1; i <= nSamples; i++) {
        const place = Math.floor(i / nSamples * Math.max(0, size - sampleBytes));
        content.update(buffer.subarray(0, readSync(file, buffer, 0, sampleBytes, place)));
      }
    } finally {
      closeSync(file);
    }
  }
  const digest = content.digest("hex");
  return { content: digest, place: times.update(digest).digest("hex") };
}
