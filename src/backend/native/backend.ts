/**
 * A kernel library (kernels/ops.h) as a backend. Shapes are checked here, handles and indices in C;
 * every status is looked at. A step costs no more than a few small objects a call: tensors are handles.
 * @module
 */
import type { KernelLibrary } from "../../../ffi/library.ts";
import type { WeightFormat } from "../../tensor/dtype.ts";
import type {
  AttentionShape,
  Backend,
  BackendInfo,
  BackendMemory,
  Batch,
  CacheShape,
  Experts,
  LatentCache,
  MlpWeights,
  Ops,
  PackedBytes,
  Prediction,
  Recording,
  Routes,
  Routing,
  Run,
  StoredMatrix,
  Tensor,
  Vector,
  Weight,
} from "../backend.ts";
import {
  checkAppend,
  checkAttention,
  checkBlockBytes,
  checkBlocks,
  checkCache,
  checkExperts,
  checkMove,
  checkRope,
  checkRouting,
  checkUpload,
  need,
  needSameShape,
} from "../shapes.ts";
import { BatchWriter } from "./batch.ts";
import { handleOf, type NativeDevice } from "./device.ts";
import { notedBatches, Recorder } from "./recording.ts";
import { bindExperts, loadVector, loadWeight, packWeight } from "./weights.ts";

/** Number types of a cache, in the order of ops.h. */
const cacheDtypes: readonly string[] = ["f32", "bf16", "f16", "int8"];

/** Two buffers of this step: i32 ids and f32 weights, both (rows, nExpertsPerToken). */
interface HeldRoutes extends Routes {
  readonly ids: number;
  readonly weights: number;
}

/** The adapter. `openNative` makes one. */
export class NativeBackend implements Backend {
  readonly info: BackendInfo;
  readonly #device: NativeDevice;
  readonly #calls: KernelLibrary["calls"];
  readonly #batches: Pick<BatchWriter, "write">;
  readonly #recorder: Recorder;

  constructor(
    info: BackendInfo,
    device: NativeDevice,
    batches: Pick<BatchWriter, "write"> = new BatchWriter(),
  ) {
    this.info = info;
    this.#device = device;
    this.#calls = device.calls;
    this.#batches = batches;
    this.#recorder = new Recorder(device);
  }

  // ---- things that outlive a step

