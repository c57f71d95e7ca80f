/**
 * Tokenizers that were read before: their tables lie in hadal's cache folder, under the hash of the file
 * that they were made of. Whatever goes wrong there costs the time of reading that file, and nothing else.
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { crc32 } from "node:zlib";
import { ModelFile } from "./checkpoint/file.ts";
import { Tokenizer } from "./text/tokenizer.ts";
import { type ScannedTokenizer, scanTokenizerFile } from "./text/tokenizer_file.ts";
import { packTokenizer, unpackTokenizer } from "./text/tokenizer_tables.ts";

/** Smaller files are read as fast as their hash is found. */
const leastBytes = 1 << 20;
/** Of a checksum at the end: against a disk that errs. Who may write there could write anything else as well. */
const sumBytes = 4;
/** Tokenizers that are kept, of some 7 MB each; then the oldest goes. */
const mostKept = 8;

/**
 * @param json a `tokenizer.json`
 * @param folder of hadal's cache, or null for none
 * @throws what `Tokenizer.parse` throws
 */
export function readTokenizer(
  json: Uint8Array,
  configJson: string | null,
  file: string,
  folder: string | null,
): Tokenizer {
  if (folder === null || json.length < leastBytes) return Tokenizer.parse(json, configJson, file);
  const kept = join(folder, "tokenizers");
  const path = join(kept, `${createHash("sha256").update(json).digest("hex")}.bin`);
  const known = readKept(path);
  if (known !== null) return Tokenizer.of(known, configJson, file);
  const scanned = scanTokenizerFile(json, file);
  const pieces = packTokenizer(scanned).map((piece) => piece.slice()); // of tables that change from here on
  const tokenizer = Tokenizer.of(scanned, configJson, file);
  keep(kept, path, pieces);
  return tokenizer;
}

function readKept(path: string): ScannedTokenizer | null {
  try {
    const { uid, mode } = statSync(path);
    // What others may write is not ours to trust. (Windows has neither number.)
    if (process.getuid !== undefined && (uid !== process.getuid() || (mode & 0o022) !== 0)) return null;
    const file = new ModelFile(path);
    try {
      const bytes = file.read(0, file.sizeBytes); // no Buffer: its arrays grow, and lie where numbers may
      const tables = bytes.subarray(0, Math.max(0, bytes.length - sumBytes));
      return sumOf([tables]).equals(bytes.subarray(tables.length)) ? unpackTokenizer(tables) : null;
    } finally {
      file.close();
    }
  } catch {
    return null; // not there, not to be read, or not ours: the file itself says all of it
  }
}

function sumOf(pieces: readonly Uint8Array[]): Buffer {
  const sum = Buffer.alloc(sumBytes);
  sum.writeUInt32LE(pieces.reduce((sum, piece) => crc32(piece, sum), 0));
  return sum;
}

function keep(folder: string, path: string, pieces: readonly Uint8Array[]): void {
  const unfinished = `${path}.${process.pid}`;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(unfinished, Buffer.concat([...pieces, sumOf(pieces)]), { mode: 0o600 });
    renameSync(unfinished, path);
    const ages = readdirSync(folder).map((name) => join(folder, name))
      .map((other) => ({ other, ms: statSync(other).mtimeMs })).sort((a, b) => b.ms - a.ms);
    for (const { other } of ages.slice(mostKept)) rmSync(other, { force: true });
  } catch {
    // A folder that cannot be written: the next start takes as long as this one.
    if (existsSync(unfinished)) rmSync(unfinished);
  }
}
