/**
 * Number types of stored tensors, and the weight formats that backends compute with.
 * @module
 */

/** Number types of the safetensors format, with the bits of one element. */
export const dtypeBits = {
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

/** A number type of the safetensors format. */
export type Dtype = keyof typeof dtypeBits;

/**
 * How a matrix of weights lies in memory.
 * - `f32`, `bf16`, `f16`: row-major, as a checkpoint stores them.
 * - `fp8`: e4m3, row-major, with an f32 factor for each 128x128 block (DeepSeek-V3 report, §3.3).
 * - `int8`, `int4`, `int4a`, `int3`, `nf4`: hadal's T16 layout: 16 rows interleaved, groups of 32 along a
 *   row, an f16 scale a group. `int4a` (asymmetric) has an f16 minimum too, `nf4` 16 levels that suit
 *   normally distributed weights (arXiv:2305.14314).
 * - `q8_0`, `q4_0`, `q5_0`, `q5_1`, `q4_k`, `q5_k`, `q6_k`: blocks of GGUF files, which matrices are found in
 *   and never made in.
 */
export type WeightFormat = OwnFormat | "q8_0" | "q4_0" | "q5_0" | "q5_1" | "q4_k" | "q5_k" | "q6_k";

/** The formats that a matrix can be made in, or is stored in. */
export type OwnFormat = "f32" | "bf16" | "f16" | "fp8" | "int8" | "int4" | "int4a" | "int3" | "nf4";

/** Number type of the latent cache; `int8` keeps an f32 scale for each 64 values. */
export type CacheDtype = "f32" | "bf16" | "f16" | "int8";

/** Side of the square block that shares one fp8 factor. */
export const fp8Block = 128;
