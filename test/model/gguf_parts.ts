/**
 * Models in GGUF for tests: whole, or in parts as llama.cpp's tools cut them.
 * @module
 */
import { rmSync, statSync } from "node:fs";
import { join } from "node:path";
import type { GgufValue } from "../../src/checkpoint/gguf_metadata.ts";
import { openGguf } from "../../src/checkpoint/gguf.ts";
import { writeGguf } from "../../src/checkpoint/write_gguf.ts";
import { convert } from "../../src/convert.ts";
import { parseConfig } from "../../src/model/config.ts";
import { planGgufTensors } from "../../src/model/gguf_export.ts";
import { openModel } from "../../src/model/open_model.ts";

/**
 * Writes a folder's model as GGUF with some keys changed, whole or in parts.
 * @param stem of the files' names
 * @returns bytes before the weights
 */
export async function writeGgufModel(
  model: string,
  place: string,
  stem: string,
  changes: ReadonlyMap<string, GgufValue>,
  parts = 1,
): Promise<number> {
  const plain = join(place, "plain.gguf");
  await convert(model, plain);
  const { metadata, close } = openGguf(plain);
  close();
  rmSync(plain);
  const checkpoint = openModel(model);
  let headerBytes = 0;
  try {
    const tensors = planGgufTensors(checkpoint, parseConfig(checkpoint.config, model), "auto");
    const share = Math.ceil(tensors.length / parts);
    for (let part = 0; part < parts; part++) {
      const number = (value: number): GgufValue => ({ type: "u16", value });
      const split: [string, GgufValue][] = [["split.no", number(part)], ["split.count", number(parts)]];
      const keys = new Map<string, GgufValue>([
        ...(part === 0 ? [...metadata, ...changes] : []),
        ...(parts > 1 ? split : []),
      ]);
      const [i, n] = [part + 1, parts].map((value) => String(value).padStart(5, "0"));
      const path = join(place, parts === 1 ? `${stem}.gguf` : `${stem}-${i}-of-${n}.gguf`);
      let weights = 0;
      const own = tensors.slice(part * share, (part + 1) * share);
      await writeGguf(path, keys, own, (bytes) => weights += bytes);
      headerBytes += statSync(path).size - weights;
    }
  } finally {
    checkpoint.close();
  }
  return headerBytes;
}
