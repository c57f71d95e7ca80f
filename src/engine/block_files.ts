/**
 * Cache blocks in a folder, so that they outlive the memory of the cache and the process. A file is named
 * after what its block holds (prefix_cache.ts): model, tenant and tokens are in the hash, and none of them in
 * clear.
 *
 *     magic "HADALKV1", u32 tokens, u32 bytes of a block (little endian), the name (32 bytes), zeros up to 64
 *     the block's bytes
 *     SHA-256 of all that
 *
 * Files appear whole, by being renamed, so several processes may share a folder. What is read is believed
 * only when its size, its head and its hash are right. Nothing here throws: a disk that is full or gone costs
 * time, not answers.
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import {
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { removeAbandoned, unfinishedPath } from "../unfinished.ts";
import { type BlockFileCounts, noBlockFiles } from "./protocol.ts";

const magic = new TextEncoder().encode("HADALKV1");
const headBytes = 64, hashBytes = 32;
const suffix = ".kv";
const fileName = /^[0-9a-f]{64}\.kv$/;
/** Writing is given up after this many errors in a row. */
const mostErrors = 8;

/** A folder of blocks of one size. */
export class BlockFiles {
  readonly #folder: string;
  readonly #maxBytes: number;
  readonly #blockBytes: number;
  readonly #warn: (sentence: string) => void;
  /** Sizes by name; the file used longest ago first. */
  readonly #sizes = new Map<string, number>();
  readonly #counts: { -readonly [K in keyof BlockFileCounts]: number } = { ...noBlockFiles };
  #errorsInARow = 0;
  #hasWarned = false;
  #isUsable = false;

