/**
 * Which GGUF model of a repository is meant: many hold the same network in a dozen quantisations.
 * @module
 */
import { DownloadError } from "../../errors.ts";
import { shown } from "../../json_scanner.ts";
import { parsePartName, partName } from "../gguf_splits.ts";

/** A model in GGUF: one file, or all parts of it in order. */
export interface GgufChoice {
  /** Path of the file, or of the first part. */
  readonly path: string;
  readonly paths: readonly string[];
}

/** Files that are no networks: tables for quantising, and the eyes of others. */
const noModel = /(?:^|\/)(?:imatrix|mmproj)[^/]*$/i;
/** How quantisations are called: Q4_K_M, UD-IQ2_XXS, BF16. */
const quantisation = /(?:^|[-._/])((?:UD-)?(?:I?Q\d\w*|TQ\d_\d|BF16|F16|F32|FP16|FP32|MXFP4\w*))(?=[-./]|$)/i;
const mostShown = 12;

/** @returns the GGUF models among these paths, in the order of their names */
export function ggufChoices(paths: readonly string[]): GgufChoice[] {
  const first = paths.filter((path) => path.endsWith(".gguf") && !noModel.test(path))
    .filter((path) => (parsePartName(path)?.number ?? 1) === 1);
  return first.sort().map((path) => {
    const part = parsePartName(path);
    const others = part === null ? [] : Array.from(
      // A count that nobody vouches for: more parts than there are files are not named.
      { length: Math.min(part.count, paths.length + 1) - 1 },
      (_, i) => partName({ ...part, number: i + 2 }),
    );
    return { path, paths: [path, ...others] };
  });
}

/**
 * @param wanted the end of a name such as "owner/name:Q4_K_M" or "owner/name/path/to/file.gguf": ":Q4_K_M" or
 *   "/path/to/file.gguf"; empty for the only model that there is
 * @param what is asked, for messages
 * @throws {DownloadError} it has none such, or several; then these are listed
 */
export function chooseGguf(paths: readonly string[], wanted: string, what: string): GgufChoice {
  const choices = ggufChoices(paths);
  const found = choices.filter((choice) => isMeant(choice, wanted));
  if (found.length !== 1) {
    const among = found.length > 1 ? found : choices;
    const names = among.slice(0, mostShown).map((choice) => shown(nameOf(choice, choices)));
    const list = `${names.join(", ")}${among.length > mostShown ? ", …" : ""}`;
    const asked = wanted === "" || found.length > 1 ? "" : `none is ${shown(wanted)}, `;
    throw new DownloadError(
      choices.length === 0
        ? `Cannot fetch ${what}: it has no GGUF file`
        : `Cannot fetch ${what}: it has ${among.length} GGUF models, ${asked}its name with one of these is needed: ${list}`,
    );
  }
  const listed = new Set(paths);
  const missing = found[0].paths.find((path) => !listed.has(path));
  if (missing === undefined) return found[0];
  throw new DownloadError(`Cannot fetch ${what}: ${found[0].path} is in parts, and ${missing} is missing`);
}

function isMeant({ path }: GgufChoice, wanted: string): boolean {
  if (wanted === "") return true;
  if (wanted.startsWith("/")) return `/${path}` === wanted;
  const tag = wanted.slice(1).toLowerCase(), text = path.toLowerCase();
  for (let at = text.indexOf(tag); at >= 0; at = text.indexOf(tag, at + 1)) {
    // A word by itself: Q4_K is not in Q4_K_M, nor Q4_XS in IQ4_XS.
    const before = text[at - 1] ?? "/", after = text[at + tag.length] ?? "/";
    if (/[-._/]/.test(before) && /[-./]/.test(after)) return true;
  }
  return false;
}

/** @returns the shortest end of a name that means this one alone */
function nameOf({ path }: GgufChoice, choices: readonly GgufChoice[]): string {
  const tag = `:${quantisation.exec(path)?.[1] ?? ""}`;
  const isTold = tag !== ":" && choices.filter((other) => isMeant(other, tag)).length === 1;
  return isTold ? tag : `/${path}`;
}
