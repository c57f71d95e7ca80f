/**
 * Puts the parts together: a name or a folder of weights becomes a LanguageModel. Of the
 * environment `HADAL_CPU_ISA` and `HADAL_CPU_LIBRARY` stand in for the options here, and `CC` names the compiler
 * where the library must be built; the hub's variables are read in `hub_settings.ts`.
 * @module
 */
import { type HubSource, parseHubSource } from "./checkpoint/hub/names.ts";
import { readModelJson, statusOf } from "./checkpoint/file.ts";
import { EngineClient } from "./engine/client.ts";
import { checkPath } from "./engine/option_checks.ts";
import { type DraftKind, openDefaults, type OpenOptions } from "./engine/protocol.ts";
import {
  draftModelOf,
  isSpeculation,
  resolveSpeculation,
  type SpeculationOption,
} from "./engine/speculation_option.ts";
import { CheckpointError, UnsupportedError } from "./errors.ts";
import type { HubOptions } from "./hub_settings.ts";
import type { LanguageModel } from "./language_model.ts";
import type { ModelText } from "./model_text.ts";
import { parseGenerationConfig } from "./model/generation_config.ts";
import {
  type Check,
  checkOptions,
  either,
  exactly,
  list,
  oneOf,
  onlyThese,
  text as word,
  truth,
  where,
  whole,
} from "./model/json_check.ts";
import { packageFolder } from "./package/folder.ts";
import { basename, cacheDirectory, environment, join, resolve, runtimeProblem } from "./runtime.ts";
import type { Tokenizer } from "./text/tokenizer.ts";

/** Options of {@linkcode load}; each has a default that fits most uses. */
export interface LoadOptions {
  /** Who computes; "auto" takes the fastest that opens. */
  readonly backend?: "auto" | "reference" | "cpu";
  /**
   * "auto" keeps the format of the files; any other repacks the matrices while they are loaded, where
   * they are not in it. The embedding, the router and the norms stay as they are stored.
   */
  readonly weights?: "auto" | "f32" | "bf16" | "f16" | "fp8" | "int8" | "int4" | "int4a" | "int3" | "nf4";
  /** "f32" computes quantised weights exactly; "auto" may round activations to int8. */
  readonly activations?: "auto" | "f32";
  /** The latent cache: its number type, and its memory in bytes or as words, such as "2 GiB". */
  readonly kvCache?: { readonly dtype?: "f32" | "bf16" | "f16" | "int8"; readonly memory?: number | string };
  /** Longest prompt and reply together, in tokens. */
  readonly contextLength?: number;
  /** Sequences that are computed at the same time; more wait. */
  readonly maxSequences?: number;
  /** Sequences that may wait; one more is refused. */
  readonly maxQueue?: number;
  /**
   * Keeps what was computed of prompts and replies for later prompts that begin alike; true by default. With a
   * folder it outlives the memory of the cache, and the process: at most `maxBytes` there, in bytes or as words, 16
   * GiB by default; what was used longest ago is deleted first. Several processes may share a folder.
   */
  readonly prefixCache?: boolean | { readonly folder: string; readonly maxBytes?: number | string };
  /**
   * Weights whose files lie in memory in small pages are copied into huge ones in the background, which are read up
   * to a fifth faster, where there is memory for both twice over; true by default. `stats().memory` says how many.
   */
  readonly hugePages?: boolean;
  /**
   * Loads the layer for multi-token prediction, where the model has one, so that requests can use it by
   * `speculative: "mtp"`; true by default. False saves its memory, a share of a layer's.
   */
  readonly mtp?: boolean;
  /**
   * A smaller model with the same vocabulary, named as `source` is: requests with `speculative: "model"` are
   * guessed ahead by it.
   */
  readonly draftModel?: string;
  /** What guesses tokens ahead for requests that do not say; "none" by default. The replies stay the same. */
  readonly speculative?: SpeculationOption;
  /** Threads that compute, at most 256; by default one for each core. */
  readonly threads?: number | "auto";
  /** How much of the files is checked before use; "full" reads every weight. */
  readonly validation?: "none" | "basic" | "full";
  /** Instruction set to use instead of the best one, by name. */
  readonly isa?: string;
  /** Path of a kernel library to use instead of the one that comes with hadal. */
  readonly library?: string;
  /** Where a model that is no folder is fetched from, and kept. */
  readonly hub?: HubOptions;
  /** Gives up loading. */
  readonly signal?: AbortSignal;
  /** Told how far loading is: `done` of `total` in the units of the stage. */
  readonly onProgress?: (progress: Progress) => void;
}

/** How far a stage of loading is. */
export interface Progress {
  /** "download" (in bytes), "checkpoint", "backend" or "weights". */
  readonly stage: string;
  /** Units of the stage that are done. */
  readonly done: number;
  /** Units that there are. */
  readonly total: number;
}

