/**
 * A model folder whoever wrote its weights: safetensors, or in older ones files of PyTorch.
 * @module
 */
import type { Checkpoint, Validation } from "./checkpoint.ts";
import { openTorch, torchFileOf } from "./pickle/open.ts";
import { holdsSafetensors, lookInto, openSafetensors } from "./safetensors_folder.ts";

/**
 * Opens a model folder: reads config.json and the headers of all shards.
 * @param validation "basic" checks every rule of the file format, "none" only what keeps reads inside
 *   their file, "full" also reads every value and refuses NaN and infinity
 * @param onProgress called with the bytes that "full" has read and will read
 * @throws {CheckpointError} naming the file at fault
 */
export function openCheckpoint(
  folder: string,
  validation: Validation = "basic",
  onProgress: (doneBytes: number, totalBytes: number) => void = () => {},
): Checkpoint {
  const found = lookInto(folder);
  const torchFile = holdsSafetensors(found) ? null : torchFileOf(folder, found.names);
  return torchFile === null
    ? openSafetensors(found, validation, onProgress)
    : openTorch(folder, torchFile, found.config, validation, onProgress);
}
