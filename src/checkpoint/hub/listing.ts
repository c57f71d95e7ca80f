/**
 * What a revision of a model holds, and which of its files are needed to run it.
 * @module
 */
import { z } from "zod";
import { DownloadError } from "../../errors.ts";
import { JsonScanner, JsonSyntaxError, parseJson, shown } from "../../json_scanner.ts";
import { type Endpoint, refuse } from "./endpoint.ts";
import { chooseGguf, ggufChoices } from "./gguf_choice.ts";
import { isCommit, isSafePath, matches } from "./names.ts";
import { retrying, TransientError } from "./retry.ts";

/** Files of a model at one commit. */
export interface Listing {
  readonly commit: string;
  readonly paths: readonly string[];
}

/** Which files are wanted besides, or instead of, those that a model needs. */
export interface Patterns {
  /** Files that match one of these; empty for those that the model needs. */
  readonly include: readonly string[];
  /** But none that matches one of these. */
  readonly exclude: readonly string[];
  /** Of the files that the model needs: the GGUF model that is meant, see gguf_choice.ts. */
  readonly gguf?: string;
}

/** Longest answers that are read, and values in them: a file takes some three. */
const listingLimitBytes = 10_000_000, mostListingValues = 500_000;
const schema = z.object({ sha: z.string(), siblings: z.array(z.object({ rfilename: z.string() })) });

/**
 * @param once whether to ask but once
 * @returns null when it was asked once, and did not answer
 * @throws {DownloadError} the hub knows no such revision, or does not answer as a hub
 */
export async function fetchListing(
  endpoint: Endpoint,
  id: string,
  revision: string,
  signal: AbortSignal,
  once: boolean,
): Promise<Listing | null> {
  // Nothing has begun yet: who waits should soon hear that the hub does not answer.
  const tries = once ? 1 : Math.min(3, endpoint.patience.tries);
  const patience = { ...endpoint.patience, tries };
  try {
    return await retrying(patience, signal, () => askListing(endpoint, id, revision, signal));
  } catch (error) {
    if (once && error instanceof TransientError) return null;
    throw error;
  }
}

async function askListing(
  endpoint: Endpoint,
  id: string,
  revision: string,
  signal: AbortSignal,
): Promise<Listing> {
  const answer = await endpoint.request(endpoint.listing(id, revision), { signal });
  if (answer.status !== 200) {
    await answer.discard();
    refuse(answer, `${id} at ${shown(revision)}`);
  }
  const text = await answer.text(listingLimitBytes);
  const found = schema.safeParse(parse(text));
  if (!found.success || !isCommit(found.data.sha)) {
    const kind = answer.headers.get("content-type") ?? "no type";
    throw new DownloadError(
      `Cannot fetch ${id}: ${answer.url.host} does not answer as a hub, the commit and files of a model are needed, ${
        shown(text.trimStart())
      } (${kind}) came`,
      200,
    );
  }
  return { commit: found.data.sha, paths: found.data.siblings.map(({ rfilename }) => rfilename) };
}

function parse(text: string): unknown {
  try {
    return parseJson(text, mostListingValues);
  } catch {
    return undefined;
  }
}

/** What a folder needs besides weights, as far as a model has it. */
const textFiles = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "chat_template.jinja",
];

/** Weights in one file, or the index of their shards, in the order in which a folder is read. */
const weightFiles = ["model.safetensors", "pytorch_model.bin"];

/**
 * @param indexOf gives the text of an index; it is only asked for one that is listed
 * @returns the paths that are wanted, each checked to stay in its folder
 * @throws {DownloadError} the model has none of them, or one with a name that no file may have
 */
export async function choosePaths(
  { paths }: Pick<Listing, "paths">,
  { include, exclude, gguf = "" }: Patterns,
  what: string,
  indexOf: (path: string) => Promise<Uint8Array>,
): Promise<string[]> {
  const wanted = include.length > 0
    ? paths.filter((path) => include.some((pattern) => matches(path, pattern)))
    : await neededPaths(paths, gguf, what, indexOf);
  const chosen = wanted.filter((path) => !exclude.some((pattern) => matches(path, pattern)));
  if (chosen.length === 0) {
    throw new DownloadError(`Cannot fetch ${what}: none of its ${paths.length} files is wanted`);
  }
  for (const path of chosen) {
    if (!isSafePath(path)) {
      throw new DownloadError(`Cannot fetch ${what}: ${shown(path)} is no name for a file`);
    }
  }
  return [...new Set(chosen)];
}

async function neededPaths(
  paths: readonly string[],
  gguf: string,
  what: string,
  indexOf: (path: string) => Promise<Uint8Array>,
): Promise<string[]> {
  if (gguf !== "") return [...chooseGguf(paths, gguf, what).paths];
  const listed = new Set(paths);
  const text = textFiles.filter((path) => listed.has(path));
  for (const file of weightFiles) {
    if (listed.has(file)) return [...text, file];
    const index = `${file}.index.json`;
    if (!listed.has(index)) continue;
    if (!isSafePath(index)) continue;
    const shards = shardsOf(await indexOf(index), index, what);
    const missing = shards.find((shard) => !listed.has(shard));
    if (missing !== undefined) {
      throw new DownloadError(`Cannot fetch ${what}: ${index} names ${shown(missing)}, which it lacks`);
    }
    return [...text, index, ...shards];
  }
  if (ggufChoices(paths).length === 0) {
    throw new DownloadError(`Cannot fetch ${what}: it has no weights in safetensors, PyTorch files or GGUF`);
  }
  return [...chooseGguf(paths, gguf, what).paths]; // it has configuration and tokenizer in it
}

function shardsOf(bytes: Uint8Array, index: string, what: string): string[] {
  const shards = new Set<string>();
  try {
    const scanner = new JsonScanner(bytes);
    scanner.object("the index", (key) => {
      if (key !== "weight_map") return scanner.skip(key);
      scanner.object(key, () => void shards.add(scanner.string("a shard")));
    });
    scanner.finish();
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    throw new DownloadError(`Cannot fetch ${what}: ${index} is no index, ${error.message}`);
  }
  return [...shards];
}
