/**
 * Brings a model from a hub into the cache: only files that are missing, each verified before it
 * appears, and the revision's name last, so that it always stands for a whole model.
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DownloadError } from "../../errors.ts";
import { freeDiskBytes } from "../../runtime.ts";
import { attempt } from "../write_safetensors.ts";
import { ModelCache, sizeOf } from "./cache.ts";
import { download, type DownloadContext } from "./download.ts";
import { Endpoint, type HubSettings } from "./endpoint.ts";
import { forAll, Limit } from "./limit.ts";
import { choosePaths, fetchListing, type Patterns } from "./listing.ts";
import { removeLeftovers } from "./leftovers.ts";
import { lock } from "./lock.ts";
import { checkModelId, checkRevision, isCommit } from "./names.ts";
import { PartialFile } from "./partial.ts";
import { type DownloadProgress, Meter } from "./progress.ts";
import { findFile, type RemoteFile } from "./remote_file.ts";
import { FileChangedError, TransientError } from "./retry.ts";

/** Options of {@linkcode pull}. */
export interface PullOptions {
  /** Branch, tag or commit; "main" by default. */
  readonly revision?: string;
  readonly patterns?: Patterns;
  /** Take what the cache holds of the revision when the hub cannot be asked. */
  readonly orCached?: boolean;
  /** Connections at once; 8 by default. */
  readonly connections?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: DownloadProgress) => void;
}

/** A model in the cache. */
export interface Pulled {
  /** Shows the files of the commit. */
  readonly folder: string;
  readonly commit: string;
  /** Paths in the folder that were wanted. */
  readonly paths: readonly string[];
}

/** A part is long enough that asking for it costs little, and short enough that losing one does. */
const leastPartBytes = 1 << 20, mostPartBytes = 64 << 20;
/** Times that a file may change, or fail its hash, while it is fetched. */
const mostChanges = 3;
const weights = /\.(?:safetensors|bin|gguf)$/;
const everything: Patterns = { include: [], exclude: [] };

/**
 * @param id such as "deepseek-ai/DeepSeek-V2-Lite-Chat"
 * @throws {TypeError} a name, revision or endpoint that cannot be one
 * @throws {DownloadError} why it cannot be had; what was fetched stays for the next time
 * @throws {Error} the cache cannot be written, or the signal's reason
 */
export async function pull(id: string, settings: HubSettings, options: PullOptions = {}): Promise<Pulled> {
  const { revision = "main", patterns = everything, connections = 8, onProgress = () => {} } = options;
  checkModelId(id);
  checkRevision(revision);
  const endpoint = new Endpoint(settings);
  const cache = new ModelCache(settings.cache, id);
  if (settings.offline) return await findCached(cache, id, revision, patterns);
  if (isCommit(revision) && patterns.include.length === 0) {
    // A commit never changes: what is whole in the cache need not be asked about.
    const cached = await findCached(cache, id, revision, patterns).catch(() => null);
    if (cached !== null) return cached;
  }
  const signal = options.signal ?? new AbortController().signal;
  const cached = options.orCached ? await findCached(cache, id, revision, patterns).catch(() => null) : null;
  try {
    signal.throwIfAborted();
    const listing = await fetchListing(endpoint, id, revision, signal, cached !== null);
    if (listing === null) return cached!;
    const context = {
      connections: new Limit(connections),
      patience: settings.patience,
      meter: new Meter(onProgress),
    };
    const model = new ModelPull({ id, commit: listing.commit, endpoint, cache, context, signal });
    const paths = await choosePaths(listing, patterns, id, async (index) => {
      await model.fetch([index]);
      return readFileSync(join(cache.snapshot(listing.commit), index));
    });
    // Weights last: a commit in the cache that has them has the rest too.
    await model.fetch(paths.filter((path) => !weights.test(path)));
    await model.fetch(paths);
    cache.setCommit(revision, listing.commit);
    removeLeftovers(cache);
    return { folder: cache.snapshot(listing.commit), commit: listing.commit, paths };
  } catch (error) {
    if (!(error instanceof TransientError)) throw error;
    throw new DownloadError(`Cannot fetch ${id}: ${error.message}`, error.status);
  }
}

/** What the cache holds of a model. @throws {DownloadError} it is not all there */
async function findCached(
  cache: ModelCache,
  id: string,
  revision: string,
  patterns: Patterns,
): Promise<Pulled> {
  const commit = cache.commitOf(revision);
  const folder = commit === null ? null : cache.snapshot(commit);
  const what = `${id} offline`;
  if (commit === null || folder === null) {
    throw new DownloadError(`Cannot fetch ${what}: the cache holds no revision ${revision} of it`);
  }
  const paths = filesUnder(folder).filter((path) => cache.has(commit, path));
  if (paths.length === 0) throw new DownloadError(`Cannot fetch ${what}: the cache holds no file of it`);
  const chosen = await choosePaths(
    { paths },
    patterns,
    what,
    (path) => Promise.resolve(readFileSync(join(folder, path))),
  );
  return { folder, commit, paths: chosen };
}

