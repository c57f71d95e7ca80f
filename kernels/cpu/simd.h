// Sixteen f32 lanes on every instruction set: one AVX-512 register, two of AVX2, four of NEON or SSE. All
// kernels are written against these, so a sum has the same lane structure everywhere, and every instruction
// set with a fused multiply-add gives bit for bit the same results. (Portable x86 rounds fma16 twice.)
//
// A file simd_*.h has, for its instruction set:
//   zero16 splat16 load16 store16 add16 sub16 mul16 div16 fma16 min16 max16 max_magnitude16 round16
//   reduce_add16 store_sums4 add_sums4                   fixed tree: lane i + lane i+8, then 4, 2, 1
//   reduce_max16 reduce_max_magnitude16                  the second counts NaN as the largest
//   load16_bf16 load16_f16 load16_fp8_scaled load16_i8   exact widening; pointers may be unaligned
//   store16_bf16 store16_f16 store16_i8         round to nearest even
//   to_f32x16                                            sums of int8 dot products (line.h)
//   dot_runs16 turn_line16 store_fours16 load16_i32 load16_u8   attention over int8: absorbed_int8.h
//   pow2_scale16                                         a * 2^n, rounded once
//   blend16(n, a, b)                                     lanes 0..n-1 of a (n in 0..16), the others of b
//   take_part16(part, a, b)                              one of LANE_PARTS equal parts of a's lanes, the others of b
// and the enum names of what its registers and its processors suit: tiles (tile.h), and how many bytes ahead streams of
// weights are fetched, one of them (PREFETCH_ONE) or each of several (PREFETCH_EACH).
// min16 and max16 return `b` where either operand is NaN: put the operand whose NaN must survive second.
#ifndef HADAL_SIMD_H
#define HADAL_SIMD_H
#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline, unused))
#ifdef NO_UNROLL
#define UNROLL
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

// What a store to `to` rounds to. A signalling or narrow NaN must not round to infinity.
INLINE uint16_t bf16_from_f32(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if (x != x) return (uint16_t)(bits >> 16 | 0x40);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// From entry 16 - n: n lanes of ones, then zeros.
static const int32_t first_lanes[32] __attribute__((unused)) = {
  -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
};

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#include "simd_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "simd_avx2.h"
#else
#include "simd_128.h"
#endif

INLINE void store16_part(void *to, f32x16 a, int n) {
  float all[16];
  store16(all, a);
  memcpy(to, all, (size_t)n * 4);
}
// The end of a row: its last n values, or sixteen where more are left.
INLINE f32x16 load16_first(const float *from, int32_t n) { return n < 16 ? load16_part(from, n) : load16(from); }
INLINE void store16_first(float *to, f32x16 a, int32_t n) {
  if (n < 16) store16_part(to, a, n);
  else store16(to, a);
}

// fp8 e4m3 (no infinities, 0x7f and 0xff are NaN). load16_fp8_scaled multiplies by scale256 / 256: the
// factor lies in the detour through f16, whose exponent is 8 larger.
INLINE f32x16 load16_fp8(const void *from) { return load16_fp8_scaled(from, splat16(256)); }
INLINE f32x16 load16_fp8_part(const void *from, int n) { return load16_fp8_scaled_part(from, splat16(256), n); }

#if defined(__F16C__)
INLINE float f32_from_f16(uint16_t half) { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half))); }
INLINE uint16_t f16_from_f32(float x) {
  return (uint16_t)_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(x), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
#else
INLINE float f32_from_f16(uint16_t half) {
  uint16_t lanes[16] = {half};
  float wide[16];
  store16(wide, load16_f16(lanes));
  return wide[0];
}
INLINE uint16_t f16_from_f32(float x) {
  uint16_t lanes[16];
  store16_f16(lanes, splat16(x));
  return lanes[0];
}
#endif

// e^x to 1.5 ulp, results below the smallest normal included; exp(0) = 1, exp(-inf) = 0, NaN stays NaN.
// x = n ln 2 + r with |r| <= ln 2 / 2 (ln 2 in two parts), e^r by a minimax polynomial.
INLINE f32x16 exp16(f32x16 x) {
  x = min16(splat16(89), max16(splat16(-104), x)); // e^89 is infinite in f32, e^-104 rounds to zero
  const f32x16 n = round16(mul16(x, splat16(1.44269504f)));
  f32x16 r = fma16(n, splat16(-0.693145752f), x);
  r = fma16(n, splat16(-1.42860677e-6f), r);
  f32x16 p = splat16(1.381459828e-03f);
  p = fma16(p, r, splat16(8.368716898e-03f));
  p = fma16(p, r, splat16(4.166838805e-02f));
  p = fma16(p, r, splat16(1.666652063e-01f));
  p = fma16(p, r, splat16(4.999999345e-01f));
  p = fma16(p, r, splat16(1));
  p = fma16(p, r, splat16(1));
  return pow2_scale16(p, n);
}

// x * sigmoid(x)
INLINE f32x16 silu16(f32x16 x) { return div16(x, add16(splat16(1), exp16(sub16(zero16(), x)))); }

INLINE void prefetch(const void *p) { __builtin_prefetch(p, 0, 3); }
// An end of what the compiler may reorder: it would gather the prefetches of a loop's body, and a burst of them finds
// the buffers full.
INLINE void keep_order(void) { __asm__ volatile("" ::: "memory"); }
#endif
