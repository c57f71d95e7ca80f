/**
 * A checkpoint seen as the weights of one taker: tensors by name, checked against the shapes that the
 * configuration asks for, and handed over as they lie in the file, decoded, widened or copied.
 * @module
 */
import type { Backend, Experts, StoredMatrix, Vector, Weight } from "../backend/backend.ts";
import type { Checkpoint, StoredTensor } from "../checkpoint/checkpoint.ts";
import type { CodedMatrix } from "../checkpoint/coded.ts";
import { decode, isFloatDtype } from "../checkpoint/decode.ts";
import { CheckpointError, UnsupportedError } from "../errors.ts";
import { checkedProduct } from "../tensor/checked.ts";
import { fp8Block, type WeightFormat } from "../tensor/dtype.ts";
import { isPackedFormat, type PackedFormat, packedShape } from "../tensor/packed_format.ts";
import { t16Align } from "../tensor/t16.ts";
import { decoded, type DecodedMatrix } from "./coded_weights.ts";
import type { ModelConfig } from "./config.ts";
import { matrixRows } from "./matrix_rows.ts";

/** How weights are loaded. */
export interface LoadWeightsOptions {
  /** Told after each matrix; may throw to give up. */
  readonly onWeight?: (weight: Weight) => void;
  /**
   * Matrices that keep their stored format are copied: for files of which most is made anew, and whose
   * map would stand in memory beside the result.
   */
  readonly copies?: boolean;
  /** Loads the layer for multi-token prediction too, where the checkpoint has one. */
  readonly mtp?: boolean;
}

/** The part of a backend that weights are given to. */
export type WeightLoader = Pick<Backend, "loadWeight" | "loadVector" | "bindExperts">;

/** A tensor of the network is missing, or has another shape than the configuration says. */
export class TensorError extends CheckpointError {
  readonly tensor: string;
  /** That it should have. */
  readonly shape: readonly number[];

  constructor(file: string, problem: string, tensor: string, shape: readonly number[]) {
    super(file, problem);
    this.tensor = tensor;
    this.shape = shape;
  }
}

const copiedAtOnceBytes = 1 << 20;

/** Gives the weights of a checkpoint to a taker, one by one. */
export class WeightSource {
  readonly config: ModelConfig;
  readonly #checkpoint: Checkpoint;
  readonly #loader: WeightLoader;
  readonly #format: "auto" | WeightFormat;
  readonly #options: LoadWeightsOptions;

  constructor(
    checkpoint: Checkpoint,
    config: ModelConfig,
    loader: WeightLoader,
    format: "auto" | WeightFormat,
    options: LoadWeightsOptions,
  ) {
    this.#checkpoint = checkpoint;
    this.config = config;
    this.#loader = loader;
    this.#format = format;
    this.#options = options;
  }

  has(name: string): boolean {
    const { tensors, coded } = this.#checkpoint;
    return tensors.has(`${name}.weight`) || coded?.has(`${name}.weight`) === true;
  }

  /** The matrix `name`.weight, with `name`.weight_scale_inv where it is fp8. */
  matrix(name: string, rows: number, width: number, format = this.#format): Weight {
    return this.#load(name, rows, width, format, this.#checkpoint.widens === true);
  }

  /** A matrix that decides by small differences: whatever is asked for, it is as exact as the file has it. */
  router(name: string, rows: number, width: number): Weight {
    return this.#load(name, rows, width, "auto", true);
  }

  #load(name: string, rows: number, width: number, format: "auto" | WeightFormat, widens: boolean): Weight {
    const coded = this.#checkpoint.coded?.get(`${name}.weight`);
    const { stored, format: wanted } = coded === undefined
      ? { stored: this.#widened(this.#stored(`${name}.weight`, rows, width), format), format }
      : this.#decoded(coded, rows, width, format, widens);
    const weight = this.#loader.loadWeight(this.#options.copies ? this.#copied(stored) : stored, wanted);
    this.#options.onWeight?.(weight);
    return weight;
  }

