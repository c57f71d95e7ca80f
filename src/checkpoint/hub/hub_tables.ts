/**
 * A model on a hub, of which only headers are read: by ranges, a few hundred KB a file, of GGUF as much more
 * as its vocabulary takes.
 * @module
 */
import { dirname, join } from "node:path/posix";
import { DownloadError } from "../../errors.ts";
import type { ByteSource } from "../file.ts";
import { type GgufModel, openGgufParts, readGguf } from "../gguf.ts";
import { BeyondStartError, headerEnd, startOf, type TableSource } from "../tables.ts";
import { Endpoint, type HubSettings } from "./endpoint.ts";
import { chooseGguf } from "./gguf_choice.ts";
import { fetchListing } from "./listing.ts";
import { checkModelId, checkRevision, isSafePath } from "./names.ts";
import { findFile, RangesIgnoredError, type RemoteFile } from "./remote_file.ts";
import { FileChangedError, Retry, TransientError } from "./retry.ts";

/** Asked for at first: more than most headers have. */
const firstBytes = 1 << 18;
/** Headers of GGUF that are longer than this are none; those with 129,280 tokens have 5 MB. */
const mostGgufBytes = 1 << 28;

/** The tables of a hub's model. */
export interface HubTables extends TableSource {
  /**
   * Reads the tables of one of its GGUF models.
   * @param wanted see gguf_choice.ts
   * @throws {DownloadError} it has no such model, or several
   */
  gguf(wanted: string): Promise<GgufModel>;
}

/**
 * @throws {TypeError} a name or revision that cannot be one
 * @throws {DownloadError} the hub cannot be asked, or has no such model
 */
export async function hubTables(
  id: string,
  revision: string,
  settings: HubSettings,
  signal: AbortSignal,
): Promise<HubTables> {
  checkModelId(id);
  checkRevision(revision);
  const endpoint = new Endpoint(settings);
  const { commit, paths } = await inWords(
    id,
    async () => (await fetchListing(endpoint, id, revision, signal, false))!,
  );
  const find = (path: string) => findFile(endpoint, { id, commit, path }, signal);
  return {
    name: id,
    files: paths.filter(isSafePath),
    read: (path, limitBytes) =>
      inWords(id, async () => {
        const file = await find(path);
        if (file.sizeBytes > limitBytes) {
          throw new DownloadError(
            `Cannot fetch ${path} of ${id}: it has ${file.sizeBytes} bytes, at most ${limitBytes} are read`,
          );
        }
        return await readStart(file, file.sizeBytes, settings, signal);
      }),
    header: (path) =>
      inWords(id, async () => await readHeader(await find(path), `${id}/${path}`, settings, signal)),
    gguf: (wanted) =>
      inWords(id, async () => {
        const { path, paths: parts } = chooseGguf(paths.filter(isSafePath), wanted, id);
        const starts = new Map<string, ByteSource>();
        for (const part of parts) {
          starts.set(part, await readGgufStart(await find(part), `${id}/${part}`, settings, signal));
        }
        const folder = dirname(path);
        return openGgufParts(`${id}/${path}`, "basic", (name) => starts.get(join(folder, name))!);
      }),
  };
}

/** Reads on until the whole tensor table is here: nothing says beforehand how long it is. */
async function readGgufStart(
  file: RemoteFile,
  path: string,
  settings: HubSettings,
  signal: AbortSignal,
): Promise<ByteSource> {
  let bytes = new Uint8Array(0);
  for (let wanted = Math.min(file.sizeBytes, firstBytes);;) {
    bytes = await readStart(file, wanted, settings, signal, bytes);
    const start = startOf(path, file.sizeBytes, bytes);
    try {
      readGguf(start, "none");
      return start;
    } catch (error) {
      if (!(error instanceof BeyondStartError) || wanted === file.sizeBytes) throw error;
      // Half as much again: few requests, and little that is not needed.
      wanted = Math.min(file.sizeBytes, Math.max(error.needed, Math.ceil(1.5 * wanted)));
      if (wanted > mostGgufBytes) throw error;
    }
  }
}

async function readHeader(
  file: RemoteFile,
  path: string,
  settings: HubSettings,
  signal: AbortSignal,
): Promise<ByteSource> {
  const first = await readStart(file, Math.min(file.sizeBytes, firstBytes), settings, signal);
  const needed = Math.min(file.sizeBytes, headerEnd(first));
  const bytes = needed <= first.length ? first : await readStart(file, needed, settings, signal);
  return startOf(path, file.sizeBytes, bytes);
}

/** @param known bytes of the start that are here already */
async function readStart(
  file: RemoteFile,
  sizeBytes: number,
  { patience }: HubSettings,
  signal: AbortSignal,
  known: Uint8Array = new Uint8Array(0),
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(sizeBytes);
  bytes.set(known);
  const retry = new Retry(patience, signal);
  for (let done = known.length; done < sizeBytes;) {
    try {
      for await (const chunk of file.read(done, sizeBytes, signal)) {
        bytes.set(chunk, done);
        done += chunk.length;
        retry.progress();
      }
    } catch (error) {
      await retry.wait(error);
    }
  }
  return bytes;
}

/** @throws {DownloadError} for what the parts of a download throw each in its own way */
async function inWords<T>(id: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof TransientError) {
      throw new DownloadError(`Cannot fetch ${id}: ${error.message}`, error.status);
    }
    if (error instanceof FileChangedError || error instanceof RangesIgnoredError) {
      throw new DownloadError(`Cannot fetch ${id}: ${error.message}`);
    }
    throw error;
  }
}
