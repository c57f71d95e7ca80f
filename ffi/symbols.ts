/**
 * Every function of kernels/ops.h: parameters in order, then results other than i32. This one table
 * serves every library under every runtime; `test/ffi/symbols_test.ts` holds it against the header.
 *
 * Only numbers and byte arrays cross. Pointers would need Deno's widest permission and differ between
 * runtimes; a handle is an i32, a size or an offset an f64 (whole, at most 2^53).
 * @module
 */

/** What may cross the border to C. `bytes` is a typed array that the callee sees during the call only. */
export type ParameterType = "i32" | "f32" | "f64" | "bytes";

/** A parameter as it is written down: its name in the header, then its type. */
export type Parameter = `${string}: ${ParameterType}`;

/** Functions of a library: name -> parameters. */
export type SymbolTable = Readonly<Record<string, readonly Parameter[]>>;

/** Results that are no i32, by the function's name. */
export type ResultTable = Readonly<Record<string, "f64" | "void">>;

/** Asked before anything else: a library with another answer is not called again. */
export const handshakeSymbols = {
  abi_version: [],
  build_hash: ["to: bytes", "size: i32"],
} as const satisfies SymbolTable;

/** The functions of kernels/ops.h. */
export const symbols = {
  ...handshakeSymbols,
  last_error: ["to: bytes", "size: i32"],

  isa_best: [],
  isa_has: ["isa: i32"],
  device_open: ["isa: i32", "threads: i32", "arena_bytes: f64"],
  device_close: ["device: i32"],
  device_bytes: ["device: i32", "what: i32"],
  device_exact: ["device: i32", "exact: i32"],
  device_movable: ["device: i32", "bytes: f64"],

  buffer_create: ["device: i32", "bytes: f64"],
  file_map: ["device: i32", "path: bytes", "path_bytes: i32", "file_bytes: f64"],
  handle_free: ["object: i32"],
  buffer_write: ["to: i32", "offset: f64", "from: bytes", "size: f64"],
  buffer_read: ["to: bytes", "from: i32", "offset: f64", "size: f64"],
  step_begin: ["device: i32"],
  step_buffer: ["device: i32", "bytes: f64"],
  step_mark: ["device: i32"],
  step_release: ["device: i32", "mark: f64"],

  weight_create: [
    "data: i32",
    "offset: f64",
    "scale: i32",
    "scale_offset: f64",
    "format: i32",
    "rows: i32",
    "width: i32",
  ],
  weight_pack: ["weight: i32", "format: i32"],
  weight_bytes: ["weight: i32"],
  weight_read: ["to: bytes", "weight: i32", "offset: f64", "size: f64"],
  experts_create: ["device: i32", "n_experts: i32", "hidden: i32", "intermediate: i32"],
  experts_set: ["experts: i32", "expert: i32", "gate: i32", "up: i32", "down: i32"],

  cache_create: [
    "device: i32",
    "dtype: i32",
    "layers: i32",
    "blocks: i32",
    "kv_lora_rank: i32",
    "rope_dim: i32",
  ],
  cache_bytes: ["cache: i32"],
  cache_clear: ["cache: i32", "block: i32"],
  cache_copy: ["cache: i32", "from: i32", "to: i32"],
  cache_read: ["to: bytes", "cache: i32", "block: i32", "size: f64"],
  cache_write: ["cache: i32", "block: i32", "from: bytes", "size: f64"],

  batch_create: ["ints: i32", "n_ints: i32"],

  embed: ["out: i32", "embedding: i32", "tokens: i32", "n_tokens: i32"],
  rms_norm: ["out: i32", "x: i32", "weight: i32", "rows: i32", "width: i32", "eps: f32"],
  add_rms_norm: ["out: i32", "x: i32", "delta: i32", "weight: i32", "rows: i32", "width: i32", "eps: f32"],
  add: ["x: i32", "delta: i32", "rows: i32", "width: i32"],
  linear: ["out: i32", "x: i32", "weight: i32", "rows: i32"],
  gather_rows: ["out: i32", "x: i32", "rows: i32", "n_rows: i32", "x_rows: i32", "width: i32"],
  rope: [
    "x: i32",
    "angles: i32",
    "rows: i32",
    "n_heads: i32",
    "head_dim: i32",
    "rope_dim: i32",
    "interleaved: i32",
  ],
  append_latent: [
    "cache: i32",
    "layer: i32",
    "batch: i32",
    "kv: i32",
    "norm: i32",
    "eps: f32",
    "angles: i32",
    "interleaved: i32",
  ],
  move_latents: ["cache: i32", "places: i32", "n: i32", "angles: i32", "interleaved: i32"],
  latent_attention: [
    "out: i32",
    "cache: i32",
    "layer: i32",
    "batch: i32",
    "query: i32",
    "kv_up: i32",
    "n_heads: i32",
    "nope_dim: i32",
    "v_dim: i32",
    "softmax_scale: f32",
  ],
  mlp: ["out: i32", "x: i32", "experts: i32", "rows: i32"],
  route_experts: [
    "ids: i32",
    "weights: i32",
    "x: i32",
    "gate: i32",
    "bias: i32",
    "rows: i32",
    "n_chosen: i32",
    "scoring: i32",
    "n_groups: i32",
    "n_groups_chosen: i32",
    "group_score: i32",
    "normalise: i32",
    "scale: f32",
  ],
  experts: [
    "out: i32",
    "x: i32",
    "ids: i32",
    "weights: i32",
    "experts: i32",
    "shared: i32",
    "rows: i32",
    "n_chosen: i32",
  ],
  argmax: ["out: i32", "x: i32", "rows: i32", "width: i32"],
  run_ops: ["list: bytes", "size: i32"],

  limit_read: ["buffer: i32"],
  limit_copy: ["buffer: i32"],
  limit_int8: ["device: i32"],
  limit_f32: ["device: i32"],
} as const satisfies SymbolTable;

/** Ops that a list of `run_ops` may name, each by its place here: those of the header in its order. */
export const listedOps = [
  "embed",
  "rms_norm",
  "add_rms_norm",
  "add",
  "linear",
  "gather_rows",
  "rope",
  "append_latent",
  "move_latents",
  "latent_attention",
  "mlp",
  "route_experts",
  "experts",
  "argmax",
] as const satisfies readonly (keyof typeof symbols)[];

/** Those of `symbols` that return a size, as f64. */
export const results: ResultTable = {
  device_bytes: "f64",
  step_mark: "f64",
  weight_bytes: "f64",
  cache_bytes: "f64",
  limit_read: "f64",
  limit_copy: "f64",
  limit_int8: "f64",
  limit_f32: "f64",
};

/** HADAL_ABI of kernels/ops.h: changes with every function there. */
export const abiVersion = 7;

/** A byte array of any element type; its own window of a larger buffer is what the callee sees. */
export type Bytes = Uint8Array | Int32Array | Float32Array;

type Argument<P extends Parameter> = P extends `${string}: bytes` ? Bytes : number;
type Arguments<P extends readonly Parameter[]> = { [I in keyof P]: Argument<P[I]> };

/** The callable functions of a table. */
export type Calls<T extends SymbolTable> = {
  readonly [Name in keyof T]: (...parameters: Arguments<T[Name]>) => number;
};