  loadWeight(stored: StoredMatrix, format: "auto" | WeightFormat): Weight {
    return loadWeight(this.#device, stored, format);
  }

  packWeight(stored: StoredMatrix, format: WeightFormat): Iterable<PackedBytes> {
    return packWeight(this.#device, stored, format);
  }

  loadVector(values: Float32Array): Vector {
    return loadVector(this.#device, values);
  }

  bindExperts(experts: readonly MlpWeights[]): Experts {
    return bindExperts(this.#device, experts);
  }

  createCache(shape: CacheShape): LatentCache {
    const { nLayers, nBlocks, kvLoraRank, qkRopeHeadDim } = shape;
    checkCache(shape);
    const { cache_create, cache_bytes } = this.#calls;
    const dtype = cacheDtypes.indexOf(shape.dtype);
    const handle = this.#device.checked(
      cache_create(this.#device.handle, dtype, nLayers, nBlocks, kvLoraRank, qkRopeHeadDim),
    );
    return { ...shape, sizeBytes: cache_bytes(handle), handle } as LatentCache;
  }

  clearBlocks(cache: LatentCache, blocks: readonly number[]): void {
    checkBlocks("clearBlocks", cache, blocks);
    for (const block of blocks) {
      this.#device.checked(this.#calls.cache_clear(handleOf(cache), block));
    }
  }

  copyBlock(cache: LatentCache, from: number, to: number): void {
    checkBlocks("copyBlock", cache, [from, to]);
    this.#device.checked(this.#calls.cache_copy(handleOf(cache), from, to));
  }

  blockBytes(cache: LatentCache): number {
    return cache.sizeBytes / cache.nBlocks;
  }

  readBlock(cache: LatentCache, block: number, into: Uint8Array): void {
    checkBlockBytes(cache, block, into, this.blockBytes(cache));
    this.#device.checked(this.#calls.cache_read(into, handleOf(cache), block, into.length));
  }

  writeBlock(cache: LatentCache, block: number, from: Uint8Array): void {
    checkBlockBytes(cache, block, from, this.blockBytes(cache));
    this.#device.checked(this.#calls.cache_write(handleOf(cache), block, from, from.length));
  }

  record(nTokens: number, compute: (ops: Ops) => Omit<Prediction, "best">): Recording {
    return this.#recorder.record(
      nTokens,
      (noting) => compute(new NativeBackend(this.info, noting, notedBatches)),
    );
  }

  memory(): BackendMemory {
    const { device_bytes } = this.#calls;
    return {
      allocatedBytes: device_bytes(this.#device.handle, 0),
      mappedBytes: device_bytes(this.#device.handle, 1),
      movedBytes: device_bytes(this.#device.handle, 3),
      pendingBytes: device_bytes(this.#device.handle, 4),
      stepPeakBytes: device_bytes(this.#device.handle, 2),
    };
  }

  close(): void {
    this.#device.close();
  }

  // ---- a step

  beginStep(): void {
    this.#device.checked(this.#calls.step_begin(this.#device.handle));
  }

  mark(): number {
    return this.#device.checked(this.#calls.step_mark(this.#device.handle));
  }

  release(mark: number): void {
    this.#device.checked(this.#calls.step_release(this.#device.handle, mark));
  }

  upload(values: Float32Array, width: number): Tensor {
    checkUpload(values, width);
    const x = this.#device.tensor(values.length / width, width);
    this.#device.checked(this.#calls.buffer_write(handleOf(x), 0, values, values.byteLength));
    return x;
  }

  read(x: Tensor, into?: Float32Array): Float32Array {
    const values = into ?? new Float32Array(x.rows * x.width);
    need("read", values.length, x.rows * x.width, "values");
    this.#device.checked(this.#calls.buffer_read(values, handleOf(x), 0, values.byteLength));
    return values;
  }

  readRoutes(routes: Routes): { ids: Int32Array; weights: Float32Array } {
    const held = routes as HeldRoutes;
    const ids = new Int32Array(routes.rows * routes.nExpertsPerToken);
    const weights = new Float32Array(ids.length);
    this.#device.checked(this.#calls.buffer_read(ids, held.ids | 0, 0, ids.byteLength));
    this.#device.checked(this.#calls.buffer_read(weights, held.weights | 0, 0, weights.byteLength));
    return { ids, weights };
  }

  batch(runs: readonly Run[]): Batch {
    return this.#batches.write(this.#device, runs);
  }

  // ---- ops

  embed(embedding: Weight, tokens: Int32Array): Tensor {
    const out = this.#device.tensor(tokens.length, embedding.width);
    const ids = this.#device.uploadInts(tokens, tokens.length);
    this.#device.checked(this.#calls.embed(handleOf(out), handleOf(embedding), ids, tokens.length));
    return out;
  }

  rmsNorm(
    x: Tensor,
    weight: Vector,
    eps: number,
    out: Tensor = this.#device.tensor(x.rows, x.width),
  ): Tensor {
    need("rmsNorm", x.width, weight.length, "values a row");
    needSameShape("rmsNorm", x, out);
    this.#device.checked(
      this.#calls.rms_norm(handleOf(out), handleOf(x), handleOf(weight), x.rows, x.width, eps),
    );
    return out;
  }

  addRmsNorm(
    x: Tensor,
    delta: Tensor,
    weight: Vector,
    eps: number,
    out: Tensor = this.#device.tensor(x.rows, x.width),
  ): Tensor {
    need("addRmsNorm", x.width, weight.length, "values a row");
    needSameShape("addRmsNorm", x, delta);
    needSameShape("addRmsNorm", x, out);
    const { add_rms_norm } = this.#calls;
    this.#device.checked(
      add_rms_norm(handleOf(out), handleOf(x), handleOf(delta), handleOf(weight), x.rows, x.width, eps),
    );
    return out;
  }

  add(x: Tensor, delta: Tensor): void {
    needSameShape("add", x, delta);
    this.#device.checked(this.#calls.add(handleOf(x), handleOf(delta), x.rows, x.width));
  }

  linear(x: Tensor, w: Weight): Tensor {
    need("linear", x.width, w.width, "inputs");
    const out = this.#device.tensor(x.rows, w.rows);
    this.#device.checked(this.#calls.linear(handleOf(out), handleOf(x), handleOf(w), x.rows));
    return out;
  }

  gatherRows(x: Tensor, rows: Int32Array): Tensor {
    const out = this.#device.tensor(rows.length, x.width);
    const ids = this.#device.uploadInts(rows, rows.length);
    const { gather_rows } = this.#calls;
    this.#device.checked(gather_rows(handleOf(out), handleOf(x), ids, rows.length, x.rows, x.width));
    return out;
  }

  rope(x: Tensor, angles: Tensor, nHeads: number, interleaved: boolean): void {
    const headDim = checkRope(x, angles, nHeads);
    const { rope } = this.#calls;
    this.#device.checked(
      rope(handleOf(x), handleOf(angles), x.rows, nHeads, headDim, angles.width, interleaved ? 1 : 0),
    );
  }

  appendLatent(
    cache: LatentCache,
    layer: number,
    batch: Batch,
    kv: Tensor,
    norm: Vector,
    eps: number,
    angles: Tensor,
    interleaved: boolean,
  ): void {
    checkAppend(cache, layer, batch, kv, norm, angles);
    this.#device.checked(
      this.#calls.append_latent(
        handleOf(cache),
        layer,
        handleOf(batch),
        handleOf(kv),
        handleOf(norm),
        eps,
        handleOf(angles),
        interleaved ? 1 : 0,
      ),
    );
  }

  moveLatents(cache: LatentCache, places: Int32Array, angles: Tensor | null, interleaved: boolean): void {
    checkMove(cache, places, angles);
    if (places.length === 0) return;
    const ints = this.#device.uploadInts(places, places.length);
    const turns = angles === null ? 0 : handleOf(angles);
    const { move_latents } = this.#calls;
    this.#device.checked(
      move_latents(handleOf(cache), ints, places.length / 2, turns, interleaved ? 1 : 0),
    );
  }

  latentAttention(
    cache: LatentCache,
    layer: number,
    batch: Batch,
    query: Tensor,
    kvUp: Weight,
    shape: AttentionShape,
  ): Tensor {
    checkAttention(cache, layer, batch, query, kvUp, shape);
    const { nHeads, qkNopeHeadDim, vHeadDim } = shape;
    const out = this.#device.tensor(query.rows, nHeads * vHeadDim);
    this.#device.checked(
      this.#calls.latent_attention(
        handleOf(out),
        handleOf(cache),
        layer,
        handleOf(batch),
        handleOf(query),
        handleOf(kvUp),
        nHeads,
        qkNopeHeadDim,
        vHeadDim,
        shape.softmaxScale,
      ),
    );
    return out;
  }