  /**
   * @param parent gets a folder of its own for the files, for the user alone
   * @param maxBytes of all files together, also those of other models
   * @param warn is told one sentence at most
   */
  constructor(parent: string, maxBytes: number, blockBytes: number, warn: (sentence: string) => void) {
    this.#folder = join(parent, "kv-blocks");
    this.#maxBytes = maxBytes;
    this.#blockBytes = blockBytes;
    this.#warn = warn;
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      if (!isOwn(this.#folder)) throw new Error("it belongs to another user, or others may write into it");
      this.#scan();
      this.#isUsable = true;
    } catch (error) {
      this.#failed(error);
    }
  }

  get counts(): BlockFileCounts {
    return this.#counts;
  }

  /** Whether writing has not been given up. */
  get isWritable(): boolean {
    return this.#isUsable && this.#errorsInARow < mostErrors;
  }

  /** @param name in base64 */
  has(name: string): boolean {
    try {
      return this.#isUsable && lstatSync(this.#path(name), { throwIfNoEntry: false }) !== undefined;
    } catch {
      return false;
    }
  }

  /** Publishes a block, if it is not there. @param nTokens that it holds, 1 to 64 */
  write(name: string, nTokens: number, block: Uint8Array): void {
    const size = headBytes + block.length + hashBytes;
    if (!this.isWritable || size > this.#maxBytes) return;
    const file = fileOf(name), temporary = unfinishedPath(this.#path(name));
    try {
      if (this.has(name)) return this.#use(file);
      this.#makeRoom(size);
      const head = headOf(name, nTokens, block.length);
      const hash = createHash("sha256").update(head).update(block).digest();
      const handle = openSync(temporary, "wx", 0o600);
      try {
        for (const bytes of [head, block, hash]) writeAll(handle, bytes);
      } finally {
        closeSync(handle);
      }
      renameSync(temporary, this.#path(name));
      this.#forget(file);
      this.#sizes.set(file, size);
      this.#counts.bytes += size;
      this.#counts.writtenBlocks++;
      this.#errorsInARow = 0;
    } catch (error) {
      removeQuietly(temporary);
      this.#failed(error);
    }
  }

  /** @returns whether `into` is the block now; if not, it may hold anything */
  read(name: string, nTokens: number, into: Uint8Array): boolean {
    if (!this.has(name)) return false;
    const size = headBytes + this.#blockBytes + hashBytes;
    let handle: number | null = null;
    try {
      const stat = lstatSync(this.#path(name)); // before it is opened: a pipe would wait for its other end
      if (stat.isFile()) handle = openSync(this.#path(name), "r");
      const head = new Uint8Array(headBytes), hash = new Uint8Array(hashBytes);
      const isWhole = handle !== null && stat.size === size && into.length === this.#blockBytes &&
        readAll(handle, head) && readAll(handle, into) && readAll(handle, hash);
      if (
        isWhole && sameBytes(head, headOf(name, nTokens, into.length)) &&
        sameBytes(hash, createHash("sha256").update(head).update(into).digest())
      ) {
        this.#use(fileOf(name));
        return true;
      }
    } catch (error) {
      if ((error as { code?: string }).code === "ENOENT") return false;
    } finally {
      if (handle !== null) closeSync(handle);
    }
    this.reject(name);
    return false;
  }

  /** The block that was read has been taken. */
  taken(): void {
    this.#counts.readBlocks++;
  }

  /** Deletes a file that is not what its name says. */
  reject(name: string): void {
    this.#counts.rejectedFiles++;
    removeQuietly(this.#path(name));
    this.#forget(fileOf(name));
  }

  #path(name: string): string {
    return join(this.#folder, fileOf(name));
  }

  /** Others may have written and deleted since. */
  #scan(): void {
    removeAbandoned(this.#folder, (name) => fileName.test(name));
    const found = readdirSync(this.#folder).flatMap((file) => {
      if (!fileName.test(file)) return [];
      const stat = statSync(join(this.#folder, file), { throwIfNoEntry: false });
      return stat?.isFile() ? [{ file, size: stat.size, usedMs: stat.mtimeMs }] : [];
    });
    this.#sizes.clear();
    this.#counts.bytes = 0;
    for (const { file, size } of found.sort((a, b) => a.usedMs - b.usedMs)) {
      this.#sizes.set(file, size);
      this.#counts.bytes += size;
    }
  }

  /** Deletes the files used longest ago. Goes a tenth below the limit, so that scans are rare. */
  #makeRoom(size: number): void {
    if (this.#counts.bytes + size <= this.#maxBytes) return;
    this.#scan();
    const most = Math.max(0, Math.min(this.#maxBytes - size, 0.9 * this.#maxBytes));
    for (const file of this.#sizes.keys()) {
      if (this.#counts.bytes <= most) return;
      removeQuietly(join(this.#folder, file));
      this.#forget(file);
      this.#counts.deletedFiles++;
    }
  }

  /** Notes a use, for this process and others. */
  #use(file: string): void {
    const now = new Date();
    try {
      utimesSync(join(this.#folder, file), now, now);
    } catch {
      // A folder that may not be written serves as it is.
    }
    const size = this.#sizes.get(file);
    if (size === undefined) return;
    this.#sizes.delete(file);
    this.#sizes.set(file, size);
  }

  #forget(file: string): void {
    this.#counts.bytes -= this.#sizes.get(file) ?? 0;
    this.#sizes.delete(file);
  }

  #failed(error: unknown): void {
    this.#counts.errors++;
    this.#errorsInARow++;
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    this.#warn(`Cannot keep cache blocks in ${this.#folder}: ${(error as Error).message}; going on without`);
  }
}

/** Whether nobody else may put something there. */
function isOwn(folder: string): boolean {
  if (process.platform === "win32") return true; // which has no such modes
  const { uid, mode } = lstatSync(folder);
  return lstatSync(folder).isDirectory() && uid === process.getuid!() && (mode & 0o022) === 0;
}

function fileOf(name: string): string {
  return Buffer.from(name, "base64").toString("hex") + suffix;
}

function headOf(name: string, nTokens: number, blockBytes: number): Uint8Array {
  const head = new Uint8Array(headBytes);
  head.set(magic);
  const view = new DataView(head.buffer);
  view.setUint32(8, nTokens, true);
  view.setUint32(12, blockBytes, true);
  head.set(Buffer.from(name, "base64").subarray(0, 32), 16);
  return head;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** @returns whether there was enough */
function readAll(handle: number, into: Uint8Array): boolean {
  for (let done = 0; done < into.length;) {
    const count = readSync(handle, into, done, into.length - done, null);
    if (count === 0) return false;
    done += count;
  }
  return true;
}

function writeAll(handle: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += writeSync(handle, bytes, done, bytes.length - done);
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Another process was faster, or it may not be deleted: then it is found again.
  }
}
