/**
 * `hadal inspect`: what a model is and what it would take, without reading its weights.
 * @module
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { ggufFileOf } from "../checkpoint/gguf_splits.ts";
import { hubTables } from "../checkpoint/hub/hub_tables.ts";
import { type HubSource, parseHubSource } from "../checkpoint/hub/names.ts";
import { pull } from "../checkpoint/hub/pull.ts";
import { indexFile, singleFile } from "../checkpoint/safetensors_folder.ts";
import { openTorch, torchFileOf } from "../checkpoint/pickle/open.ts";
import { folderTables, readTables } from "../checkpoint/tables.ts";
import { CheckpointError, UnsupportedError } from "../errors.ts";
import { hubSettings } from "../hub_settings.ts";
import { ggufCheckpoint } from "../model/gguf_checkpoint.ts";
import { inspect, type Inspected } from "../model/inspect.ts";
import { openModel } from "../model/open_model.ts";
import { packageFolder } from "../package/folder.ts";
import type { WeightFormat } from "../tensor/dtype.ts";
import { describeInspection } from "./describe_inspection.ts";
import { estimate, type Report, type Use } from "./inspection_report.ts";

const help = `Says what a model is and what it would take, without reading its weights

  hadal inspect SOURCE [--context N] [--batch N] [--bandwidth GB/S] [--json]

  SOURCE             folder, .gguf file, "minnow", or a hub's name for a model, of which only the
                     headers are fetched; owner/name:Q4_K_M and owner/name/path/file.gguf take one
                     of several GGUF models
  --revision NAME    branch, tag or commit on the hub; main by default
  --context N        tokens of a sequence; 8192 by default, or fewer where the model was made for fewer
  --batch N          sequences at once; 1 by default
  --cache TYPE       of the latent cache: f32 (default), bf16, f16, int8
  --weights FORMAT   to load in, such as int8; by default what the files have
  --bandwidth GB/S   of the memory, in 10⁹ bytes a second, for the bound on speed; 50 by default
  --validate full    also read every weight and refuse NaN and infinity
  --json             the same as JSON, with a configuration that was inferred
  --help             this text

  Ends with 1 when the model would not load as it is.`;

/** @throws {Error} in one sentence, why nothing can be said */
export async function runInspect(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      revision: { type: "string" },
      context: { type: "string" },
      batch: { type: "string", default: "1" },
      cache: { type: "string", default: "f32" },
      weights: { type: "string" },
      bandwidth: { type: "string", default: "50" },
      validate: { type: "string" },
      json: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) return console.log(help);
  if (positionals.length !== 1) {
    throw new Error(`inspect: ${positionals.length} sources were given, one is needed`);
  }
  const { validate } = values;
  if (validate !== undefined && validate !== "full") {
    throw new Error(`--validate: ${validate} was given, full is needed`);
  }
  const use: Use = {
    context: values.context === undefined ? null : count("--context", values.context),
    batch: count("--batch", values.batch),
    cacheDtype: oneOf("--cache", values.cache, ["f32", "bf16", "f16", "int8"]),
    weights: values.weights === undefined ? null : oneOf("--weights", values.weights, weightFormats),
    bytesPerSecond: bandwidth(values.bandwidth),
  };
  const [source] = positionals;
  const found = await find(source, values.revision, validate === "full");
  const inspection = inspect(found);
  const report: Report = {
    source,
    ...inspection,
    missingFiles: found.missingFiles,
    estimate: estimate(inspection, use),
  };
  // Its frequencies are no numbers that anybody wants to read.
  const json = () => JSON.stringify(report, (key, value) => key === "frequencies" ? undefined : value, 2);
  console.log(values.json ? json() : describeInspection(report));
  if (
    report.problems.length > 0 || report.inferred ||
    found.missingFiles.some((file) => file.endsWith(".safetensors"))
  ) {
    process.exitCode = 1;
  }
}

const weightFormats: readonly WeightFormat[] = [
  "f32",
  "bf16",
  "f16",
  "fp8",
  "int8",
  "int4",
  "int4a",
  "int3",
  "nf4",
];

function count(option: string, text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new Error(`${option}: ${text} was given, a whole number from 1 is needed`);
}

function bandwidth(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && value > 0 && Number.isFinite(value)) return value * 1e9;
  throw new Error(`--bandwidth: ${text} was given, a number above 0 is needed, in GB/s`);
}