function filesUnder(folder: string, prefix = ""): string[] {
  let entries;
  try {
    entries = readdirSync(join(folder, prefix), { withFileTypes: true });
  } catch {
    return [];
  }
  return entries.flatMap((entry) =>
    entry.isDirectory() ? filesUnder(folder, `${prefix}${entry.name}/`) : [`${prefix}${entry.name}`]
  );
}

/** One commit of one model on its way into the cache. */
interface Target {
  readonly id: string;
  readonly commit: string;
  readonly endpoint: Endpoint;
  readonly cache: ModelCache;
  readonly context: DownloadContext;
  readonly signal: AbortSignal;
}

class ModelPull {
  readonly #target: Target;
  readonly #done = new Set<string>();

  constructor(target: Target) {
    this.#target = target;
  }

  /** Brings these files into the snapshot, unless they are there. */
  async fetch(paths: readonly string[]): Promise<void> {
    const { cache, commit, context, signal } = this.#target;
    const missing: string[] = [];
    for (const path of paths) {
      if (this.#done.has(path)) continue;
      this.#done.add(path);
      const size = sizeOf(join(cache.snapshot(commit), path));
      if (size === null) missing.push(path);
      else {
        context.meter.expect(size, size);
        context.meter.finishFile();
      }
    }
    const asking = new Limit(8);
    const remotes = await forAll(
      missing,
      signal,
      (path, signal) => asking.run(() => this.#find(path, signal)),
    );
    const bytes = remotes.map((remote) => this.#bytesHere(remote));
    remotes.forEach(({ sizeBytes }, i) => context.meter.expect(sizeBytes, bytes[i]));
    this.#checkSpace(remotes.reduce((sum, { sizeBytes }, i) => sum + sizeBytes - bytes[i], 0));
    const files = new Limit(4);
    await forAll(remotes, signal, (remote, signal) => files.run(() => this.#fetchFile(remote, signal)));
  }

  #find(path: string, signal: AbortSignal): Promise<RemoteFile> {
    const { endpoint, id, commit } = this.#target;
    return findFile(endpoint, { id, commit, path }, signal);
  }

  #bytesHere({ blobName, sizeBytes }: RemoteFile): number {
    const { cache } = this.#target;
    return sizeOf(cache.blob(blobName)) === sizeBytes ? sizeBytes : 0;
  }

  #checkSpace(neededBytes: number): void {
    const { cache, id } = this.#target;
    const folder = cache.makeBlobs();
    const freeBytes = freeDiskBytes(folder);
    if (freeBytes !== null && neededBytes > freeBytes) {
      throw new Error(
        `Cannot write ${id} to ${folder}: ${neededBytes} bytes are needed, ${freeBytes} are free`,
      );
    }
  }

  async #fetchFile(first: RemoteFile, signal: AbortSignal): Promise<void> {
    const { cache, id, commit, context } = this.#target;
    let remote = first;
    for (let changes = 0;;) {
      try {
        await this.#fetchBlob(remote, signal);
        if (!cache.link(commit, remote.path, remote.blobName)) await this.#copy(remote, signal);
        return context.meter.finishFile();
      } catch (error) {
        if (!(error instanceof FileChangedError)) throw error;
        if (++changes === mostChanges) {
          throw new DownloadError(
            `Cannot fetch ${remote.path} of ${id}: ${changes} times it came as another file; ${error.message}`,
          );
        }
        remote = await this.#find(remote.path, signal);
      }
    }
  }

  async #copy({ path, blobName }: RemoteFile, signal: AbortSignal): Promise<void> {
    const { cache, commit } = this.#target;
    const release = await lock(cache.lock(blobName), signal, () => cache.has(commit, path));
    if (release === null) return;
    try {
      cache.copy(commit, path, blobName);
    } finally {
      release();
    }
  }

  /** Makes the content appear under its hash. */
  async #fetchBlob(remote: RemoteFile, signal: AbortSignal): Promise<void> {
    const { cache, context } = this.#target;
    const { blobName, sizeBytes, path } = remote;
    const blob = cache.blob(blobName);
    const isThere = () => sizeOf(blob) === sizeBytes;
    if (isThere()) return;
    const { meter } = context;
    const release = await lock(cache.lock(blobName), signal, isThere, () => meter.wait(path));
    meter.wait(null);
    if (release === null) return meter.correct(sizeBytes);
    try {
      if (isThere()) return meter.correct(sizeBytes);
      const partBytes = Math.min(mostPartBytes, Math.max(leastPartBytes, Math.ceil(sizeBytes / 32)));
      const partial = attempt(blob, () => new PartialFile(cache.partial(blobName), sizeBytes, partBytes));
      meter.correct(partial.doneBytes);
      try {
        await download(remote, partial, context, signal);
        partial.publish(blob);
      } finally {
        partial.close();
      }
    } finally {
      release();
    }
  }
}
