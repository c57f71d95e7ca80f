/**
 * A conversation as a file: what was said, its tokens, and what the cache holds of them.
 *
 *     magic "HADALTK1", u32 bytes of the head (little endian), the head as JSON
 *     the blocks of the cache, the last one maybe part full
 *     SHA-256 of all that
 *
 * What is read may come from anybody: it is believed only when its sizes and its hash are right, and only as
 * far as the model that reads it would have computed the same.
 * @module
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { basename, dirname } from "node:path";
import { blockTokens } from "../backend/backend.ts";
import { attempt } from "../checkpoint/write_safetensors.ts";
import { RequestError } from "../errors.ts";
import { anything, list, object, text, whole } from "../model/json_check.ts";
import { removeAbandoned, unfinishedPath } from "../unfinished.ts";

/** What two caches must have in common for the blocks of one to be of use to the other. */
export interface CacheKind {
  /** Weights and configuration. */
  readonly model: string;
  readonly weights: string;
  readonly cache: string;
  /** What fixes the bits: where it differs a conversation is read all the same, and computed again. */
  readonly computing: string;
}

/** What a file says of itself. */
export interface ConversationHead {
  readonly kind: CacheKind;
  readonly tokens: readonly number[];
  /** Tokens whose latents follow. */
  readonly nKept: number;
  readonly blockBytes: number;
  /** What the caller wants to find again. */
  readonly note: unknown;
}

const magic = new TextEncoder().encode("HADALTK1");
const prefixBytes = 12, hashBytes = 32, mostHeadBytes = 16 * 2 ** 20;
const headSchema = object({
  kind: object({ model: text(), weights: text(), cache: text(), computing: text() }),
  tokens: list(whole(0)),
  nKept: whole(0),
  blockBytes: whole(1),
  note: anything(),
});

/**
 * Writes a file for its owner alone, which appears whole.
 * @param blocks in order
 * @throws {Error} it cannot be written; then nothing is left
 */
export function writeConversation(path: string, head: ConversationHead, blocks: Iterable<Uint8Array>): void {
  removeAbandoned(dirname(path), (name) => name === basename(path));
  const temporary = unfinishedPath(path);
  const file = attempt(path, () => openSync(temporary, "wx", 0o600));
  attempt(path, () => {
    try {
      try {
        writeParts(file, head, blocks);
      } finally {
        closeSync(file);
      }
      renameSync(temporary, path);
    } catch (error) {
      unlinkSync(temporary);
      throw error;
    }
  });
}

function writeParts(file: number, head: ConversationHead, blocks: Iterable<Uint8Array>): void {
  const text = new TextEncoder().encode(JSON.stringify(head));
  const prefix = new Uint8Array(prefixBytes);
  prefix.set(magic);
  new DataView(prefix.buffer).setUint32(8, text.length, true);
  const hash = createHash("sha256");
  const put = (bytes: Uint8Array) => {
    for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done, bytes.length - done);
  };
  for (const bytes of [prefix, text]) put((hash.update(bytes), bytes));
  for (const bytes of blocks) put((hash.update(bytes), bytes));
  put(hash.digest());
}

/**
 * Reads a file whose kind is that of this model.
 * @param take is given the head, and how to read the next block; whether the file is sound is known when it
 *   returns
 * @throws {RequestError} what is wrong with the file, or what it was made with instead
 */
export function readConversation<T>(
  path: string,
  kind: CacheKind,
  take: (head: ConversationHead, next: (into: Uint8Array) => void, check: () => void) => T,
): T {
  // Asked before opening: to open a named pipe is to wait for its other end, for ever.
  if (!reach(path, () => statSync(path)).isFile()) throw bad(path, "it is no conversation");
  const file = reach(path, () => openSync(path, "r"));
  try {
    const stat = fstatSync(file), hash = createHash("sha256");
    const read = (into: Uint8Array, isHashed = true) => {
      for (let done = 0; done < into.length;) {
        const count = readSync(file, into, done, into.length - done, null);
        if (count === 0) throw bad(path, "it ends too soon");
        done += count;
      }
      if (isHashed) hash.update(into);
    };
    if (!stat.isFile() || stat.size < prefixBytes + hashBytes) throw bad(path, "it is no conversation");
    const prefix = new Uint8Array(prefixBytes);
    read(prefix);
    const headBytes = new DataView(prefix.buffer).getUint32(8, true);
    if (!magic.every((byte, i) => prefix[i] === byte)) throw bad(path, "it is no conversation");
    if (headBytes > Math.min(mostHeadBytes, stat.size)) throw bad(path, `its head claims ${headBytes} bytes`);
    const text = new Uint8Array(headBytes);
    read(text);
    const head = parseHead(path, text);
    for (const [word, found, needed] of differences(head.kind, kind)) {
      const problem = `it was made with another ${word} (${found}), ${needed} is needed`;
      throw new RequestError(`Cannot read ${path}: ${problem}`, { code: "conversation_mismatch" });
    }
    const nBlocks = Math.ceil(head.nKept / blockTokens);
    const size = prefixBytes + headBytes + nBlocks * head.blockBytes + hashBytes;
    if (head.nKept > head.tokens.length || stat.size !== size) {
      throw bad(path, `it holds ${stat.size} bytes, its head says ${size}`);
    }
    return take(head, read, () => {
      const digest = hash.digest(), found = new Uint8Array(hashBytes);
      read(found, false);
      if (!digest.equals(found)) throw bad(path, "its hash is another");
    });
  } finally {
    closeSync(file);
  }
}

/** @throws {RequestError} there is no such file, or it may not be read */
function reach<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    const problem = (error as NodeJS.ErrnoException).code === "ENOENT"
      ? "there is no such file"
      : (error as Error).message;
    throw new RequestError(`Cannot read ${path}: ${problem}`, { code: "conversation_unreadable" });
  }
}

function parseHead(path: string, bytes: Uint8Array): ConversationHead {
  try {
    const head = headSchema.read(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
    if (head.tokens.length === 0) throw new RangeError("no tokens");
    return head;
  } catch {
    throw bad(path, "its head is no JSON of a conversation");
  }
}

function differences(found: CacheKind, needed: CacheKind): [string, string, string][] {
  const words = { model: "model", weights: "format of weights", cache: "cache" } as const;
  return (["model", "weights", "cache"] as const).flatMap((key): [string, string, string][] =>
    found[key] === needed[key] ? [] : [[words[key], found[key].slice(0, 100), needed[key]]]
  );
}

function bad(path: string, problem: string): RequestError {
  return new RequestError(`Cannot read ${path}: ${problem}`, { code: "conversation_damaged" });
}
