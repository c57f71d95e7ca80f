/**
 * Names that come from a user or a server and become part of a URL or of a path: each is held against
 * an exact form here, so that no name leads out of the cache.
 * @module
 */
import { shown } from "../../json_scanner.ts";

/** A model of a hub: two words of letters, digits, "-", "_" and "."; "--" would be ambiguous in the cache. */
const modelId = /^(?!.*(?:--|\.\.))[A-Za-z0-9_][\w.-]{0,95}\/[A-Za-z0-9_][\w.-]{0,95}$/;

/** @returns whether a source may be a hub's model, "organisation/name" */
export function isModelId(source: string): boolean {
  return modelId.test(source) && !/[.-](?:$|\/)|\.git$/.test(source);
}

/** @throws {TypeError} */
export function checkModelId(id: string): void {
  if (!isModelId(id)) {
    throw new TypeError(
      `Cannot use the model ${shown(id)}: a name such as deepseek-ai/DeepSeek-V2-Lite is needed`,
    );
  }
}

/** A model as a user names it: one of a hub, or one of the GGUF models that it has. */
export interface HubSource {
  readonly id: string;
  /** ":Q4_K_M", "/path/to/file.gguf", or nothing. */
  readonly gguf: string;
}

/** @returns "owner/name", "owner/name:Q4_K_M" or "owner/name/path/file.gguf" in its parts, or null */
export function parseHubSource(source: string): HubSource | null {
  const [, id, gguf = ""] = /^([^/:]+\/[^/:]+)(:[\w.-]{1,96}|\/.+\.gguf)?$/.exec(source) ?? [];
  if (id === undefined || !isModelId(id)) return null;
  return gguf.startsWith("/") && !isSafePath(gguf.slice(1)) ? null : { id, gguf };
}

/** A commit, as Git writes it. */
export function isCommit(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text);
}

/** A branch, tag, commit or "refs/pr/1". @throws {TypeError} */
export function checkRevision(revision: string): void {
  if (!isSafePath(revision)) {
    throw new TypeError(`Cannot use the revision ${shown(revision)}: a branch, tag or commit is needed`);
  }
}

/**
 * The name of a blob: the SHA-256 of a large file, or the SHA-1 that Git gives a small one.
 * @param etag an ETag header, weak or not
 * @returns null for any other etag: it would be a path of the server's choice, and nothing to verify
 */
export function blobNameOf(etag: string): string | null {
  const [, name] = /^(?:W\/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?$/.exec(etag) ?? [];
  return name ?? null;
}

/** Names that Windows gives to devices, whatever the extension. */
const device = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i;

/** @returns whether a path of a repository stays below the folder that it is joined to, on every platform */
export function isSafePath(path: string): boolean {
  const parts = path.split("/");
  return path.length <= 1024 && parts.every((part) =>
    // deno-lint-ignore no-control-regex
    part.length <= 255 && !/^\.{0,2}$|[\\:*?"<>|\x00-\x1f\x7f]|[. ]$/.test(part) && !device.test(part)
  );
}

/**
 * @param pattern "*" stands for any characters, "?" for one; a pattern without "/" is tried on the last
 *   part of a path too
 * @returns whether a path matches, in time linear in both
 */
export function matches(path: string, pattern: string): boolean {
  return matchesWhole(path, pattern) ||
    (!pattern.includes("/") && matchesWhole(path.slice(path.lastIndexOf("/") + 1), pattern));
}

function matchesWhole(text: string, pattern: string): boolean {
  let at = 0, in_ = 0, star = -1, starAt = 0;
  while (at < text.length) {
    if (pattern[in_] === "*") [star, starAt] = [in_++, at];
    else if (pattern[in_] === "?" || pattern[in_] === text[at]) [at, in_] = [at + 1, in_ + 1];
    else if (star >= 0) [at, in_] = [++starAt, star + 1];
    else return false;
  }
  while (pattern[in_] === "*") in_++;
  return in_ === pattern.length;
}
