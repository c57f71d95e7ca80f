/**
 * Files of a model folder. Nobody vouches for such a folder: what its names lead to is checked here,
 * and every failure names the file.
 * @module
 */
import { CheckpointError } from "../errors.ts";
import { JsonSyntaxError, parseJson, shown } from "../json_scanner.ts";
import { type FileStatus, isWithin, join, type OpenFile, openFile, realPath, statusAt } from "../runtime.ts";

/** Bytes that can be read at any place: an open file, or memory. */
export interface ByteSource {
  /** What messages call it. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Reads `size` bytes from `offset` on. @throws {CheckpointError} when they are not all there */
  read(offset: number, size: number): Uint8Array<ArrayBuffer>;
  /** Fills `bytes` from `offset` on; absent where `read` costs no more. @throws {CheckpointError} */
  readInto?(bytes: Uint8Array, offset: number): void;
}

/** An open file of fixed size. Replacing it by a rename does not change what is read. */
export class ModelFile implements ByteSource {
  readonly path: string;
  readonly sizeBytes: number;
  #file: OpenFile | null;

  /** @throws {CheckpointError} when there is no such file, or it is no regular one */
  constructor(path: string) {
    this.path = path;
    // Asked before opening: to open a named pipe is to wait for its other end, for ever.
    if (statusOf(path)?.isFile === false) throw new CheckpointError(path, "it is no regular file");
    try {
      this.#file = openFile(path);
      this.sizeBytes = this.#file.sizeBytes;
    } catch (error) {
      throw new CheckpointError(path, reasonOf(error));
    }
  }

  read(offset: number, size: number): Uint8Array<ArrayBuffer> {
    if (offset + size > this.sizeBytes) {
      throw new CheckpointError(
        this.path,
        `bytes ${offset} to ${offset + size} are needed, the file holds ${this.sizeBytes}`,
      );
    }
    const bytes = new Uint8Array(size);
    this.readInto(bytes, offset);
    return bytes;
  }

