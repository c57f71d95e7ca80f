/**
 * A model on disk for a Worker that has just begun: readers of what other programs wrote are imported only
 * where a model needs one. They are a quarter of what there is to import.
 * @module
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { ggufFileOf } from "../checkpoint/gguf_splits.ts";
import { holdsSafetensors, lookInto, openSafetensors } from "../checkpoint/safetensors_folder.ts";
import type { OpenModelOptions } from "./open_model.ts";

/** Methods of quantization_config whose matrices lie in the files under the network's names. */
const plainMethods: readonly unknown[] = [undefined, "fp8", "hadal"];

/** As `openModel`. @throws {CheckpointError | UnsupportedError} naming the file at fault */
export async function openLazily(source: string, options: OpenModelOptions): Promise<Checkpoint> {
  const folder = ggufFileOf(source) === null ? lookInto(source) : null;
  if (folder !== null && holdsSafetensors(folder) && plainMethods.includes(methodOf(folder.config))) {
    const { validation, onProgress, widens = false } = options;
    return { ...openSafetensors(folder, validation, onProgress), widens };
  }
  const { openModel } = await import("./open_model.ts");
  return openModel(source, options);
}

function methodOf(config: unknown): unknown {
  const { quantization_config } = config as { quantization_config?: { quant_method?: unknown } | null } ?? {};
  return quantization_config?.quant_method;
}
