/**
 * Finds the kernel library: the one that the user names, else the one in the cache folder, else it is
 * built there. Its ABI version and the hash of its sources are asked for before any other call.
 * @module
 */
import { DeviceError } from "../src/errors.ts";
import { architecture, exists, join, namesIn, node, platform, userId } from "../src/runtime.ts";
import { removeAbandoned } from "../src/unfinished.ts";
import { isNotPermitted, type Library, needCalls, openLibrary } from "./open.ts";
import { readSources, type Sources } from "./sources.ts";
import { abiVersion, handshakeSymbols, results, symbols } from "./symbols.ts";

/** A library of kernels/ops.h that has passed the handshake. */
export type KernelLibrary = Library<typeof symbols>;

/** Where to look for the library. */
export interface LibraryOptions {
  /** A library to use instead of building one, or null. */
  readonly path?: string | null;
  /** Folder for built libraries, or null for a private one among the temporary files. */
  readonly cacheFolder?: string | null;
  /** C compiler to try first, as in $CC, or null. */
  readonly compiler?: string | null;
  /** Told one sentence before a build; null for standard error. */
  readonly progress?: ((sentence: string) => void) | null;
}

/** The library by its name; where the processor's features could not be read, any of these sources. */
function existingIn(folder: string, name: string, { hash, sets, recipe }: Sources): string | null {
  if (exists(join(folder, name))) return join(folder, name);
  if (sets.length < (recipe.isa[architecture] ?? []).length || !exists(folder)) return null;
  const ofThese = `cpu-${hash.slice(0, 32)}-${platform}-${architecture}-`;
  const suffix = name.slice(name.lastIndexOf("."));
  const found = namesIn(folder).find((each) => each.startsWith(ofThese) && each.endsWith(suffix));
  return found === undefined ? null : join(folder, found);
}

/**
 * @param sources what the library must be made of
 * @returns the library, open and checked
 * @throws {DeviceError} with the reason and what to do about it
 */
export async function findLibrary(
  options: LibraryOptions = {},
  sources?: Sources,
): Promise<KernelLibrary> {
  sources ??= await readSources();
  if (options.path) return openKernels(options.path, sources.hash);
  const compiler = options.compiler ?? null;
  const sets = sources.sets.map(({ name }) => name);
  const key = [sources.hash.slice(0, 32), platform, architecture, ...sets].join("-");
  const suffix = platform === "win32" ? "dll" : platform === "darwin" ? "dylib" : "so";
  const name = `cpu-${key}.${suffix}`;
  const progress = options.progress ?? ((sentence: string) => console.error(sentence));
  const wanted = options.cacheFolder ?? privateTemporaryFolder();
  removeAbandoned(wanted, (each) => each.startsWith("cpu-"));
  const cached = existingIn(wanted, name, sources) ?? join(wanted, name);
  if (exists(cached)) {
    try {
      return await openKernels(cached, sources.hash);
    } catch (error) {
      if (isNotPermitted(error)) throw error;
      // Another system that shares this home may have left it: build over it.
    }
  }
  const path = join(writableFolder(wanted), name);
  if (path === cached || !exists(path)) {
    needCalls(); // before a minute of compiling
    const { buildLibrary } = await import("./build.ts");
    await buildLibrary(sources, path, compiler, progress);
  }
  return openKernels(path, sources.hash);
}

/**
 * Opens a library and shakes hands.
 * @param hash SHA-256 (hex) of the sources that it must have been built from
 * @throws {DeviceError} not a kernel library, or one of another version or other sources
 */
export async function openKernels(path: string, hash: string): Promise<KernelLibrary> {
  // Only these two at first: another version may lack, or mean something else by, any of the rest.
  const handshake = await openLibrary(path, handshakeSymbols);
  try {
    const version = handshake.calls.abi_version();
    if (version !== abiVersion) {
      throw new DeviceError(`Cannot use ${path}: its ABI version is ${version}, ${abiVersion} is needed`);
    }
    const text = new Uint8Array(64);
    const length = handshake.calls.build_hash(text, text.length);
    const found = new TextDecoder().decode(text.subarray(0, Math.max(0, Math.min(length, text.length))));
    if (found !== hash) {
      throw new DeviceError(`Cannot use ${path}: built from sources ${found}, ${hash} is needed`);
    }
    return await openLibrary(path, symbols, results);
  } finally {
    handshake.close();
  }
}

/**
 * @returns the folder, made if need be, or a private temporary one where it cannot be written
 * @throws {DeviceError} no folder can be written
 */
export function writableFolder(folder: string): string {
  const { accessSync, constants, mkdirSync } = node.fs;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    accessSync(folder, constants.W_OK);
    return folder;
  } catch {
    return privateTemporaryFolder();
  }
}

/**
 * The same folder each time, so that a second start finds what is kept, unless someone else made it.
 * @throws {DeviceError} no folder can be written
 */
export function privateTemporaryFolder(): string {
  const { lstatSync, mkdirSync, mkdtempSync } = node.fs;
  const { tmpdir } = node.os;
  const owner = userId() ?? 0;
  const folder = join(tmpdir(), `hadal-${owner}`);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const found = lstatSync(folder);
    // Code is loaded from here: a folder that others may write to is not taken.
    if (
      platform === "win32" ||
      (found.isDirectory() && found.uid === owner && (found.mode & 0o077) === 0)
    ) {
      return folder;
    }
  } catch {
    // Made by someone else, or not at all.
  }
  try {
    return mkdtempSync(join(tmpdir(), "hadal-")); // 0700 by itself
  } catch (error) {
    throw new DeviceError(
      `Cannot keep the CPU kernels: no folder can be written (${(error as Error).message}); ` +
        "set HADAL_CPU_LIBRARY to a built library",
      { cause: error },
    );
  }
}
