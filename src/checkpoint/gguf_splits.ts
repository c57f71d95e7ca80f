/**
 * Names of GGUF files: one for a model, or parts called NAME-00001-of-00003.gguf in one folder.
 * @module
 */
import { CheckpointError } from "../errors.ts";
import { join, namesIn } from "../runtime.ts";
import { openModelFile, statusOf } from "./file.ts";

/** More parts are no model that anyone has. */
export const mostParts = 10_000;

/** A part's place, as its file name says. */
export interface PartName {
  readonly stem: string;
  /** From 1. */
  readonly number: number;
  readonly count: number;
}

/** @returns null for a file that is a whole model by its name */
export function parsePartName(name: string): PartName | null {
  const [, stem, number, count] = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/.exec(name) ?? [];
  return stem === undefined ? null : { stem, number: Number(number), count: Number(count) };
}

/** @returns the file name of a part */
export function partName({ stem, number, count }: PartName): string {
  const digits = (value: number) => String(value).padStart(5, "0");
  return `${stem}-${digits(number)}-of-${digits(count)}.gguf`;
}

/** Names of weights that count before GGUF: config.json beside them says what they are. */
const otherWeights = /\.(safetensors|bin|pt|pth|ckpt)$/;

/**
 * @param source a file or a folder
 * @returns the GGUF file that holds the model, or begins it; null where the source is something else, or a
 *   folder with weights in another format
 * @throws {CheckpointError} for a folder with several models
 */
export function ggufFileOf(source: string): string | null {
  const status = statusOf(source);
  if (status === null) return null;
  if (!status.isDirectory) return source.endsWith(".gguf") ? source : null;
  const names = namesIn(source).sort();
  if (names.some((name) => otherWeights.test(name))) return null;
  const models = names.filter((name) => name.endsWith(".gguf"))
    .filter((name) => (parsePartName(name)?.number ?? 1) === 1);
  if (models.length === 0) return null;
  if (models.length > 1) {
    const shown = models.length <= 4 ? models : [...models.slice(0, 3), "…"];
    throw new CheckpointError(
      source,
      `it holds ${models.length} GGUF models (${shown.join(", ")}), the path of one of them is needed`,
    );
  }
  openModelFile(source, models[0]).close(); // a link in a folder may not lead out of it; one that a user names may
  return join(source, models[0]);
}
