// The instructions of AVX-512 (F, BW, VL, DQ), AVX-512 VNNI and AVX-VNNI that the kernels use, in those of AVX2: so
// kernels of these sets run on a processor that lacks them (emulate.ts). Each half of a register is what AVX2
// makes of it; what AVX2 has no word for goes lane by lane, as Intel's manual defines it.
//
// The compiler includes this before the sources; EMULATE_<flag> stands for its flag -m<flag>.
#define _GNU_SOURCE  // as the sources want it, before any header
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#pragma GCC diagnostic ignored "-Wpsabi"  // no register of 64 bytes crosses the border of a function that is not inlined
#define EMULATED static inline __attribute__((always_inline, unused))

typedef union {
  __m512 ps;
  __m512i si;
  __m256 half_ps[2];
  __m256i half[2];
  __m128 part_ps[4];
  __m128i part[4];
  float f[16];
  int32_t i[16];
  int8_t byte[64];
} register512;

// ---- the same instruction twice

#define TWICE_PS(op)                                              \
  EMULATED __m512 our_##op(__m512 a, __m512 b) {                  \
    register512 x = {.ps = a}, y = {.ps = b};                     \
    for (int h = 0; h < 2; h++) x.half_ps[h] = _mm256_##op(x.half_ps[h], y.half_ps[h]); \
    return x.ps;                                                  \
  }
#define TWICE_SI(op, half_op)                                        \
  EMULATED __m512i our_##op(__m512i a, __m512i b) {               \
    register512 x = {.si = a}, y = {.si = b};                     \
    for (int h = 0; h < 2; h++) x.half[h] = _mm256_##half_op(x.half[h], y.half[h]); \
    return x.si;                                                  \
  }
#define TWICE_SHIFT(op)                                           \
  EMULATED __m512i our_##op(__m512i a, unsigned n) {              \
    register512 x = {.si = a};                                    \
    for (int h = 0; h < 2; h++) x.half[h] = _mm256_##op(x.half[h], (int)n); \
    return x.si;                                                  \
  }
TWICE_PS(add_ps) TWICE_PS(sub_ps) TWICE_PS(mul_ps) TWICE_PS(div_ps) TWICE_PS(min_ps) TWICE_PS(max_ps)
TWICE_SI(add_epi16, add_epi16) TWICE_SI(add_epi32, add_epi32) TWICE_SI(sub_epi32, sub_epi32) TWICE_SI(sub_epi8, sub_epi8)
TWICE_SI(and_si512, and_si256) TWICE_SI(or_si512, or_si256) TWICE_SI(xor_si512, xor_si256)
TWICE_SI(madd_epi16, madd_epi16) TWICE_SI(maddubs_epi16, maddubs_epi16) TWICE_SI(max_epi32, max_epi32)
TWICE_SI(shuffle_epi8, shuffle_epi8)
TWICE_SHIFT(slli_epi32) TWICE_SHIFT(srli_epi32) TWICE_SHIFT(srli_epi16)
#define HALVES(member, a, b) ((register512){.member = {a, b}})
EMULATED __m512 our_fmadd_ps(__m512 a, __m512 b, __m512 c) {
  register512 x = {.ps = a}, y = {.ps = b}, z = {.ps = c};
  for (int h = 0; h < 2; h++) x.half_ps[h] = _mm256_fmadd_ps(x.half_ps[h], y.half_ps[h], z.half_ps[h]);
  return x.ps;
}
EMULATED __m512i our_abs_epi8(__m512i a) {
  register512 x = {.si = a};
  return HALVES(half, _mm256_abs_epi8(x.half[0]), _mm256_abs_epi8(x.half[1])).si;
}
EMULATED __m512 our_cvtepi32_ps(__m512i a) {
  register512 x = {.si = a};
  return HALVES(half_ps, _mm256_cvtepi32_ps(x.half[0]), _mm256_cvtepi32_ps(x.half[1])).ps;
}
EMULATED __m512i our_cvtps_epi32(__m512 a) {
  register512 x = {.ps = a};
  return HALVES(half, _mm256_cvtps_epi32(x.half_ps[0]), _mm256_cvtps_epi32(x.half_ps[1])).si;
}
EMULATED __m512i our_cvtepi8_epi32(__m128i a) { return HALVES(half, _mm256_cvtepi8_epi32(a), _mm256_cvtepi8_epi32(_mm_srli_si128(a, 8))).si; }
EMULATED __m512i our_cvtepu8_epi32(__m128i a) { return HALVES(half, _mm256_cvtepu8_epi32(a), _mm256_cvtepu8_epi32(_mm_srli_si128(a, 8))).si; }
EMULATED __m512i our_cvtepu16_epi32(__m256i a) {
  return HALVES(half, _mm256_cvtepu16_epi32(_mm256_castsi256_si128(a)), _mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1))).si;
}
EMULATED __m512 our_cvtph_ps(__m256i a) {
  return HALVES(half_ps, _mm256_cvtph_ps(_mm256_castsi256_si128(a)), _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1))).ps;
}
EMULATED __m256i our_cvtps_ph(__m512 a, int rounding) {
  (void)rounding;  // to the nearest
  register512 x = {.ps = a};
  return _mm256_set_m128i(_mm256_cvtps_ph(x.half_ps[1], _MM_FROUND_TO_NEAREST_INT), _mm256_cvtps_ph(x.half_ps[0], _MM_FROUND_TO_NEAREST_INT));
}
EMULATED __m512 our_roundscale_ps(__m512 a, int rounding) {
  (void)rounding;  // to the nearest whole number
  register512 x = {.ps = a};
  return HALVES(half_ps, _mm256_round_ps(x.half_ps[0], _MM_FROUND_TO_NEAREST_INT), _mm256_round_ps(x.half_ps[1], _MM_FROUND_TO_NEAREST_INT)).ps;
}
EMULATED __m512 our_set1_ps(float x) { return HALVES(half_ps, _mm256_set1_ps(x), _mm256_set1_ps(x)).ps; }
EMULATED __m512i our_set1_epi32(int32_t x) { return HALVES(half, _mm256_set1_epi32(x), _mm256_set1_epi32(x)).si; }
EMULATED __m512i our_set1_epi16(int16_t x) { return HALVES(half, _mm256_set1_epi16(x), _mm256_set1_epi16(x)).si; }
EMULATED __m512i our_set1_epi8(char x) { return HALVES(half, _mm256_set1_epi8(x), _mm256_set1_epi8(x)).si; }
EMULATED __m512 our_setzero_ps(void) { return our_set1_ps(0); }
EMULATED __m512i our_setzero_si512(void) { return our_set1_epi32(0); }
EMULATED __m512i our_broadcast_i32x4(__m128i a) { return (register512){.part = {a, a, a, a}}.si; }