const count = whole(1, Number.MAX_SAFE_INTEGER);
const bytes = either(word(), count, 'bytes or words such as "2 GiB" are needed');
const path = where((value): value is string => typeof value === "string" && value !== "", "a path is needed");
const knownOptions = onlyThese({
  backend: oneOf("auto", "reference", "cpu"),
  weights: oneOf("auto", "f32", "bf16", "f16", "fp8", "int8", "int4", "int4a", "int3", "nf4"),
  activations: oneOf("auto", "f32"),
  kvCache: onlyThese({ dtype: oneOf("f32", "bf16", "f16", "int8"), memory: bytes }),
  contextLength: count,
  maxSequences: whole(1, 4096),
  maxQueue: whole(0, Number.MAX_SAFE_INTEGER),
  prefixCache: either(
    truth(),
    exactly({ folder: path, maxBytes: bytes.optional() }),
    "true, false, or an object with folder and maxBytes is needed",
  ),
  hugePages: truth(),
  mtp: truth(),
  draftModel: word(),
  speculative: where(
    isSpeculation,
    '"none", "mtp", "ngram", "model", { type, tokens } or { model, tokens } is needed',
  ),
  threads: either(oneOf("auto"), whole(1, 256), '"auto" or a whole number from 1 to 256 is needed'),
  validation: oneOf("none", "basic", "full"),
  isa: word(),
  library: word(),
  hub: onlyThese({
    endpoint: word(),
    token: word().nullable(),
    revision: word(),
    include: list(word(), "an array of patterns is needed"),
    cache: word(),
    offline: truth(),
  }),
  signal: where((value): value is AbortSignal => value instanceof AbortSignal, "an AbortSignal is needed"),
  onProgress: where(
    (value): value is NonNullable<LoadOptions["onProgress"]> => typeof value === "function",
    "a function is needed",
  ),
}) satisfies Check<LoadOptions>;

/**
 * Loads a model: weights and computing go to a Worker, so that nothing here ever waits for them.
 * @param source a folder with config.json and safetensors files, a GGUF file, a hub's name for a model such as
 *   "deepseek-ai/DeepSeek-V2-Lite-Chat", or "minnow", the embedded one. Of several GGUF models that a hub has under
 *   one name "owner/name:Q4_K_M" and "owner/name/file.gguf" take one
 * @throws {TypeError} an option is none of the above, or not of its type
 * @throws {UnsupportedError | CheckpointError | DownloadError | MemoryError | DeviceError} in one sentence, why not
 */
export async function load(source: string, options: LoadOptions = {}): Promise<LanguageModel> {
  checkPath(source, "load a model");
  const checked: LoadOptions = withoutUndefined(checkOptions(knownOptions, options));
  const { onProgress, signal } = checked;
  signal?.throwIfAborted();
  const problem = runtimeProblem();
  if (problem !== null) throw new UnsupportedError(`Cannot load a model here: ${problem}`);
  const folder = await folderOf(source, checked);
  const name = basename(parseHubSource(source) === null ? folder : source); // a hub's folder is named by its commit
  const giveUp = new AbortController();
  const opening = EngineClient.open(openOptions(folder, checked), {
    signal: signal ? AbortSignal.any([signal, giveUp.signal]) : giveUp.signal,
    onProgress: ({ stage, done, total }) => onProgress?.({ stage, done, total }),
  });
  opening.catch(() => {}); // it may fail before it is awaited, which would end the program
  try {
    // Imported and read while the Worker opens the weights.
    const { readFolderText } = await import("./folder_text.ts");
    const { LanguageModel } = await import("./language_model.ts");
    const text = await readFolderText(folder, cacheDirectory());
    const defaults = parseGenerationConfig(
      readModelJson(folder, "generation_config.json"),
      join(folder, "generation_config.json"),
    );
    const engine = await opening;
    const openDraft = (draft: string) => openDraftModel(draft, engine, text, checked);
    const { draftModel, speculative } = checked;
    const model = new LanguageModel({
      name,
      engine,
      text,
      defaults: { ...defaults, speculative },
      openDraft,
    });
    try {
      const draft = draftModel ?? draftModelOf(speculative);
      if (draft !== null) await model.useDraftModel(draft);
      checkSpeculation(speculative, model.info.draftKinds);
    } catch (error) {
      await model.close();
      throw error;
    }
    return model;
  } catch (error) {
    giveUp.abort();
    throw error;
  }
}

/** @throws {UnsupportedError} for guesses that no request could have */
function checkSpeculation(speculative: LoadOptions["speculative"], kinds: readonly DraftKind[]): void {
  const kind = resolveSpeculation(speculative ?? "none")?.kind;
  if (kind === undefined || kinds.includes(kind)) return;
  const missing = {
    mtp: "the model has no layer for multi-token prediction",
    model: "draftModel is not given",
  };
  throw new UnsupportedError(`Cannot use the option speculative: ${missing[kind as keyof typeof missing]}`);
}

