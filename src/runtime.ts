/**
 * What Deno, Bun and Node do not give alike, and what a missing permission must not break: this file
 * and ffi/open.ts are the only ones that know which runtime they are on. Nothing here makes Deno ask its user,
 * and nothing but the files throws; an answer that may not be had is "not known".
 *
 * Modules of Node take Deno tens of ms to load, in each thread, before a first token: what is needed until then
 * is asked of Deno itself, and `node` loads the rest when it is first used.
 * @module
 */
import { linuxAvailableMemory, linuxCores } from "./machine.ts";

/** The part of Deno's own interface that is used; absent elsewhere. */
interface DenoNamespace {
  readonly version: { readonly deno: string };
  readonly build: {
    readonly standalone: boolean;
    readonly os: "linux" | "darwin" | "windows";
    readonly arch: "x86_64" | "aarch64";
  };
  readonly args: readonly string[];
  readonly env: { get(name: string): string | undefined };
  readonly permissions: { querySync(permission: Record<string, string>): { readonly state: string } };
  cwd(): string;
  uid(): number | null;
  readFileSync(path: string): Uint8Array<ArrayBuffer>;
  readDirSync(path: string): Iterable<{ readonly name: string }>;
  realPathSync(path: string): string;
  statSync(path: string): DenoStatus;
  openSync(path: string): DenoFile;
  upgradeWebSocket(
    request: Request,
    options: { protocol?: string; idleTimeout?: number },
  ): { readonly socket: WebSocket; readonly response: Response };
}
interface DenoStatus {
  readonly isFile: boolean;
  readonly isDirectory: boolean;
  readonly size: number;
  readonly uid: number | null;
  readonly mode: number | null;
}
interface DenoFile {
  seekSync(offset: number, whence: 0): number;
  readSync(into: Uint8Array): number | null;
  statSync(): DenoStatus;
  close(): void;
}
const deno = (globalThis as unknown as { Deno?: DenoNamespace }).Deno;

/** Modules of Node, each loaded when it is first used. */
export const node = {
  get crypto() {
    return process.getBuiltinModule("node:crypto");
  },
  get fs() {
    return process.getBuiltinModule("node:fs");
  },
  get os() {
    return process.getBuiltinModule("node:os");
  },
  get path() {
    return process.getBuiltinModule("node:path");
  },
};

/** Which runtime this is, for messages and reports. */
export const runtime: { readonly name: "deno" | "bun" | "node"; readonly version: string } = deno
  ? { name: "deno", version: deno.version.deno }
  : process.versions.bun
  ? { name: "bun", version: process.versions.bun }
  : { name: "node", version: process.versions.node };

/** This system, and its processor, in Node's words. */
export const platform: string = deno === undefined
  ? process.platform
  : deno.build.os === "windows"
  ? "win32"
  : deno.build.os;
export const architecture: string = deno === undefined
  ? process.arch
  : { x86_64: "x64", aarch64: "arm64" }[deno.build.arch];

/** @returns what is wrong with this runtime, or null: older ones lack methods that are used everywhere */
export function runtimeProblem(): string | null {
  if ("toBase64" in Uint8Array.prototype) return null;
  return `${runtime.name} ${runtime.version} found, Deno, Bun, or Node from 25 on needed`;
}

/** @returns the variable's value; undefined also when Deno may not read it */
export function environment(name: string): string | undefined {
  if (deno === undefined) return process.env[name];
  return granted({ name: "env", variable: name }) ? deno.env.get(name) : undefined;
}

/** @returns the words after the program's name */
export function commandLine(): string[] {
  return deno === undefined ? process.argv.slice(2) : [...deno.args];
}

/** @returns the folder that relative paths start from */
export function workingFolder(): string {
  return deno === undefined ? process.cwd() : deno.cwd();
}

/** @returns the number of the user whose program this is; null where users have none, or when not known */
export function userId(): number | null {
  if (deno === undefined) return process.getuid?.() ?? null;
  return granted({ name: "sys", kind: "uid" }) ? deno.uid() : null;
}

/**
 * @param nWords of this command line to leave out, from its end
 * @returns program and words that start this program again
 */
