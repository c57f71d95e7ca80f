/**
 * The cache folder of one model, in the layout of the Python client (huggingface_hub, "Understand
 * caching"), so that the two share files: contents under blobs/ by their hash, and for each commit a
 * folder of links to them.
 *
 *     models--org--name/blobs/HASH   refs/main (a commit)   snapshots/COMMIT/config.json -> ../../blobs/HASH
 *
 * @module
 */
import {
  closeSync,
  constants,
  copyFileSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { attempt } from "../write_safetensors.ts";
import { isCommit } from "./names.ts";

/** Names in it must have passed names.ts. */
export class ModelCache {
  readonly #folder: string;
  readonly #locks: string;

  constructor(cache: string, id: string) {
    const name = `models--${id.replace("/", "--")}`;
    this.#folder = join(cache, name);
    this.#locks = join(cache, ".locks", name);
  }

  /** @returns the folder that shows a commit's files; it need not exist */
  snapshot(commit: string): string {
    return join(this.#folder, "snapshots", commit);
  }

  /** @returns the folder of all contents, made when it was not there */
  makeBlobs(): string {
    const folder = join(this.#folder, "blobs");
    attempt(folder, () => mkdirSync(folder, { recursive: true }));
    return folder;
  }

  /** @returns the path of a content; it need not exist */
  blob(name: string): string {
    return join(this.#folder, "blobs", name);
  }

  /**
   * Path of a content in part. Its holes make it another thing than the ".incomplete" of the Python
   * client, which goes on at the end of such a file: so it has another name.
   */
  partial(name: string): string {
    return join(this.#folder, "blobs", `${name}.hadal.incomplete`);
  }

  lock(name: string): string {
    return join(this.#locks, `${name}.hadal.lock`);
  }

  /** @returns whether a content is there, whole */
  hasBlob(name: string): boolean {
    return sizeOf(this.blob(name)) !== null;
  }

  /** @returns the contents that have a file in part, a lock, or what is left of either */
  leftovers(): Set<string> {
    const files = [join(this.#folder, "blobs"), this.#locks].flatMap(namesIn);
    const ours = /^(.+)\.hadal\.(?:incomplete|lock)(?:\.|$)/;
    return new Set(files.flatMap((file) => ours.exec(file)?.[1] ?? []));
  }

  /** @returns the commit that a revision had when it was last fetched, or null */
  commitOf(revision: string): string | null {
    if (isCommit(revision)) return revision;
    try {
      const commit = readFileSync(this.#ref(revision), "utf8").trim();
      return isCommit(commit) ? commit : null;
    } catch {
      return null;
    }
  }

  setCommit(revision: string, commit: string): void {
    if (revision === commit || this.commitOf(revision) === commit) return;
    const path = this.#ref(revision);
    attempt(path, () => {
      mkdirSync(dirname(path), { recursive: true });
      // In its place, at once: so there is no moment without a commit that was there, and nothing beside it.
      const file = openSync(path, constants.O_RDWR | constants.O_CREAT);
      try {
        writeSync(file, new TextEncoder().encode(commit), 0, commit.length, 0);
        ftruncateSync(file, commit.length);
      } finally {
        closeSync(file);
      }
    });
  }

  #ref(revision: string): string {
    return join(this.#folder, "refs", ...revision.split("/"));
  }

  /** @returns whether a commit's file is in the cache */
  has(commit: string, path: string): boolean {
    return sizeOf(join(this.snapshot(commit), path)) !== null;
  }

  /**
   * Makes the blob appear as a commit's file, at once.
   * @returns false where the disk has no links: then a copy is needed
   */
  link(commit: string, path: string, blobName: string): boolean {
    const blob = this.blob(blobName), place = this.#makePlace(commit, path);
    const target = relative(dirname(place), blob);
    const found = linkTarget(place);
    if (found === target) return true;
    if (found !== null && sizeOf(place) === null) rmSync(place); // it stands for nothing
    // Windows lets few users make symbolic links, Deno none without leave to write everywhere.
    for (const make of [() => symlinkSync(target, place), () => linkSync(blob, place)]) {
      try {
        make();
        return true;
      } catch {
        if (sizeOf(place) !== null) return true; // another process was faster
      }
    }
    return false;
  }

  /** Copies the blob to a commit's file, which appears whole; a lock on the content is held. */
  copy(commit: string, path: string, blobName: string): void {
    const place = this.#makePlace(commit, path), partial = this.partial(blobName);
    attempt(place, () => {
      copyFileSync(this.blob(blobName), partial);
      renameSync(partial, place);
    });
  }

  #makePlace(commit: string, path: string): string {
    const place = join(this.snapshot(commit), ...path.split("/"));
    attempt(place, () => mkdirSync(dirname(place), { recursive: true }));
    return place;
  }
}

/** @returns the size of the file at a path, links followed; null where none can be had */
export function sizeOf(path: string): number | null {
  try {
    const status = statSync(path);
    return status.isFile() ? status.size : null;
  } catch {
    return null;
  }
}

function linkTarget(path: string): string | null {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ? readlinkSync(path) : null;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