// ---- loads and stores

EMULATED __m512i our_loadu_si512(const void *from) {
  register512 x;
  memcpy(&x, from, 64);
  return x.si;
}
EMULATED __m512 our_loadu_ps(const void *from) {
  register512 x;
  memcpy(&x, from, 64);
  return x.ps;
}
EMULATED void our_storeu_si512(void *to, __m512i a) { memcpy(to, &a, 64); }
EMULATED void our_storeu_ps(void *to, __m512 a) { memcpy(to, &a, 64); }
// What the mask leaves out is not touched.
#define MASKED(type, n, size)                                                        \
  type x;                                                                            \
  memset(&x, 0, sizeof x);                                                           \
  for (int i = 0; i < n; i++)                                                        \
    if (mask >> i & 1) memcpy((char *)&x + size * i, (const char *)from + size * i, size); \
  return x;
EMULATED __m512 our_maskz_loadu_ps(__mmask16 mask, const void *from) { MASKED(__m512, 16, 4) }
EMULATED __m256i our_maskz_loadu_epi16(__mmask16 mask, const void *from) { MASKED(__m256i, 16, 2) }
EMULATED __m128i our_maskz_loadu_epi8(__mmask16 mask, const void *from) { MASKED(__m128i, 16, 1) }

// ---- lane by lane