/** @throws {UnsupportedError} for a model whose tokens are others */
async function openDraftModel(
  source: string,
  engine: EngineClient,
  text: ModelText | null,
  options: LoadOptions,
): Promise<void> {
  const folder = await folderOf(source, { ...options, onProgress: undefined });
  const { readFolderText } = await import("./folder_text.ts");
  const draft = await readFolderText(folder, cacheDirectory());
  if (text !== null && draft !== null) {
    const id = firstDifference(text.tokenizer, draft.tokenizer);
    if (id !== null) {
      const [own, other] = [text, draft].map(({ tokenizer }) =>
        id < tokenizer.vocabSize ? JSON.stringify(tokenizer.tokenText(id)) : "nothing"
      );
      throw new UnsupportedError(
        `Cannot use ${source} as draft model: token ${id} is ${other} there, ${own} needed`,
      );
    }
  }
  await engine.openDraft(folder);
}

/** @returns the first id that stands for other text, or null */
function firstDifference(own: Tokenizer, other: Tokenizer): number | null {
  for (let id = 0; id < Math.max(own.vocabSize, other.vocabSize); id++) {
    if (id >= own.vocabSize || id >= other.vocabSize || own.tokenText(id) !== other.tokenText(id)) return id;
  }
  return null;
}

/** What the Worker is told: the options, the environment where they say nothing, else the defaults. */
function openOptions(folder: string, options: LoadOptions): OpenOptions {
  const {
    onProgress: _,
    signal: __,
    hub: ___,
    draftModel: ____,
    speculative: _____,
    kvCache = {},
    prefixCache,
    ...rest
  } = options;
  const { dtype, memory } = kvCache;
  const { folder: cacheFolder, maxBytes } = typeof prefixCache === "object" ? prefixCache : {};
  const chosen = {
    isa: environment("HADAL_CPU_ISA"),
    library: environment("HADAL_CPU_LIBRARY"),
    compiler: environment("CC"),
    cacheDtype: dtype,
    cacheBytes: bytesOf(memory, "kvCache.memory"),
    prefixCache: typeof prefixCache === "object" ? true : prefixCache,
    cacheFolder: cacheFolder === undefined ? undefined : resolve(cacheFolder),
    cacheFolderBytes: bytesOf(maxBytes, "prefixCache.maxBytes"),
    ...rest,
  };
  return { ...openDefaults, folder, ...withoutUndefined(chosen) };
}

/** An option that is undefined counts as left out. */
function withoutUndefined<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as { [K in keyof T]: Exclude<T[K], undefined> };
}

/** @param value bytes, or words such as "2 GiB" or "512MiB" */
function bytesOf(value: number | string | undefined, option: string): number | undefined {
  if (typeof value !== "string") return value;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const [, number, unit] = /^(\d+(?:\.\d+)?) *([KMGT]?i?B)$/.exec(value) ?? [];
  const power = units.indexOf(unit);
  if (power < 0) {
    throw new TypeError(
      `Cannot use the option ${option}: "${value}" found, bytes or words such as "2 GiB" needed`,
    );
  }
  return Math.floor(Number(number) * 1024 ** power);
}

/**
 * @returns the folder that a source names, fetched if need be
 * @throws {UnsupportedError | CheckpointError | DownloadError} the source is no model
 */
export async function folderOf(source: string, options: LoadOptions): Promise<string> {
  const { onProgress, signal } = options;
  if (source === "minnow") {
    return await packageFolder("examples/minnow", {
      signal,
      onProgress: (done, total) => onProgress?.({ stage: "download", done, total }),
    });
  }
  const what = statusOf(source);
  if (what?.isDirectory || (what?.isFile && source.endsWith(".gguf"))) return resolve(source);
  const works =
    'a folder with config.json and safetensors files works, a GGUF file, or "minnow", which is embedded';
  if (what !== null) throw new CheckpointError(source, `it is a file; ${works}`);
  const onHub = parseHubSource(source);
  // "models/x.gguf" is a file that is not there, and no model of somebody called "models".
  const isFile = source.endsWith(".gguf") && !onHub?.gguf.startsWith("/");
  if (onHub !== null && !isFile) return await folderFromHub(onHub, options);
  throw new CheckpointError(source, `there is no such ${isFile ? "file" : "folder"}; ${works}`);
}

async function folderFromHub(
  { id, gguf: wanted }: HubSource,
  { hub = {}, signal, onProgress }: LoadOptions,
): Promise<string> {
  const { pull } = await import("./checkpoint/hub/pull.ts"); // most starts fetch nothing
  const { hubSettings } = await import("./hub_settings.ts");
  const { folder, paths } = await pull(id, hubSettings(hub), {
    revision: hub.revision,
    patterns: { include: hub.include ?? [], exclude: [], gguf: wanted },
    orCached: true, // a hub that cannot be reached is no reason not to load
    signal,
    onProgress: ({ doneBytes, totalBytes }) =>
      onProgress?.({ stage: "download", done: doneBytes, total: totalBytes }),
  });
  // A model in GGUF is its file, or the first of its parts.
  const gguf = paths.filter((path) => path.endsWith(".gguf")).sort()[0];
  return gguf === undefined ? folder : join(folder, gguf);
}
