/**
 * Fetches a folder of the package from the server that its modules came from. What every file must be stands in a
 * module, so whoever pins the modules (a lock file does) has pinned the files as well. The folder appears in hadal's
 * cache whole or not at all, under the hash of what it must be; several processes may fetch it at once.
 * @module
 */
import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { privateTemporaryFolder, writableFolder } from "../../ffi/library.ts";
import { Endpoint } from "../checkpoint/hub/endpoint.ts";
import { forAll, Limit } from "../checkpoint/hub/limit.ts";
import { defaultPatience, type Patience, retrying, TransientError } from "../checkpoint/hub/retry.ts";
import { DownloadError } from "../errors.ts";
import { cacheDirectory } from "../runtime.ts";
import { removeAbandoned, unfinishedPath } from "../unfinished.ts";

/** The files of a folder: path in it -> bytes, SHA-256 in hex. */
export type FolderManifest = Readonly<Record<string, readonly [sizeBytes: number, sha256: string]>>;

/** How fetching is given up, and who is told how far it is. */
export interface FetchOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/** Requests at once. */
const connections = 8;

/** Where to keep folders, and how long to wait for a server, where the defaults will not do. */
export interface FetchSettings {
  readonly cache?: string | null;
  readonly patience?: Patience;
}

/**
 * @param url of the folder, with a slash at its end
 * @returns where it is on this machine; its last name is that of the URL
 * @throws {DownloadError} in one sentence, why not; or the signal's reason
 */
export async function fetchFolder(
  url: URL,
  files: FolderManifest,
  { signal = new AbortController().signal, onProgress = () => {} }: FetchOptions,
  { cache = cacheDirectory(), patience = defaultPatience }: FetchSettings = {},
): Promise<string> {
  const entries = Object.entries(files);
  const hash = createHash("sha256").update(JSON.stringify(entries)).digest("hex").slice(0, 32);
  const kept = cache === null ? privateTemporaryFolder() : writableFolder(join(cache, "package"));
  const place = join(kept, hash), folder = join(place, basename(url.pathname));
  removeAbandoned(kept, (name) => name === hash);
  if (isWhole(folder, files)) return folder;
  const partial = unfinishedPath(place);
  const totalBytes = entries.reduce((sum, [, [sizeBytes]]) => sum + sizeBytes, 0);
  const endpoint = new Endpoint({ endpoint: url.origin, token: null, cache: kept, offline: false, patience });
  const limit = new Limit(connections);
  let doneBytes = 0;
  try {
    await forAll(entries, signal, ([path, [sizeBytes, sha256]], signal) =>
      limit.run(async () => {
        const file = new URL(path, url);
        const bytes = await retrying(patience, signal, () => fetchFile(endpoint, file, sizeBytes, signal));
        const found = createHash("sha256").update(bytes).digest("hex");
        if (found !== sha256) {
          throw new DownloadError(`Cannot use ${file}: its SHA-256 is ${found}, ${sha256} is needed`);
        }
        write(join(partial, basename(folder), path), bytes);
        onProgress(doneBytes += sizeBytes, totalBytes);
      }));
    signal.throwIfAborted();
    putInPlace(partial, place, () => isWhole(folder, files));
    return folder;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof DownloadError) throw error;
    const { message, status = null } = error as TransientError;
    throw new DownloadError(`Cannot fetch ${url}: ${message}`, status);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

/** What was kept is as sound as a folder that others cannot write to: files that a full disk cut short are seen. */
function isWhole(folder: string, files: FolderManifest): boolean {
  const found = lstatSync(folder, { throwIfNoEntry: false });
  if (!found?.isDirectory()) return false;
  // Code is made of it: what others may write is not ours to trust. (Windows has neither number.)
  if (process.getuid && (found.uid !== process.getuid() || (found.mode & 0o022) !== 0)) return false;
  return Object.entries(files).every(([path, [sizeBytes]]) => {
    const file = lstatSync(join(folder, path), { throwIfNoEntry: false });
    return file?.isFile() && file.size === sizeBytes;
  });
}

/** @returns exactly `sizeBytes`; another size is another file, and no more than that is read of it */
async function fetchFile(
  endpoint: Endpoint,
  url: URL,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const answer = await endpoint.request(url, { signal });
  if (answer.status !== 200) {
    await answer.discard();
    const problem = `Cannot fetch ${url}: ${answer.url.host} answers ${answer.status}`;
    if (answer.status >= 500 || answer.status === 429) {
      throw new TransientError(problem, { status: answer.status });
    }
    throw new DownloadError(problem, answer.status);
  }
  const bytes = new Uint8Array(sizeBytes);
  let done = 0;
  for await (const chunk of answer.chunks()) {
    if (done + chunk.length > sizeBytes) {
      throw new DownloadError(`Cannot use ${url}: it has more than ${sizeBytes} bytes`);
    }
    bytes.set(chunk, done);
    done += chunk.length;
  }
  if (done < sizeBytes) throw new TransientError(`${url} ended after ${done} of ${sizeBytes} bytes`);
  return bytes;
}

function write(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(path, bytes, { mode: 0o600 });
}

/** Renames a whole folder to its name, where another process may have put the same meanwhile. */
function putInPlace(partial: string, place: string, isDone: () => boolean): void {
  if (isDone()) return;
  const damaged = unfinishedPath(place);
  try {
    if (lstatSync(place, { throwIfNoEntry: false }) !== undefined) renameSync(place, damaged);
    renameSync(partial, place);
  } catch (error) {
    if (!isDone()) throw error;
  } finally {
    rmSync(damaged, { recursive: true, force: true });
  }
}
