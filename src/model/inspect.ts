/**
 * What a model is and what it would take, from its configuration and the tables of its files: no weight
 * is read.
 * @module
 */
import type { Checkpoint, StoredTensor } from "../checkpoint/checkpoint.ts";
import type { CodedMatrix } from "../checkpoint/coded.ts";
import { CheckpointError, UnsupportedError } from "../errors.ts";
import { checkedSum } from "../tensor/checked.ts";
import { type Dtype, dtypeBits, type WeightFormat } from "../tensor/dtype.ts";
import { weightBytes } from "../tensor/packed_format.ts";
import { withCodedMatrices } from "./coded_checkpoint.ts";
import { hasExperts, type ModelConfig, parseConfig } from "./config.ts";
import { inferConfig, type InferredConfig } from "./infer_config.ts";
import { countParameters } from "./parameters.ts";
import { type BytesByFormat, bytesByFormat, type PlannedMatrix, planWeights } from "./weight_plan.ts";
import { TensorError } from "./weight_source.ts";
import { embeddingName, hasMtp, layerOf } from "./weights.ts";

/** What is looked at. */
export interface Inspected {
  /** What messages call it. */
  readonly name: string;
  /** Where the configuration comes from, when that is not config.json. */
  readonly configFile?: string;
  /** Parsed, undefined when there is none. */
  readonly config: unknown;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly coded?: ReadonlyMap<string, CodedMatrix>;
}

/** What there is to say of a model. */
export interface Inspection {
  /** model_type of its configuration, or null when that cannot be used. */
  readonly architecture: string | null;
  readonly config: ModelConfig | null;
  /** What config.json would say, when there is none. */
  readonly inferred: InferredConfig | null;
  readonly parameters: { readonly total: number; readonly active: number } | null;
  /** Of the files: bytes by number type, the most first. */
  readonly stored: {
    readonly tensors: number;
    readonly bytes: number;
    readonly byType: Readonly<Record<string, number>>;
  };
  /** Bytes of the matrices as they would be loaded, by the format they are used in. */
  readonly loaded: BytesByFormat | null;
  /**
   * Matrices in formats of other programs. Which format holds one exactly is found out by reading it, so
   * they are taken for the longest that they may become.
   */
  readonly codedMatrices: number;
  /** Bytes of the matrices in each format that they can be loaded in. */
  readonly formats: BytesByFormat | null;
  /** What generating one token reads of them. */
  readonly reads: { readonly alwaysBytes: number; readonly expertsBytes: number } | null;
  /** Tensors that the network needs and does not find, at most 20. */
  readonly problems: readonly string[];
  /** It has the layer for multi-token prediction, which is loaded along. */
  readonly mtp: boolean;
  /** Tensors that the network does not use. */
  readonly unused: { readonly tensors: number; readonly bytes: number; readonly mtpLayers: number };
}

