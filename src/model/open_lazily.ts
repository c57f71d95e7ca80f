/**
 * A model on disk for a Worker that has just begun: readers of what other programs wrote are imported only
 * where a model needs one. They are a quarter of what there is to import.
 * @module
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { readModelJson } from "../checkpoint/file.ts";
import { ggufFileOf } from "../checkpoint/gguf_splits.ts";
import { openCheckpoint } from "../checkpoint/open.ts";
import type { OpenModelOptions } from "./open_model.ts";

/** Methods of quantization_config whose matrices lie in the files under the network's names. */
const plainMethods: readonly unknown[] = [undefined, "fp8", "hadal"];

/** As `openModel`. @throws {CheckpointError | UnsupportedError} naming the file at fault */
export async function openLazily(source: string, options: OpenModelOptions): Promise<Checkpoint> {
  if (ggufFileOf(source) === null && plainMethods.includes(methodOf(source))) {
    const { validation, onProgress, widens = false } = options;
    return { ...openCheckpoint(source, validation, onProgress), widens };
  }
  const { openModel } = await import("./open_model.ts");
  return openModel(source, options);
}

function methodOf(folder: string): unknown {
  const config = readModelJson(folder, "config.json") as { quantization_config?: unknown } | null | undefined;
  return (config?.quantization_config as { quant_method?: unknown } | null | undefined)?.quant_method;
}
