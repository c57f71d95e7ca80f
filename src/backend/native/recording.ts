/**
 * Steps that are recorded ({@link Backend.record}): the calls that their ops would make become a list, which
 * `run_ops` of kernels/ops.h goes through. The library checks each op of it each time, as if it had been called.
 * @module
 */
import type { KernelLibrary } from "../../../ffi/library.ts";
import { type Bytes, listedOps, symbols } from "../../../ffi/symbols.ts";
import { type Batch, type Prediction, recordedRows, type Recording, type Run } from "../backend.ts";
import { checkRuns } from "../runs.ts";
import { need, needInt } from "../shapes.ts";
import { BatchWriter } from "./batch.ts";
import { handleOf, NativeDevice } from "./device.ts";

type Calls = KernelLibrary["calls"];

/** A buffer that recordings use. */
interface Kept {
  readonly handle: number;
  readonly sizeBytes: number;
}

/** What a step that is recorded computes before the likeliest tokens are looked for. */
type Computed = Omit<Prediction, "best">;

/** Makes the recordings of a device. One of them runs at a time, so they all use the same buffers. */
export class Recorder {
  readonly #device: NativeDevice;
  readonly #batches = new BatchWriter();
  /** Buffers that the step being recorded does not use, or no more, by their size. */
  readonly #free = new Map<number, Kept[]>();

  constructor(device: NativeDevice) {
    this.#device = device;
  }

  /** @param compute is given a device that notes what it is asked for */
  record(nTokens: number, compute: (device: NativeDevice) => Computed): Recording {
    needInt("record", nTokens, 1, "number of tokens", recordedRows);
    const used: Kept[] = [];
    try {
      const notes = new Notes();
      const memory = {
        // Wide enough for the largest step, so that those of all sizes share it.
        step_buffer: (_: number, bytes: number) => {
          const kept = this.#take(bytes / nTokens * recordedRows);
          used.push(kept);
          return kept.handle;
        },
        step_mark: () => used.length,
        step_release: (_: number, mark: number) => {
          for (const kept of used.splice(mark)) this.#giveBack(kept);
          return 0;
        },
      };
      const calls = { ...refusing, ...notes.calls, ...memory } as unknown as Calls;
      const noting = new NativeDevice(calls, this.#device.handle);
      const computed = compute(noting);
      const { logits } = computed;
      const best = noting.stepBuffer(logits.rows);
      calls.argmax(best, handleOf(logits), logits.rows, logits.width);
      return new NativeRecording(this.#device, this.#batches, nTokens, notes, computed, best);
    } finally {
      for (const kept of used) this.#giveBack(kept);
    }
  }

  #take(sizeBytes: number): Kept {
    const free = this.#free.get(sizeBytes)?.pop();
    if (free !== undefined) return free;
    const { calls, handle } = this.#device;
    return { handle: this.#device.checked(calls.buffer_create(handle, sizeBytes)), sizeBytes };
  }

  #giveBack(kept: Kept): void {
    const { sizeBytes } = kept;
    if (!this.#free.has(sizeBytes)) this.#free.set(sizeBytes, []);
    this.#free.get(sizeBytes)!.push(kept);
  }
}

/** Batches of a step that is recorded: they are made when it runs. */
export const notedBatches: Pick<BatchWriter, "write"> = {
  write: (_, runs) => ({ nTokens: checkRuns(runs), runs, handle: 0 } as Batch),
};

/** What an upload goes into. */
interface Upload {
  readonly buffer: number;
  readonly values: Bytes;
}

/** What is noted while a step is recorded. */
class Notes {
  /** As `run_ops` wants it. */
  readonly list: number[] = [];
  /** Where the batch stands in the list: it is another one each time. */
  readonly batchPlaces: number[] = [];
  readonly uploads: Upload[] = [];
  readonly calls: Readonly<Record<string, (...values: never[]) => number>>;

  constructor() {
    const ops = listedOps.map((name, number) => [name, (...values: number[]) => this.#note(number, values)]);
    this.calls = {
      ...Object.fromEntries(ops),
      buffer_write: (buffer: number, _offset: number, values: Bytes) => {
        this.uploads.push({ buffer, values });
        return 0;
      },
    };
  }

  #note(number: number, values: readonly number[]): number {
    this.list.push(number);
    for (const [i, parameter] of symbols[listedOps[number]].entries()) {
      if (parameter === "batch: i32") this.batchPlaces.push(this.list.length);
      this.list.push(parameter.endsWith("f32") ? bitsOf(values[i]) : values[i]);
    }
    return 0;
  }
}

/** Every function but those that can be noted. */
const refusing = Object.fromEntries(
  Object.keys(symbols).map((name) => [name, () => {
    throw new Error(`Cannot record a step: it calls ${name}, which must happen at once`);
  }]),
);

/** A list of ops, and where its inputs go. */
class NativeRecording implements Recording {
  readonly #device: NativeDevice;
  readonly #batches: BatchWriter;
  readonly #list: Int32Array;
  readonly #batchPlaces: readonly number[];
  readonly #tokens: Upload;
  readonly #angles: Upload;
  readonly #best: number;
  readonly #result: Prediction;

  constructor(
    device: NativeDevice,
    batches: BatchWriter,
    nTokens: number,
    { list, batchPlaces, uploads }: Notes,
    computed: Computed,
    best: number,
  ) {
    const [tokens, angles] = uploads;
    const isStep = uploads.length === 2 && tokens.values instanceof Int32Array &&
      tokens.values.length === nTokens && angles.values instanceof Float32Array;
    if (!isStep) throw new Error(`Cannot record a step: ${uploads.length} uploads are not tokens and angles`);
    this.#device = device;
    this.#batches = batches;
    this.#list = Int32Array.from(list);
    this.#batchPlaces = batchPlaces;
    [this.#tokens, this.#angles] = uploads;
    this.#best = best;
    this.#result = { ...computed, best: new Int32Array(computed.logits.rows) };
  }

  run(tokens: Int32Array, runs: readonly Run[], angles: Float32Array): Prediction {
    const batch = this.#batches.write(this.#device, runs);
    need("run", batch.nTokens, this.#tokens.values.length, "tokens in the runs");
    this.#write(this.#tokens, tokens, "tokens");
    this.#write(this.#angles, angles, "angles");
    const handle = handleOf(batch);
    for (const place of this.#batchPlaces) this.#list[place] = handle;
    this.#device.checked(this.#device.calls.run_ops(this.#list, this.#list.byteLength));
    const { best } = this.#result;
    this.#device.checked(this.#device.calls.buffer_read(best, this.#best, 0, best.byteLength));
    return this.#result;
  }

  #write({ buffer, values: { length } }: Upload, values: Bytes, what: string): void {
    need("run", values.length, length, what);
    this.#device.checked(this.#device.calls.buffer_write(buffer, 0, values, values.byteLength));
  }
}

/** @returns the i32 whose bits are those of a number as f32 */
function bitsOf(value: number): number {
  return new Int32Array(Float32Array.of(value).buffer)[0];
}
