/**
 * Folders of this package that something other than its modules reads: a C compiler, the kernels' `mmap`. They lie
 * beside the modules, unless these were imported from a server, as from JSR: then they are fetched once.
 * @module
 */
import { pathOf } from "../runtime.ts";
import type { FetchOptions } from "./fetch_folder.ts";
import type { manifest } from "./manifest.ts";

/** The folders, by their path in the package. */
export type PackageFolder = keyof typeof manifest;

/**
 * @returns where the folder is on this machine
 * @throws {DownloadError} it had to be fetched, and could not be; or the signal's reason
 */
export async function packageFolder(name: PackageFolder, options: FetchOptions = {}): Promise<string> {
  const url = new URL(`../../${name}/`, import.meta.url);
  if (url.protocol === "file:") return pathOf(url).replace(/[\\/]$/, "");
  const { fetchFolder } = await import("./fetch_folder.ts");
  const { manifest: files } = await import("./manifest.ts");
  return await fetchFolder(url, files[name], options);
}