export function ownCommand(nWords: number): string[] {
  const words = process.argv.slice(2, process.argv.length - nWords);
  // A program that was compiled into one file is its own runtime.
  const isCompiled = deno?.build.standalone === true || /^(\/\$bunfs|B:[\\/]~BUN)/.test(process.argv[1]);
  const script = isCompiled ? [] : [...(deno ? ["run", "-A"] : []), process.argv[1]];
  return [process.execPath, ...script, ...words];
}

/**
 * Answers the handshake of a WebSocket where the server of the runtime lets a handler do that alone.
 * @param protocol that is agreed on, or null
 * @returns null elsewhere, and for a request that did not come from such a server
 */
export function upgradeWebSocket(
  request: Request,
  protocol: string | null,
): { readonly socket: WebSocket; readonly response: Response } | null {
  if (deno === undefined) return null;
  try {
    return deno.upgradeWebSocket(request, { idleTimeout: 30, ...(protocol === null ? {} : { protocol }) });
  } catch {
    return null;
  }
}

/** @returns the folder of the user, or null when not known */
export function homeDirectory(): string | null {
  const home = environment(platform === "win32" ? "USERPROFILE" : "HOME");
  return home !== undefined && isAbsolute(home) ? home : null;
}

/**
 * @returns the folder for hadal's own files, where the platform wants such things; it need not exist.
 *   Null when no home is known: a shared folder such as /tmp is no place for code that will be run.
 */
export function cacheDirectory(): string | null {
  const home = homeDirectory();
  const candidates = [environment("XDG_CACHE_HOME")];
  if (platform === "win32") candidates.push(environment("LOCALAPPDATA"));
  else if (home && platform === "darwin") candidates.push(join(join(home, "Library"), "Caches"));
  else if (home) candidates.push(join(home, ".cache"));
  const base = candidates.find((path) => path !== undefined && isAbsolute(path));
  return base === undefined ? null : join(base, "hadal");
}

/** @returns bytes that this process can still take (control groups included), or null when not known */
export function availableMemory(): number | null {
  const linux = platform === "linux" ? linuxAvailableMemory(readQuietly) : undefined;
  if (linux !== undefined) return linux;
  return granted({ name: "sys", kind: "systemMemoryInfo" }) ? node.os.freemem() : null;
}

/** @returns threads that pay: physical cores within this process's affinity and quota, at least 1 */
export function coreCount(): number {
  const linux = platform === "linux" ? linuxCores(readQuietly) : undefined;
  return linux ?? Math.max(1, node.os.availableParallelism());
}

/** @returns bytes that can be written to the disk of a folder that exists, or null when not known */
export function freeDiskBytes(folder: string): number | null {
  if (!granted({ name: "sys", kind: "statfs" })) return null;
  try {
    const { bavail, bsize, blocks } = node.fs.statfsSync(folder);
    return blocks > 0 ? bavail * bsize : null; // file systems without blocks of their own say 0 of everything
  } catch {
    return null;
  }
}

/** @returns the name of this machine, "" when not known */
export function machineName(): string {
  return granted({ name: "sys", kind: "hostname" }) ? node.os.hostname() : "";
}

/** @returns whether a process of this machine lives; true where that may not be asked */
export function isAlive(pid: number): boolean {
  if (!granted({ name: "run" })) return true;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as { code?: string }).code !== "ESRCH"; // another user's lives, too
  }
}

/** Deno asks its user when an access is not decided: so it is asked first whether it is. */
export function granted(permission: Record<string, string>): boolean {
  return deno === undefined || deno.permissions.querySync(permission).state === "granted";
}

function readQuietly(path: string): string | undefined {
  try {
    return granted({ name: "read", path }) ? new TextDecoder().decode(readWhole(path)).trim() : undefined;
  } catch {
    return undefined;
  }
}

/** What is at a path, links followed. */
export interface FileStatus {
  readonly isFile: boolean;
  readonly isDirectory: boolean;
  readonly sizeBytes: number;
  /** Whose it is and who may do what with it; null where files have no such thing. */
  readonly uid: number | null;
  readonly mode: number | null;
}