  /** Fills `bytes` from `offset` on. @throws {CheckpointError} when the file ends before */
  readInto(bytes: Uint8Array, offset: number): void {
    if (this.#file === null) throw new CheckpointError(this.path, "it has been closed");
    for (let done = 0; done < bytes.length;) {
      let count: number;
      try {
        count = this.#file.readInto(done === 0 ? bytes : bytes.subarray(done), offset + done);
      } catch (error) {
        throw new CheckpointError(this.path, reasonOf(error));
      }
      if (count === 0) {
        throw new CheckpointError(
          this.path,
          `it ends at byte ${offset + done}, it held ${this.sizeBytes} when it was opened`,
        );
      }
      done += count;
    }
  }

  close(): void {
    this.#file?.close();
    this.#file = null;
  }
}

/** Text is read in pieces of this. */
const pieceBytes = 1 << 20;

/**
 * Reads text. A file that is a hole for the most part costs as much memory as what stands before the hole.
 * @throws {CheckpointError} for one of several pieces that holds a zero byte, which no text does
 */
export function readText(file: ByteSource, offset: number, size: number): Uint8Array<ArrayBuffer> {
  if (size <= pieceBytes) return file.read(offset, size);
  const text = new Uint8Array(size);
  for (let at = 0; at < size; at += pieceBytes) {
    const piece = text.subarray(at, at + pieceBytes);
    if (file.readInto) file.readInto(piece, offset + at);
    else piece.set(file.read(offset + at, piece.length));
    const zero = piece.indexOf(0);
    if (zero >= 0) {
      throw new CheckpointError(file.path, `byte ${offset + at + zero} is 0 where text is needed`);
    }
  }
  return text;
}

/** @returns whether a name is that of a file in the folder itself, on every platform */
export function isPlainName(name: string): boolean {
  // deno-lint-ignore no-control-regex
  return !/^\.{0,2}$|[\/\\:\x00-\x1f]/.test(name) && name.length <= 255;
}

/**
 * Opens a file of a model folder.
 *
 * A name must be plain, so that no file's content can lead out of the folder; and a link in the folder
 * may lead out of it only to a blob of a Hugging Face cache, whose snapshots are folders of such links:
 * nobody who downloads a folder wishes that it reads other files of theirs. The folder itself may be a
 * link, since its user named it.
 * @throws {CheckpointError}
 */
export function openModelFile(folder: string, name: string): ModelFile {
  const path = join(folder, name);
  if (!isPlainName(name)) throw new CheckpointError(folder, `${shown(name)} is no plain file name`);
  const target = withoutLinks(path);
  if (!isWithin(withoutLinks(folder), target) && !cacheBlob.test(target)) {
    throw new CheckpointError(path, `it is a link that leads outside the folder, to ${target}`);
  }
  return new ModelFile(path);
}

/** A blob's name is the SHA-1 or SHA-256 of its content. */
const cacheBlob = /[\/\\]blobs[\/\\][0-9a-f]{40}(?:[0-9a-f]{24})?$/;

/**
 * @returns the content of a file of a model folder, or null when there is none
 * @throws {CheckpointError} when it is longer than `limitBytes`
 */
export function readModelBytes(
  folder: string,
  name: string,
  limitBytes: number,
): Uint8Array<ArrayBuffer> | null {
  if (statusOf(join(folder, name)) === null) return null;
  const file = openModelFile(folder, name);
  try {
    if (file.sizeBytes > limitBytes) {
      throw new CheckpointError(file.path, `it has ${file.sizeBytes} bytes, at most ${limitBytes} are read`);
    }
    return readText(file, 0, file.sizeBytes);
  } finally {
    file.close();
  }
}

/**
 * @returns the text of a file of a model folder, or null when there is none
 * @throws {CheckpointError} when it is longer than `limitBytes` or no UTF-8
 */
export function readModelText(folder: string, name: string, limitBytes: number): string | null {
  const bytes = readModelBytes(folder, name, limitBytes);
  return bytes && decodeUtf8(join(folder, name), bytes);
}

/** Longest texts that are read. Published tokenizers have some 10 MB, templates and configurations some KB. */
export const mostTokenizerBytes = 50_000_000, mostSettingsBytes = 10_000_000, mostTemplateBytes = 1_000_000;

/**
 * @returns the parsed content of a JSON file of a model folder, or undefined when there is none
 * @throws {CheckpointError}
 */
export function readModelJson(folder: string, name: string): unknown {
  const bytes = readModelBytes(folder, name, mostSettingsBytes);
  return bytes === null ? undefined : parseSettings(bytes, join(folder, name));
}

/** @returns the content of a JSON file. @throws {CheckpointError} */
export function parseSettings(bytes: Uint8Array, path: string): unknown {
  try {
    return parseJson(bytes);
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    throw new CheckpointError(path, `it is no JSON: ${error.message}`);
  }
}

/** @returns what is at a path, links followed, or null when nothing is. @throws {CheckpointError} */
export function statusOf(path: string): FileStatus | null {
  try {
    return statusAt(path);
  } catch (error) {
    if (isMissing(error)) return null;
    throw new CheckpointError(path, reasonOf(error));
  }
}

function withoutLinks(path: string): string {
  try {
    return realPath(path);
  } catch (error) {
    throw new CheckpointError(path, reasonOf(error));
  }
}

/** @throws {CheckpointError} when the bytes are no UTF-8 */
function decodeUtf8(path: string, bytes: Uint8Array): string {
  try {
    // Without ignoreBOM a leading U+FEFF vanishes, and the text no longer says what the file holds.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new CheckpointError(path, "its text is no valid UTF-8");
  }
}

function isMissing(error: unknown): boolean {
  return ["ENOENT", "ENOTDIR"].includes((error as { code: string }).code);
}

function reasonOf(error: unknown): string {
  if (isMissing(error)) return "there is no such file";
  const { code, message } = error as { code?: string; message: string };
  if (code === "EMFILE") return "too many files are open, a higher limit (ulimit -n) is needed";
  return message;
}