function oneOf<T extends string>(option: string, text: string, choices: readonly T[]): T {
  const choice = choices.find((choice) => choice === text);
  if (choice !== undefined) return choice;
  throw new Error(`${option}: ${text} was given, one of ${choices.join(", ")} is needed`);
}

type Found = Inspected & { readonly missingFiles: readonly string[] };

async function find(source: string, revision: string | undefined, isFull: boolean): Promise<Found> {
  if (source === "minnow") {
    return await inFolder(await packageFolder("examples/minnow"), isFull);
  }
  const status = statSync(source, { throwIfNoEntry: false });
  if (status?.isDirectory()) return await inFolder(source, isFull);
  if (status !== undefined) return opened(source, isFull);
  const named = parseHubSource(source);
  if (named === null) throw new CheckpointError(source, "there is no such folder or file");
  return await onHub(named, revision, isFull);
}

async function onHub({ id, gguf }: HubSource, revision: string | undefined, isFull: boolean): Promise<Found> {
  const settings = hubSettings();
  if (settings.offline || isFull) {
    const patterns = { include: [], exclude: [], gguf };
    const { folder, paths } = await pull(id, { ...settings, offline: true }, { revision, patterns });
    const file = paths.find((path) => path.endsWith(".gguf"));
    return file === undefined ? await inFolder(folder, isFull) : opened(join(folder, file), isFull);
  }
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      stop.abort();
      process.exit(130);
    });
  }
  const model = await hubTables(id, revision ?? "main", settings, stop.signal);
  const has = (pattern: RegExp) => model.files.some((file) => pattern.test(file));
  const hasTables = model.files.includes(singleFile) || model.files.includes(indexFile);
  const isTorch = has(/^[^/]+\.(?:bin|pt|pth|ckpt)$/);
  if (gguf !== "" || (!hasTables && !isTorch && has(/\.gguf$/))) {
    return foundIn(ggufCheckpoint(await model.gguf(gguf)), []);
  }
  if (!hasTables) {
    const weights = model.files.find((file) => /\.(?:bin|pt|pth|ckpt)$/.test(file)) ?? "no weights";
    throw new UnsupportedError(
      `Cannot inspect ${id} on its hub: it has ${weights}, only headers of safetensors and GGUF are read there; ` +
        `"hadal pull ${id}" fetches it, and prints a folder that can be inspected`,
    );
  }
  const tables = await readTables(model);
  return { ...tables, missingFiles: missingFiles(tables) };
}

async function inFolder(folder: string, isFull: boolean): Promise<Found> {
  const source = folderTables(folder);
  const hasTables = source.files.includes(singleFile) || source.files.includes(indexFile);
  const torch = torchFileOf(folder, source.files);
  if (!hasTables && torch !== null && !source.files.includes("config.json")) {
    const checkpoint = openTorch(folder, torch, undefined, isFull ? "full" : "basic", () => {});
    checkpoint.close();
    return foundIn(checkpoint, missingFiles({ files: source.files, missingFiles: [] }));
  }
  if (isFull || !hasTables || ggufFileOf(folder) !== null) return opened(folder, isFull);
  const tables = await readTables(source);
  return { ...tables, missingFiles: missingFiles(tables) };
}

/** What its own loader reads: the headers, or with `isFull` everything. */
function opened(source: string, isFull: boolean): Found {
  const checkpoint = openModel(source, { validation: isFull ? "full" : "basic" });
  checkpoint.close();
  const files = statSync(source).isDirectory() ? folderTables(source).files : null;
  const isWhole = files === null || checkpoint.configFile !== undefined;
  return foundIn(checkpoint, isWhole ? [] : missingFiles({ files, missingFiles: [] }));
}

function foundIn(checkpoint: Checkpoint, missingFiles: readonly string[]): Found {
  const { folder: name, tensors, coded, config, configFile } = checkpoint;
  return {
    name,
    ...(configFile === undefined ? {} : { configFile }),
    config,
    tensors,
    ...(coded === undefined ? {} : { coded }),
    missingFiles,
  };
}

function missingFiles(
  tables: { readonly files: readonly string[]; readonly missingFiles: readonly string[] },
): string[] {
  const wanted = ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"];
  return [...tables.missingFiles, ...wanted.filter((file) => !tables.files.includes(file))];
}
