/**
 * The model behind a command: its name, the flags that say how it is loaded, and what is told meanwhile.
 * @module
 */
import process from "node:process";
import type { LanguageModel } from "../language_model.ts";
import { load, type LoadOptions, type Progress } from "../load.ts";
import { type FlagValues, readFlags, wholeNumber } from "./flags.ts";

/** Those that are spelt as the options of `load`. */
const sameNames = {
  backend: "text",
  weights: "text",
  activations: "text",
  "context-length": "count",
  "max-sequences": "count",
  "max-queue": "count",
  "draft-model": "text",
  speculative: "text",
  validation: "text",
  isa: "text",
  library: "text",
} as const;

/** All of them. */
export const modelFlags = {
  ...sameNames,
  model: "text",
  threads: "text",
  "kv-cache": "text",
  "kv-memory": "text",
  "prefix-cache": "text",
  "prefix-cache-bytes": "text",
  "no-prefix-cache": "switch",
  "no-huge-pages": "switch",
  "no-mtp": "switch",
  revision: "text",
  offline: "switch",
} as const;

/** The flags that most will want; the rest are in `moreModelHelp`. */
export const modelHelp = `  --backend NAME         auto (default), cpu or reference
  --weights FORMAT       int8, int4, nf4, …: made while loading; by default what the files have
  --kv-cache TYPE        of the latent cache: f32 (default), bf16, f16, int8
  --kv-memory SIZE       its memory, such as "2 GiB"
  --context-length N     longest prompt and reply in tokens, by default the model's own
  --threads N            threads that compute, by default one for each core`;

export const moreModelHelp =
  `  --speculative KIND     what guesses tokens ahead: mtp, ngram, model; none by default
  --draft-model SOURCE   the smaller model that "model" asks
  --prefix-cache FOLDER  where what was computed of prompts outlives the process; --prefix-cache-bytes SIZE
                         of it at most, 16 GiB by default; --no-prefix-cache keeps nothing, not even in memory
  --activations f32      computes quantised weights exactly
  --validation full      reads every weight and refuses NaN and infinity
  --no-mtp               leaves the layer for multi-token prediction out
  --no-huge-pages        leaves weights in the pages that they are in
  --isa NAME, --library FILE   instruction set and kernel library to use instead of the best
  --revision NAME, --offline   which revision of a hub's model; the cache alone is asked`;

/** What MODEL may be. */
export const sourceHelp =
  `  MODEL                  "minnow", which is embedded; a folder as Hugging Face lays it out; a GGUF file; or a
                         hub's name for a model, which is fetched: deepseek-ai/DeepSeek-V2-Lite-Chat`;

/**
 * Of a command that takes a model and then a text.
 * @returns what `modelOptions` does, and the words that are left for the text
 * @throws {Error} naming the command or the flag
 */
export function modelAndWords(
  command: string,
  values: FlagValues,
  positionals: readonly string[],
): { source: ReturnType<typeof modelOptions>; words: string[] } {
  const words = [...positionals];
  const positional = values.model === undefined ? words.shift() : undefined;
  if (values.model === undefined && positional === undefined) {
    throw new Error(`${command}: no model was given, such as minnow`);
  }
  return { source: modelOptions(values, positional), words };
}

/**
 * @param positional the model as it stands behind the command, if it does
 * @returns source and options for `load`
 * @throws {Error} naming the flag
 */
export function modelOptions(
  values: FlagValues,
  positional: string | undefined,
): { source: string; options: LoadOptions } {
  const named = values.model as string | undefined;
  if (named !== undefined && positional !== undefined) {
    throw new Error(`--model: ${positional} was given as well, one model is needed`);
  }
  const text = (name: string) => values[name] as string | undefined;
  const folder = text("prefix-cache"), maxBytes = text("prefix-cache-bytes");
  if (folder === undefined && maxBytes !== undefined) {
    throw new Error("--prefix-cache-bytes: --prefix-cache is needed");
  }
  if (folder !== undefined && values["no-prefix-cache"]) {
    throw new Error("--no-prefix-cache: --prefix-cache was given as well");
  }
  const threads = text("threads");
  const options = {
    ...readFlags(values, sameNames) as LoadOptions, // words that load refuses by name where they are none of its own
    threads: threads === undefined || threads === "auto"
      ? undefined
      : wholeNumber("threads", threads, 1, 256),
    kvCache: {
      dtype: text("kv-cache") as NonNullable<LoadOptions["kvCache"]>["dtype"],
      memory: text("kv-memory"),
    },
    prefixCache: values["no-prefix-cache"] ? false : folder === undefined ? undefined : { folder, maxBytes },
    hugePages: values["no-huge-pages"] ? false : undefined,
    mtp: values["no-mtp"] ? false : undefined,
    hub: { revision: text("revision"), offline: values.offline as boolean | undefined },
  };
  return { source: named ?? positional ?? "minnow", options };
}

/**
 * Loads it, and tells on standard error how far that is and what was not as wished.
 * @param stop ends the program while it loads
 * @throws what `load` throws
 */
export async function loadModel(
  { source, options }: { source: string; options: LoadOptions },
  stop: AbortSignal,
): Promise<LanguageModel> {
  const leave = () => process.exit(130);
  if (stop.aborted) leave();
  stop.addEventListener("abort", leave);
  try {
    const model = await load(source, { ...options, onProgress: showProgress });
    for (const { backend, reason } of model.info.passedOver) {
      clearLine();
      console.error(`Not on ${backend}: ${reason}`);
    }
    return model;
  } finally {
    stop.removeEventListener("abort", leave);
    clearLine();
  }
}

/** Such as "minnow on cpu (avx2), threads: 2, context: 1024 tokens". */
export function modelLine({ info }: LanguageModel): string {
  const { name, backend, kernels, threads, contextLength } = info;
  return `${name} on ${backend} (${kernels}), threads: ${threads}, context: ${contextLength} tokens`;
}

/** In a terminal a line that is written over; elsewhere only downloads take long enough to speak of them. */
function showProgress({ stage, done, total }: Progress): void {
  if (process.stderr.isTTY) {
    const percent = total > 0 ? Math.floor(100 * done / total) : 100;
    process.stderr.write(`\r\x1b[KLoading ${stage} ${percent} %`);
  } else if (stage === "download" && done === 0) console.error("Downloading the model");
}

function clearLine(): void {
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
}