  mlp(x: Tensor, w: Experts): Tensor {
    need("mlp", x.width, w.hidden, "inputs");
    const out = this.#device.tensor(x.rows, x.width);
    this.#device.checked(this.#calls.mlp(handleOf(out), handleOf(x), handleOf(w), x.rows));
    return out;
  }

  routeExperts(x: Tensor, gate: Weight, bias: Vector | null, routing: Routing): Routes {
    checkRouting(x, gate, bias, routing);
    const { nExpertsPerToken, nGroups, nGroupsPerToken } = routing;
    const ids = this.#device.stepBuffer(x.rows * nExpertsPerToken);
    const weights = this.#device.stepBuffer(x.rows * nExpertsPerToken);
    this.#device.checked(
      this.#calls.route_experts(
        ids,
        weights,
        handleOf(x),
        handleOf(gate),
        bias ? handleOf(bias) : 0,
        x.rows,
        nExpertsPerToken,
        routing.scoring === "sigmoid" ? 1 : 0,
        nGroups,
        nGroupsPerToken,
        routing.groupScore === "top2" ? 1 : 0,
        routing.normalise ? 1 : 0,
        routing.scale,
      ),
    );
    return { rows: x.rows, nExpertsPerToken, ids, weights } as HeldRoutes;
  }

  experts(x: Tensor, routes: Routes, routed: Experts, shared: Experts | null): Tensor {
    checkExperts(x, routes, routed, shared);
    const { ids, weights } = routes as HeldRoutes;
    const out = this.#device.tensor(x.rows, x.width);
    this.#device.checked(
      this.#calls.experts(
        handleOf(out),
        handleOf(x),
        ids | 0,
        weights | 0,
        handleOf(routed),
        shared ? handleOf(shared) : 0,
        x.rows,
        routes.nExpertsPerToken,
      ),
    );
    return out;
  }

  argmax(x: Tensor): Int32Array {
    const indices = new Int32Array(x.rows);
    const out = this.#device.stepBuffer(x.rows);
    this.#device.checked(this.#calls.argmax(out, handleOf(x), x.rows, x.width));
    this.#device.checked(this.#calls.buffer_read(indices, out, 0, indices.byteLength));
    return indices;
  }
}
