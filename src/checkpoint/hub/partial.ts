/**
 * A file that is being fetched in parts: its bytes, and beside it which of them are there. What a
 * killed process left is taken up by the next one.
 * @module
 */
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { attempt } from "../write_safetensors.ts";
import { sizeOf } from "./cache.ts";

/** A stretch of the file, fetched from its start on. */
export interface Part {
  readonly begin: number;
  readonly end: number;
  /** Bytes from `begin` on that are there. */
  done: number;
}

/** What is kept beside the bytes. */
interface Kept {
  readonly sizeBytes: number;
  readonly partBytes: number;
  /** ETag of the server that sent them, or null. */
  readonly validator: string | null;
  /** For each part. */
  readonly done: readonly number[];
}

/** The file at `path`, while a lock on it is held. */
export class PartialFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly parts: readonly Part[];
  /** ETag under which all of the bytes came, once one is known. */
  validator: string | null = null;
  readonly #partBytes: number;
  readonly #file: number;
  #isOpen = true;

  /** Goes on with what is there when it fits, else begins anew. */
  constructor(path: string, sizeBytes: number, partBytes: number) {
    this.path = path;
    this.sizeBytes = sizeBytes;
    const kept = readKept(statePath(path), sizeBytes, sizeOf(path) ?? -1);
    this.#partBytes = kept?.partBytes ?? partBytes;
    this.validator = kept?.validator ?? null;
    const count = Math.ceil(sizeBytes / this.#partBytes);
    this.parts = Array.from({ length: count }, (_, i) => {
      const begin = i * this.#partBytes;
      return { begin, end: Math.min(sizeBytes, begin + this.#partBytes), done: kept?.done[i] ?? 0 };
    });
    // "r+" keeps what is there, and does not make the file.
    this.#file = attempt(path, () => openSync(path, kept ? "r+" : "w+"));
  }

  /** Bytes that are there. */
  get doneBytes(): number {
    return this.parts.reduce((sum, { done }) => sum + done, 0);
  }

  /** Bytes from the start on that are there without a hole. */
  get frontier(): number {
    const open = this.parts.find(({ begin, end, done }) => begin + done < end);
    return open === undefined ? this.sizeBytes : open.begin + open.done;
  }

  /** Appends to a part. */
  write(part: Part, bytes: Uint8Array): void {
    attempt(this.path, () => {
      for (let done = 0; done < bytes.length;) {
        const count = writeSync(this.#file, bytes, done, bytes.length - done, part.begin + part.done);
        done += count;
        part.done += count;
      }
    });
  }

  /** Fills `bytes` from `offset` on. */
  read(bytes: Uint8Array, offset: number): void {
    for (let done = 0; done < bytes.length;) {
      const count = readSync(this.#file, bytes, done, bytes.length - done, offset + done);
      if (count === 0) throw new Error(`Cannot read ${this.path}: it ends at byte ${offset + done}`);
      done += count;
    }
  }

  /** Remembers which bytes are there. */
  save(): void {
    const { sizeBytes, validator } = this;
    const kept: Kept = {
      sizeBytes,
      partBytes: this.#partBytes,
      validator,
      done: this.parts.map(({ done }) => done),
    };
    const path = statePath(this.path), next = newStatePath(this.path);
    attempt(path, () => {
      writeFileSync(next, JSON.stringify(kept));
      renameSync(next, path);
    });
  }

  /** Forgets all bytes. */
  clear(): void {
    for (const part of this.parts) part.done = 0;
    this.validator = null;
  }

  /** Makes the whole file appear at `path`. A process that is killed here leaves what leftovers.ts removes. */
  publish(path: string): void {
    attempt(this.path, () => fsyncSync(this.#file));
    this.close();
    attempt(path, () => renameSync(this.path, path));
    removePartial(this.path);
    syncFolder(dirname(path));
  }

  close(): void {
    if (this.#isOpen) closeSync(this.#file);
    this.#isOpen = false;
  }
}

/** Removes a file in part, or what is left of it, while a lock on it is held. */
export function removePartial(path: string): void {
  const state = statePath(path);
  for (const left of [path, state, newStatePath(path)]) rmSync(left, { force: true });
}

function statePath(path: string): string {
  return `${path}.json`;
}

function newStatePath(path: string): string {
  return `${statePath(path)}.new`;
}

/** @returns what was kept of a file of this size, or null when it is of no use */
function readKept(path: string, sizeBytes: number, heldBytes: number): Kept | null {
  try {
    const kept: Kept = JSON.parse(readFileSync(path, "utf8"));
    const { partBytes, validator, done } = kept;
    const isSound = kept.sizeBytes === sizeBytes && Number.isSafeInteger(partBytes) && partBytes > 0 &&
      (validator === null || typeof validator === "string") &&
      done.length === Math.ceil(sizeBytes / partBytes) &&
      done.every((bytes, i) => {
        const begin = i * partBytes;
        const most = Math.min(partBytes, sizeBytes - begin);
        return Number.isSafeInteger(bytes) && bytes >= 0 && bytes <= most &&
          (bytes === 0 || begin + bytes <= heldBytes);
      });
    return isSound ? kept : null;
  } catch {
    return null;
  }
}

/** So that the rename outlasts a loss of power, where a folder can be opened. */
function syncFolder(path: string): void {
  let folder;
  try {
    folder = openSync(path, "r");
    fsyncSync(folder);
  } catch {
    // Windows opens no folders; its file system keeps renames itself.
  } finally {
    if (folder !== undefined) closeSync(folder);
  }
}
