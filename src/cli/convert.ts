/**
 * `hadal convert`: writes a model in another file format.
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { convert } from "../convert.ts";
import { folderOf } from "../load.ts";
import type { GgufMatrixType } from "../model/gguf_export.ts";
import { downloadLine, progressLine } from "./progress_line.ts";
import { stopSignal } from "./stop_signal.ts";

const help = `Writes a model in another file format, GGUF or safetensors

  hadal convert SOURCE OUT [--type TYPE]

  SOURCE           a folder with config.json and weights, a GGUF file, a hub's name for a model, or "minnow"
  OUT              NAME.gguf, or a folder of safetensors to make; there must be none of that name
  --type TYPE      numbers of the matrices: auto, f32, bf16 or f16
                   (auto keeps these three, and makes bf16 of fp8 and of other programs' formats;
                   vectors and routers stay as exact as they are)
  --help           this text`;

const types: ReadonlyMap<string, GgufMatrixType> = new Map<string, GgufMatrixType>([
  ["auto", "auto"],
  ["f32", "F32"],
  ["bf16", "BF16"],
  ["f16", "F16"],
]);

/** @throws {Error} in one sentence, why it cannot be done */
export async function runConvert(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { type: { type: "string", default: "auto" }, help: { type: "boolean", short: "h" } },
  });
  if (values.help) return console.log(help);
  if (positionals.length !== 2) {
    throw new Error(`convert: ${positionals.length} paths were given, SOURCE and OUT are needed`);
  }
  const type = types.get(values.type);
  if (type === undefined) {
    throw new Error(`--type: ${values.type} was given, one of ${[...types.keys()].join(", ")} is needed`);
  }
  const [named, out] = positionals;
  const stop = stopSignal();
  const show = progressLine();
  const start = { what: "files", n: 1 };
  try {
    const source = await folderOf(named, { signal: stop, onProgress: downloadLine(show) });
    await convert(source, out, {
      type,
      signal: stop,
      onProgress: (doneBytes, totalBytes) =>
        show({ ...start, nDone: doneBytes === totalBytes ? 1 : 0, doneBytes, totalBytes }),
    });
  } catch (error) {
    show(null);
    if (!stop.aborted) throw error;
    console.error(`Stopped: ${out} was not made`);
    process.exit(130);
  }
  show(null);
  console.log(`${out} is ready`);
}