#define FOR16 for (int i = 0; i < 16; i++)
EMULATED __m512 our_scalef_ps(__m512 a, __m512 n) {
  register512 x = {.ps = a}, y = {.ps = n};
  FOR16 x.f[i] = isnan(x.f[i]) ? x.f[i] : isnan(y.f[i]) ? y.f[i] : ldexpf(x.f[i], (int)floorf(fminf(fmaxf(y.f[i], -1000), 1000)));
  return x.ps;
}
EMULATED __m512 our_mask_mov_ps(__m512 otherwise, __mmask16 mask, __m512 a) {
  register512 x = {.ps = otherwise}, y = {.ps = a};
  FOR16 x.i[i] = mask >> i & 1 ? y.i[i] : x.i[i];
  return x.ps;
}
EMULATED __m512i our_mask_or_epi32(__m512i otherwise, __mmask16 mask, __m512i a, __m512i b) {
  register512 x = {.si = otherwise}, y = {.si = our_or_si512(a, b)};
  FOR16 x.i[i] = mask >> i & 1 ? y.i[i] : x.i[i];
  return x.si;
}
EMULATED __m512i our_mask_sub_epi8(__m512i otherwise, __mmask64 mask, __m512i a, __m512i b) {
  register512 x = {.si = otherwise}, y = {.si = our_sub_epi8(a, b)};
  for (int i = 0; i < 64; i++) x.byte[i] = mask >> i & 1 ? y.byte[i] : x.byte[i];
  return x.si;
}
EMULATED __m512 our_maskz_compress_ps(__mmask16 mask, __m512 a) {
  register512 x = {.ps = a}, y = {.f = {0}};
  int to = 0;
  FOR16 if (mask >> i & 1) y.i[to++] = x.i[i];
  return y.ps;
}
EMULATED __mmask16 our_cmp_ps_mask(__m512 a, __m512 b, int predicate) {
  register512 x = {.ps = a}, y = {.ps = b};
  unsigned mask = 0;
  if (predicate != _CMP_UNORD_Q) __builtin_trap();
  FOR16 mask |= (unsigned)(isnan(x.f[i]) || isnan(y.f[i])) << i;
  return (__mmask16)mask;
}
EMULATED __mmask64 our_movepi8_mask(__m512i a) {
  register512 x = {.si = a};
  return (uint32_t)_mm256_movemask_epi8(x.half[0]) | (uint64_t)(uint32_t)_mm256_movemask_epi8(x.half[1]) << 32;
}
EMULATED __m256i our_cvtepi32_epi16(__m512i a) {  // the low half of each: no saturation
  register512 x = {.si = a}, y;
  FOR16 memcpy(y.byte + 2 * i, x.i + i, 2);
  return y.half[0];
}
EMULATED __m128i our_cvtepi32_epi8(__m512i a) {
  register512 x = {.si = a}, y;
  FOR16 y.byte[i] = (int8_t)x.i[i];
  return y.part[0];
}
EMULATED __m512 our_shuffle_f32x4(__m512 a, __m512 b, int which) {
  register512 x = {.ps = a}, y = {.ps = b};
  return (register512){.part_ps = {x.part_ps[which & 3], x.part_ps[which >> 2 & 3], y.part_ps[which >> 4 & 3], y.part_ps[which >> 6 & 3]}}.ps;
}
EMULATED __m512 our_permute_ps(__m512 a, int which) {
  register512 x = {.ps = a}, y;
  FOR16 y.i[i] = x.i[i / 4 * 4 + (which >> i % 4 * 2 & 3)];
  return y.ps;
}
EMULATED __m256 our_extractf32x8_ps(__m512 a, int which) { return (register512){.ps = a}.half_ps[which]; }
EMULATED __m256i our_ternarylogic_epi32(__m256i a, __m256i b, __m256i c, int table) {
  __m256i result = _mm256_setzero_si256();
  for (int row = 0; row < 8; row++) {
    if (!(table >> row & 1)) continue;
    const __m256i ones = _mm256_set1_epi32(-1);
    const __m256i x = row & 4 ? a : _mm256_xor_si256(a, ones), y = row & 2 ? b : _mm256_xor_si256(b, ones);
    result = _mm256_or_si256(result, _mm256_and_si256(_mm256_and_si256(x, y), row & 1 ? c : _mm256_xor_si256(c, ones)));
  }
  return result;
}
EMULATED int32_t our_reduce_max_epi32(__m512i a) {
  register512 x = {.si = a};
  int32_t most = x.i[0];
  FOR16 most = most > x.i[i] ? most : x.i[i];
  return most;
}
EMULATED float our_reduce_max_ps(__m512 a) {  // the compilers' tree
  register512 x = {.ps = a};
  const __m256 eight = _mm256_max_ps(x.half_ps[0], x.half_ps[1]);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// ---- dot products: unsigned bytes of `a`, signed ones of `b`

EMULATED __m256i our_dpbusd256(__m256i sum, __m256i a, __m256i b) {
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(a, _mm256_set1_epi16(255)), _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
  return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}
EMULATED __m512i our_dpbusd_epi32(__m512i sum, __m512i a, __m512i b) {
  register512 s = {.si = sum}, x = {.si = a}, y = {.si = b};
  return HALVES(half, our_dpbusd256(s.half[0], x.half[0], y.half[0]), our_dpbusd256(s.half[1], x.half[1], y.half[1])).si;
}

// ---- instead of the compiler's

#undef _mm512_roundscale_ps
#undef _mm512_shuffle_f32x4
#undef _mm512_permute_ps
#undef _mm512_extractf32x8_ps
#undef _mm512_cvtps_ph
#undef _mm512_cmp_ps_mask
#undef _mm256_ternarylogic_epi32
#define _mm512_add_ps our_add_ps
#define _mm512_sub_ps our_sub_ps
#define _mm512_mul_ps our_mul_ps
#define _mm512_div_ps our_div_ps
#define _mm512_min_ps our_min_ps
#define _mm512_max_ps our_max_ps
#define _mm512_add_epi16 our_add_epi16
#define _mm512_add_epi32 our_add_epi32
#define _mm512_sub_epi32 our_sub_epi32
#define _mm512_sub_epi8 our_sub_epi8
#define _mm512_and_si512 our_and_si512
#define _mm512_or_si512 our_or_si512
#define _mm512_xor_si512 our_xor_si512
#define _mm512_madd_epi16 our_madd_epi16
#define _mm512_maddubs_epi16 our_maddubs_epi16
#define _mm512_max_epi32 our_max_epi32
#define _mm512_shuffle_epi8 our_shuffle_epi8
#define _mm512_slli_epi32 our_slli_epi32
#define _mm512_srli_epi32 our_srli_epi32
#define _mm512_srli_epi16 our_srli_epi16
#define _mm512_fmadd_ps our_fmadd_ps
#define _mm512_abs_epi8 our_abs_epi8
#define _mm512_cvtepi32_ps our_cvtepi32_ps
#define _mm512_cvtps_epi32 our_cvtps_epi32
#define _mm512_cvtepi8_epi32 our_cvtepi8_epi32
#define _mm512_cvtepu8_epi32 our_cvtepu8_epi32
#define _mm512_cvtepu16_epi32 our_cvtepu16_epi32
#define _mm512_cvtph_ps our_cvtph_ps
#define _mm512_cvtps_ph our_cvtps_ph
#define _mm512_roundscale_ps our_roundscale_ps
#define _mm512_set1_ps our_set1_ps
#define _mm512_set1_epi32 our_set1_epi32
#define _mm512_set1_epi16 our_set1_epi16
#define _mm512_set1_epi8 our_set1_epi8
#define _mm512_setzero_ps our_setzero_ps
#define _mm512_setzero_si512 our_setzero_si512
#define _mm512_broadcast_i32x4 our_broadcast_i32x4
#define _mm512_loadu_si512 our_loadu_si512
#define _mm512_loadu_ps our_loadu_ps
#define _mm512_storeu_si512 our_storeu_si512
#define _mm512_storeu_ps our_storeu_ps
#define _mm512_maskz_loadu_ps our_maskz_loadu_ps
#define _mm256_maskz_loadu_epi16 our_maskz_loadu_epi16
#define _mm_maskz_loadu_epi8 our_maskz_loadu_epi8
#define _mm512_scalef_ps our_scalef_ps
#define _mm512_mask_mov_ps our_mask_mov_ps
#define _mm512_mask_or_epi32 our_mask_or_epi32
#define _mm512_mask_sub_epi8 our_mask_sub_epi8
#define _mm512_maskz_compress_ps our_maskz_compress_ps
#define _mm512_cmp_ps_mask our_cmp_ps_mask
#define _mm512_movepi8_mask our_movepi8_mask
#define _mm512_cvtepi32_epi16 our_cvtepi32_epi16
#define _mm512_cvtepi32_epi8 our_cvtepi32_epi8
#define _mm512_shuffle_f32x4 our_shuffle_f32x4
#define _mm512_permute_ps our_permute_ps
#define _mm512_extractf32x8_ps our_extractf32x8_ps
#define _mm256_ternarylogic_epi32 our_ternarylogic_epi32
#define _mm512_reduce_max_epi32 our_reduce_max_epi32
#define _mm512_reduce_max_ps our_reduce_max_ps
#define _mm256_dpbusd_avx_epi32 our_dpbusd256
#define _mm512_dpbusd_epi32 our_dpbusd_epi32
#define _mm512_castps512_ps256(a) ((register512){.ps = (a)}.half_ps[0])
#define _mm512_castps512_ps128(a) ((register512){.ps = (a)}.part_ps[0])
#define _mm512_castps_si512(a) ((register512){.ps = (a)}.si)
#define _mm512_castsi512_ps(a) ((register512){.si = (a)}.ps)

// ---- what the kernels ask for

#ifdef EMULATE_avxvnni
#define __AVXVNNI__ 1
#endif
#ifdef EMULATE_avx512f
#define __AVX512F__ 1
#define __AVX512BW__ 1
#define __AVX512VL__ 1
#define __AVX512DQ__ 1
// Kernels of AVX-512 have no assembly but hints on registers that are not there: __asm__("…"), __asm__ volatile("…").
#define __asm__(...)
#define volatile(...) ("")
#endif
#ifdef EMULATE_avx512vnni
#define __AVX512VNNI__ 1
#endif
