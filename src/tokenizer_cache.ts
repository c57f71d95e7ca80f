/**
 * Tokenizers that were read before: their tables lie in hadal's cache folder, under the hash of the file
 * that they were made of. Whatever goes wrong there costs the time of reading that file, and nothing else.
 * @module
 */
import { ModelFile } from "./checkpoint/file.ts";
import { join, node, platform, statusAt, userId } from "./runtime.ts";
import { Tokenizer } from "./text/tokenizer.ts";
import { type ScannedTokenizer, scanTokenizerFile } from "./text/tokenizer_file.ts";
import { packTokenizer, unpackTokenizer } from "./text/tokenizer_tables.ts";
import { removeAbandoned, unfinishedPath } from "./unfinished.ts";

/** Smaller files are read as fast as their hash is found. */
const leastBytes = 1 << 20;
/** Of a hash at the end: against a disk that errs. Who may write there could write anything else as well. */
const sumBytes = 32;
/** Tokenizers that are kept, of some 7 MB each; then the oldest goes. */
const mostKept = 8;

/**
 * @param json a `tokenizer.json`
 * @param folder of hadal's cache, or null for none
 * @throws what `Tokenizer.parse` throws
 */
export async function readTokenizer(
  json: Uint8Array<ArrayBuffer>,
  configJson: string | null,
  file: string,
  folder: string | null,
): Promise<Tokenizer> {
  if (folder === null || json.length < leastBytes) return Tokenizer.parse(json, configJson, file);
  const kept = join(folder, "tokenizers");
  const path = join(kept, `${(await sumOf(json)).toHex()}.tables`);
  const known = await readKept(path);
  if (known !== null) return Tokenizer.of(known, configJson, file);
  const scanned = scanTokenizerFile(json, file);
  const pieces = packTokenizer(scanned).map((piece) => piece.slice()); // of tables that change from here on
  const tokenizer = Tokenizer.of(scanned, configJson, file);
  await keep(kept, path, pieces);
  return tokenizer;
}

async function readKept(path: string): Promise<ScannedTokenizer | null> {
  try {
    const { uid, mode } = statusAt(path);
    // What others may write is not ours to trust. (Windows has neither number.)
    if (platform !== "win32" && (uid === null || uid !== userId() || (mode! & 0o022) !== 0)) return null;
    const file = new ModelFile(path);
    try {
      const bytes = file.read(0, file.sizeBytes);
      const tables = bytes.subarray(0, Math.max(0, bytes.length - sumBytes));
      const sum = await sumOf(tables);
      return sum.every((byte, i) => byte === bytes[tables.length + i]) ? unpackTokenizer(tables) : null;
    } finally {
      file.close();
    }
  } catch {
    return null; // not there, not to be read, or not ours: the file itself says all of it
  }
}

/** SHA-256, by the way that takes Deno least to load. */
async function sumOf(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

async function keep(folder: string, path: string, pieces: Uint8Array<ArrayBuffer>[]): Promise<void> {
  const { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } = node.fs;
  const unfinished = unfinishedPath(path);
  removeAbandoned(folder, () => true);
  try {
    const tables = new Uint8Array(await new Blob(pieces).arrayBuffer());
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(unfinished, tables, { mode: 0o600 });
    writeFileSync(unfinished, await sumOf(tables), { flag: "a" });
    renameSync(unfinished, path);
    const ages = readdirSync(folder).map((name) => join(folder, name))
      .map((other) => ({ other, ms: statSync(other).mtimeMs })).sort((a, b) => b.ms - a.ms);
    for (const { other } of ages.slice(mostKept)) rmSync(other, { force: true });
  } catch {
    // A folder that cannot be written: the next start takes as long as this one.
    if (existsSync(unfinished)) rmSync(unfinished);
  }
}
