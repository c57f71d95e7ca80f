/**
 * `hadal quantize`: writes a checkpoint in another weight format.
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import type { Backend } from "../backend/backend.ts";
import { openBackend } from "../backend/open.ts";
import { folderOf } from "../load.ts";
import { keepable, type KeepablePart, type TargetFormat } from "../model/quantized_tensors.ts";
import { quantize, type QuantizeResult } from "../quantize.ts";
import { environment } from "../runtime.ts";
import { packedGroup } from "../tensor/packed_format.ts";
import { downloadLine, progressLine } from "./progress_line.ts";
import { stopSignal } from "./stop_signal.ts";

const help = `Writes a model in another weight format, made once, so that it loads without repacking

  hadal quantize SOURCE OUT --format FORMAT [--asymmetric] [--keep PART,PART] [--threads N]

  SOURCE           a folder with config.json and weights (safetensors, PyTorch files; also of GPTQ, AWQ,
                   compressed-tensors, bitsandbytes), a GGUF file, a hub's name for a model, or "minnow"
  OUT              folder to make; there must be none of that name
  --format NAME    int8   8.5 bits a weight
                   int4   4.5 bits a weight; 5 with --asymmetric, and nearer to the source
                   nf4    4.5 bits a weight, levels for normally distributed weights
                   int3   3.5 bits a weight
                   fp8    8 bits, a factor for each 128x128: the layout of DeepSeek's own files
                   bf16   16 bits, a plain checkpoint
                   (the first four are hadal's own layout; other programs read the last two as well)
  --asymmetric     int4 with a minimum for each group
  --group N        weights that share a scale: ${packedGroup}, which the layout is made for
  --keep PARTS     parts that keep their stored type: ${Object.keys(keepable).join(", ")}
                   (router, norms, biases and embedding always do)
  --threads N      threads of the CPU kernels, by default one for each core
  --help           this text`;

/** Always kept, and taken by --keep all the same. */
const alwaysKept = ["router", "norms", "biases", "embedding"];
const formats: readonly string[] = ["int8", "int4", "nf4", "int3", "fp8", "bf16"];
/** What int4 --asymmetric is called where formats have one word each. */
const asymmetricName = "int4a";

/** @throws {Error} in one sentence, why it cannot be done */
export async function runQuantize(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      format: { type: "string" },
      asymmetric: { type: "boolean" },
      group: { type: "string" },
      keep: { type: "string" },
      threads: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) return console.log(help);
  if (positionals.length !== 2) {
    const given = positionals.length === 1 ? "1 folder was" : `${positionals.length} folders were`;
    throw new Error(`quantize: ${given} given, SOURCE and OUT are needed`);
  }
  const [source, out] = positionals;
  const format = formatOf(values.format, values.asymmetric === true);
  const keep = partsOf(values.keep);
  const threads = threadsOf(values.threads);
  checkGroup(values.group);

  const stop = stopSignal();
  const { packer, words } = await openPacker(threads);
  const onProgress = progressLine();
  let isBegun = false; // what is refused is refused without further words
  try {
    const folder = await folderOf(source, { signal: stop, onProgress: downloadLine(onProgress) });
    const result = await quantize(folder, out, {
      format,
      keep,
      packer,
      signal: stop,
      onProgress({ layersDone, layers, doneBytes, totalBytes }) {
        if (!isBegun) console.error(words);
        isBegun = true;
        onProgress({ what: "layers", nDone: layersDone, n: layers, doneBytes, totalBytes });
      },
    });
    onProgress(null);
    console.log(`${out} is ready: ${summary(result)}`);
  } catch (error) {
    onProgress(null);
    if (!stop.aborted) throw error;
    console.error(`Stopped: ${out} was not made`);
    process.exitCode = 130;
  } finally {
    packer.close();
  }
}

/** @returns who packs, and how to say so: all make the same bytes, the kernels some hundred times faster */
async function openPacker(threads: number | "auto"): Promise<{ packer: Backend; words: string }> {
  const { backend, passedOver } = await openBackend({
    backend: "auto",
    isa: environment("HADAL_CPU_ISA") ?? null,
    library: environment("HADAL_CPU_LIBRARY") ?? null,
    threads,
    exact: true,
    arenaBytes: 1 << 20,
    build: { compiler: environment("CC") ?? null },
  });
  const { name, kernels, threads: used } = backend.info;
  const reasons = passedOver.map(({ reason }) => `; ${reason}`).join("");
  const words = name === "cpu"
    ? `Packing with the CPU kernels (${kernels}, ${used} ${used === 1 ? "thread" : "threads"})`
    : `Packing in plain TypeScript, which takes its time${reasons}`;
  return { packer: backend, words };
}

function formatOf(name: string | undefined, isAsymmetric: boolean): TargetFormat {
  if (name === asymmetricName) return name;
  if (name === undefined || !formats.includes(name)) {
    throw new Error(`--format: ${name ?? "nothing"} was given, one of ${formats.join(", ")} is needed`);
  }
  if (isAsymmetric && name !== "int4") throw new Error(`--asymmetric: ${name} has no such kind, int4 has`);
  return isAsymmetric ? asymmetricName : name as TargetFormat;
}

function checkGroup(text: string | undefined): void {
  if (text === undefined || text === String(packedGroup)) return;
  throw new Error(`--group: ${text} was given, the layout's groups are of ${packedGroup}`);
}

function threadsOf(text: string | undefined): number | "auto" {
  if (text === undefined || text === "auto") return "auto";
  if (/^[1-9]\d{0,2}$/.test(text) && Number(text) <= 256) return Number(text);
  throw new Error(`--threads: ${text} was given, a whole number from 1 to 256 is needed`);
}

function partsOf(list: string | undefined): KeepablePart[] {
  const parts = list?.split(",").map((part) => part.trim()).filter((part) => !alwaysKept.includes(part)) ??
    [];
  for (const part of parts) {
    if (!Object.hasOwn(keepable, part)) {
      const known = [...Object.keys(keepable), ...alwaysKept].join(", ");
      throw new Error(`--keep: "${part}" was given, the parts are ${known}`);
    }
  }
  return parts as KeepablePart[];
}

function summary({ sourceBytes, bytes }: QuantizeResult): string {
  const [before, now] = [sourceBytes, bytes].map((size) =>
    size < 1e9 ? `${(size / 1e6).toFixed(1)} MB` : `${(size / 1e9).toFixed(2)} GB`
  );
  return `${before} of weights became ${now}, ${Math.round(100 * bytes / sourceBytes)} %`;
}