/** Formats that hadal loads matrices in. */
const allFormats: readonly WeightFormat[] = [
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
const mostProblems = 20;

/** Never throws for what is wrong with the model: that is told. */
export function inspect(model: Inspected): Inspection {
  const problems: string[] = [];
  const told = <T>(act: () => T): T | null => {
    try {
      return act();
    } catch (error) {
      const isKnown = [CheckpointError, UnsupportedError, RangeError].some((kind) => error instanceof kind);
      if (!isKnown) throw error;
      problems.push((error as Error).message);
      return null;
    }
  };
  const inferred = model.config === undefined ? told(() => inferConfig(shapesOf(model), model.name)) : null;
  const file = model.configFile ?? `${model.name}/config.json`;
  const described = inferred === null ? model : { ...model, config: inferred.config };
  const read = told(() => asLoaded(described, file)) ?? described;
  const json = read.config;
  const config = json === undefined ? null : told(() => parseConfig(json, file));
  const stored = storedBytes(model);
  const plan = config && told(() => planWhatIsThere(read, config, problems));
  if (!config || !plan) {
    const unused = { tensors: 0, bytes: 0, mtpLayers: 0 };
    const nothing = {
      mtp: false,
      loaded: null,
      codedMatrices: read.coded?.size ?? 0,
      formats: null,
      reads: null,
    };
    const parameters = config && countParameters(config);
    return {
      architecture: config?.architecture ?? null,
      config,
      inferred,
      parameters,
      stored,
      ...nothing,
      problems,
      unused,
    };
  }
  return {
    architecture: config.architecture,
    config,
    inferred,
    parameters: countParameters(config),
    stored,
    loaded: bytesByFormat(plan.matrices),
    codedMatrices: read.coded?.size ?? 0,
    formats: formatsOf(plan.checkpoint, config),
    reads: readsOf(plan.matrices, config),
    problems,
    mtp: hasMtp(read, config),
    unused: unusedOf(read, config, plan),
  };
}

/** Matrices that lie in another order than their rows' have their shape all the same. */
function shapesOf({ tensors, coded }: Inspected): Parameters<typeof inferConfig>[0] {
  type Shaped = { readonly shape: readonly number[]; readonly dtype: Dtype };
  const shapes = new Map<string, Shaped>(tensors);
  for (const [name, { rows, width }] of coded ?? []) shapes.set(name, { shape: [rows, width], dtype: "F32" });
  return shapes;
}

/** Matrices of GPTQ and its like are several tensors each, and one for the network. */
function asLoaded(model: Inspected, file: string): Inspected {
  if (model.coded !== undefined || typeof model.config !== "object" || model.config === null) return model;
  const { config, tensors, coded } = withCodedMatrices(standIn(model, new Map(), new Set()), file);
  return coded === undefined ? model : { ...model, config, tensors, coded };
}

function storedBytes({ tensors, coded }: Inspected): Inspection["stored"] {
  const bytes = new Map<string, number>();
  const add = (type: string, size: number) => bytes.set(type, checkedSum([bytes.get(type) ?? 0, size], type));
  for (const { dtype, sizeBytes } of tensors.values()) add(dtype, sizeBytes);
  for (const { coding, sizeBytes } of coded?.values() ?? []) add(coding, sizeBytes);
  return {
    tensors: tensors.size + (coded?.size ?? 0),
    bytes: checkedSum([...bytes.values()], "tensors"),
    byType: Object.fromEntries([...bytes].sort(([, a], [, b]) => b - a)),
  };
}

interface Plan {
  readonly checkpoint: Checkpoint;
  readonly matrices: readonly PlannedMatrix[];
  /** Names that were asked for. */
  readonly used: ReadonlySet<string>;
}

/** Plans loading; what is missing is written down, and taken for there. */
function planWhatIsThere(model: Inspected, config: ModelConfig, problems: string[]): Plan {
  const stand = new Map<string, StoredTensor>();
  const used = new Set<string>();
  const checkpoint = standIn(model, stand, used);
  for (let found = 0;; found++) {
    try {
      return { checkpoint, matrices: planWeights(checkpoint, config, "auto", true), used };
    } catch (error) {
      if (!(error instanceof TensorError)) throw error;
      if (found === mostProblems) {
        problems.push(`Cannot read ${model.name}: more tensors are missing, or of another shape`);
        throw error;
      }
      problems.push(error.message);
      const { tensor: name, shape } = error;
      const dtype = name.endsWith("_scale_inv") ? "F32" : "BF16";
      const sizeBytes = shape.reduce((product, size) => product * size, dtypeBits[dtype] / 8);
      stand.set(name, { name, dtype, shape, file: model.name, offset: 0, sizeBytes });
    }
  }
}

/** The model as a checkpoint whose tensors read as zeros. */
function standIn(model: Inspected, stand: ReadonlyMap<string, StoredTensor>, used: Set<string>): Checkpoint {
  class Onlooker extends Map<string, StoredTensor> {
    override get(name: string): StoredTensor | undefined {
      used.add(name);
      return stand.get(name) ?? super.get(name);
    }
  }
  const coded = model.coded && new Map([...model.coded].map(([name, matrix]) => {
    const { file, coding, rows, width, sizeBytes, blocks } = matrix;
    const decode = (_: number, count: number) => new Float32Array(count * width);
    return [name, { name, file, coding, rows, width, sizeBytes, blocks, decode, exact: () => null }];
  }));
  return {
    folder: model.name,
    ...(model.configFile === undefined ? {} : { configFile: model.configFile }),
    tensors: new Onlooker(model.tensors),
    ...(coded === undefined ? {} : { coded }),
    config: model.config,
    sizeBytes: 0,
    read: ({ sizeBytes }) => new Uint8Array(sizeBytes),
    close: () => {},
  };
}

/** @returns null where nothing but the stored format can be loaded */
function formatsOf(checkpoint: Checkpoint, config: ModelConfig): BytesByFormat | null {
  const bytes: [WeightFormat, number][] = [];
  for (const format of allFormats) {
    try {
      const sizes = Object.values(bytesByFormat(planWeights(checkpoint, config, format, true)));
      bytes.push([format, checkedSum(sizes, format)]);
    } catch (error) {
      if (!(error instanceof UnsupportedError)) throw error;
    }
  }
  return bytes.length > 1 ? Object.fromEntries(bytes) : null;
}

function readsOf(matrices: readonly PlannedMatrix[], config: ModelConfig): Inspection["reads"] {
  let alwaysBytes = 0, expertsBytes = 0;
  for (const { stored, format } of matrices) {
    const bytes = weightBytes(format, stored.rows, stored.width);
    if ((layerOf(stored.name) ?? 0) >= config.nLayers) continue; // only who guesses ahead reads these
    if (/\.mlp\.experts\./.test(stored.name)) expertsBytes += bytes;
    // Of the embedding a token reads one row, unless it is the head too.
    else if (config.tiedEmbedding || !stored.name.startsWith(`${embeddingName}.`)) alwaysBytes += bytes;
  }
  return { alwaysBytes, expertsBytes };
}

function unusedOf({ tensors }: Inspected, config: ModelConfig, { used }: Plan): Inspection["unused"] {
  let count = 0, bytes = 0;
  const layers = new Set<number>();
  for (const { name, sizeBytes } of tensors.values()) {
    if (used.has(name)) continue;
    count++;
    bytes += sizeBytes;
    const layer = layerOf(name);
    if (layer !== null && layer >= config.nLayers) layers.add(layer);
  }
  return { tensors: count, bytes, mtpLayers: layers.size };
}

/** @returns layers of the network that have experts */
export function moeLayersOf(config: ModelConfig): number {
  return Array.from({ length: config.nLayers }, (_, layer) => layer).filter((layer) =>
    hasExperts(config, layer)
  ).length;
}