/** A file that is open for reading. */
export interface OpenFile {
  readonly sizeBytes: number;
  /** Reads from `offset` on. @returns how many bytes, 0 at the end */
  readInto(bytes: Uint8Array, offset: number): number;
  close(): void;
}

/** @throws {Error} with the system's `code`, such as ENOENT; so do all that follow */
export function statusAt(path: string): FileStatus {
  if (deno !== undefined) return ofDeno(deno.statSync(path));
  const status = node.fs.statSync(path);
  const { size, uid, mode } = status;
  const isWindows = platform === "win32";
  return {
    isFile: status.isFile(),
    isDirectory: status.isDirectory(),
    sizeBytes: size,
    uid: isWindows ? null : uid,
    mode: isWindows ? null : mode,
  };
}

function ofDeno({ isFile, isDirectory, size, uid, mode }: DenoStatus): FileStatus {
  return { isFile, isDirectory, sizeBytes: size, uid, mode };
}

/** @returns whether there is something at a path that may be looked at */
export function exists(path: string): boolean {
  try {
    statusAt(path);
    return true;
  } catch {
    return false;
  }
}

/** @returns the names of what a folder holds, in no order */
export function namesIn(folder: string): string[] {
  return deno === undefined
    ? node.fs.readdirSync(folder)
    : Array.from(deno.readDirSync(folder), ({ name }) => name);
}

/** @returns the path without links */
export function realPath(path: string): string {
  return deno === undefined ? node.fs.realpathSync(path) : deno.realPathSync(path);
}

/** @returns the content of a file */
export function readWhole(path: string): Uint8Array<ArrayBuffer> {
  return deno === undefined ? node.fs.readFileSync(path) : deno.readFileSync(path);
}

/** Opens a file for reading: to open a named pipe is to wait for its other end, for ever. */
export function openFile(path: string): OpenFile {
  if (deno !== undefined) {
    const file = deno.openSync(path);
    return {
      sizeBytes: file.statSync().size,
      readInto(bytes, offset) {
        file.seekSync(offset, 0);
        return file.readSync(bytes) ?? 0;
      },
      close: () => file.close(),
    };
  }
  const { closeSync, fstatSync, openSync, readSync } = node.fs;
  const descriptor = openSync(path, "r");
  return {
    sizeBytes: fstatSync(descriptor).size,
    readInto: (bytes, offset) => readSync(descriptor, bytes, 0, bytes.length, offset),
    close: () => closeSync(descriptor),
  };
}

/** Whether nothing in a path has to be worked out: then its parts can be put together as they are. */
function isPlain(path: string): boolean {
  return platform !== "win32" && !/(?:^|\/)\.{0,2}(?:\/|$)/.test(path.replace(/^\//, ""));
}

/** `join`, `resolve`, `basename` and `isAbsolute` of `node:path`, which is loaded for paths that are not plain. */
export function join(folder: string, name: string): string {
  const arePlain = isPlain(folder) && isPlain(name) && !name.startsWith("/");
  return arePlain ? `${folder}/${name}` : node.path.join(folder, name);
}

export function resolve(path: string): string {
  if (!isPlain(path)) return node.path.resolve(path);
  return path.startsWith("/") ? path : join(workingFolder(), path);
}

export function basename(path: string): string {
  return isPlain(path) ? path.slice(path.lastIndexOf("/") + 1) : node.path.basename(path);
}

export function isAbsolute(path: string): boolean {
  return platform === "win32" ? node.path.isAbsolute(path) : path.startsWith("/");
}

/** @returns whether a path is below a folder, or the folder itself; both without links */
export function isWithin(folder: string, path: string): boolean {
  if (isPlain(folder) && isPlain(path)) return path === folder || path.startsWith(`${folder}/`);
  const { relative, sep } = node.path;
  const between = relative(folder, path);
  return !isAbsolute(between) && between.split(sep)[0] !== "..";
}

/** @param url of a file */
export function pathOf(url: URL): string {
  return platform === "win32" || url.pathname.includes("%")
    ? process.getBuiltinModule("node:url").fileURLToPath(url)
    : url.pathname;
}