  #decoded(
    coded: CodedMatrix,
    rows: number,
    width: number,
    format: "auto" | WeightFormat,
    widens: boolean,
  ): DecodedMatrix {
    if (coded.rows !== rows || coded.width !== width) {
      throw this.#otherShape(coded.file, coded.name, [coded.rows, coded.width], [rows, width]);
    }
    return decoded(coded, format, widens);
  }

  /** The same matrix as f32, which holds every shorter number, where that is asked for. */
  #widened(stored: StoredMatrix, format: "auto" | WeightFormat): StoredMatrix {
    const { name, dtype, rows, width, scale: _, ...place } = stored;
    if (format !== "f32" || dtype === "F32" || !isFloatDtype(dtype)) return stored;
    const matrix = matrixRows(this.#checkpoint, name);
    const atOnce = Math.max(1, Math.floor(copiedAtOnceBytes / 4 / width / fp8Block)) * fp8Block;
    return {
      ...place,
      name,
      dtype: "F32",
      sizeBytes: checkedProduct([4, rows, width], name),
      rows,
      width,
      madeFrom: dtype,
      *pieces(row: number, count: number) {
        for (let first = row; first < row + count; first += atOnce) {
          yield new Uint8Array(matrix.decode(first, Math.min(atOnce, row + count - first)).buffer);
        }
      },
    };
  }

  /** The same matrix, read piece by piece and not mapped; fp8 with its factors has no such way. */
  #copied(stored: StoredMatrix): StoredMatrix {
    if (stored.pieces || stored.scale || stored.packed || stored.blocks) return stored;
    const checkpoint = this.#checkpoint;
    const rowBytes = stored.sizeBytes / stored.rows;
    const atOnce = Math.max(1, Math.floor(copiedAtOnceBytes / rowBytes));
    return {
      ...stored,
      *pieces(row: number, count: number) {
        for (let first = row; first < row + count; first += atOnce) {
          const sizeBytes = Math.min(atOnce, row + count - first) * rowBytes;
          yield checkpoint.read({
            ...stored,
            shape: [],
            offset: stored.offset + first * rowBytes,
            sizeBytes,
          });
        }
      },
    };
  }

  #stored(name: string, rows: number, width: number): StoredMatrix {
    const { quantisation } = this.config;
    if (isPackedFormat(quantisation) && this.#checkpoint.tensors.get(name)?.dtype === "U8") {
      return this.#packed(name, quantisation, rows, width);
    }
    const stored: StoredMatrix = { ...this.#tensor(name, [rows, width]), rows, width };
    return stored.dtype === "F8_E4M3" ? { ...stored, scale: this.#scale(name, rows, width) } : stored;
  }

  #packed(name: string, format: PackedFormat, rows: number, width: number): StoredMatrix {
    const tensor = this.#tensor(name, packedShape(format, rows, width));
    if (tensor.offset % t16Align !== 0) {
      throw new CheckpointError(
        tensor.file,
        `tensor ${name} begins at byte ${tensor.offset}, ${format} needs a multiple of ${t16Align}`,
      );
    }
    return { ...tensor, rows, width, packed: format };
  }

  /** A vector of norm weights or biases, widened to f32. */
  vector(name: string, length: number): Vector {
    const tensor = this.#tensor(name, [length]);
    if (!isFloatDtype(tensor.dtype)) {
      throw new UnsupportedError(`Cannot use ${name}: ${tensor.dtype} found, a float type needed`);
    }
    return this.#loader.loadVector(decode(tensor.dtype, this.#checkpoint.read(tensor)));
  }

  /** The gated networks of these names, bound together. */
  experts(names: readonly string[], intermediate: number): Experts {
    const { hidden } = this.config;
    return this.#loader.bindExperts(names.map((name) => ({
      gate: this.matrix(`${name}.gate_proj`, intermediate, hidden),
      up: this.matrix(`${name}.up_proj`, intermediate, hidden),
      down: this.matrix(`${name}.down_proj`, hidden, intermediate),
    })));
  }

  #scale(name: string, rows: number, width: number): StoredMatrix {
    const [scaleRows, scaleWidth] = [Math.ceil(rows / fp8Block), Math.ceil(width / fp8Block)];
    const tensor = this.#tensor(`${name}_scale_inv`, [scaleRows, scaleWidth]);
    if (tensor.dtype !== "F32") {
      throw new UnsupportedError(
        `Cannot use ${tensor.name}: ${tensor.dtype} found, F32 needed for fp8 block scales`,
      );
    }
    return { ...tensor, rows: scaleRows, width: scaleWidth };
  }

  #tensor(name: string, shape: readonly number[]): StoredTensor {
    const tensor = this.#checkpoint.tensors.get(name);
    if (!tensor) {
      const problem = `tensor ${name} is missing, ${this.#whoAsks} asks for [${shape}]`;
      throw new TensorError(this.#checkpoint.folder, problem, name, shape);
    }
    if (tensor.shape.length !== shape.length || tensor.shape.some((size, i) => size !== shape[i])) {
      throw this.#otherShape(tensor.file, name, tensor.shape, shape);
    }
    return tensor;
  }

  #otherShape(
    file: string,
    name: string,
    found: readonly number[],
    wanted: readonly number[],
  ): CheckpointError {
    const problem = `tensor ${name} has shape [${found}], ${this.#whoAsks} asks for [${wanted}]`;
    return new TensorError(file, problem, name, wanted);
  }

  get #whoAsks(): string {
    return this.#checkpoint.configFile === undefined ? "config.json" : "its metadata";
  }
}
