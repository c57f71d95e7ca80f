// simd.h on AVX-512 (F, BW, VL, DQ; VNNI where the compiler is told of it).
#include <immintrin.h>

typedef __m512 f32x16;
typedef __m512i i32x16;

INLINE f32x16 zero16(void) { return _mm512_setzero_ps(); }
INLINE f32x16 splat16(float x) { return _mm512_set1_ps(x); }
INLINE f32x16 load16(const void *from) { return _mm512_loadu_ps(from); }
INLINE void store16(void *to, f32x16 a) { _mm512_storeu_ps(to, a); }
INLINE f32x16 add16(f32x16 a, f32x16 b) { return _mm512_add_ps(a, b); }
INLINE f32x16 sub16(f32x16 a, f32x16 b) { return _mm512_sub_ps(a, b); }
INLINE f32x16 mul16(f32x16 a, f32x16 b) { return _mm512_mul_ps(a, b); }
INLINE f32x16 div16(f32x16 a, f32x16 b) { return _mm512_div_ps(a, b); }
INLINE f32x16 fma16(f32x16 a, f32x16 b, f32x16 c) { return _mm512_fmadd_ps(a, b, c); }
INLINE f32x16 min16(f32x16 a, f32x16 b) { return _mm512_min_ps(a, b); }
INLINE f32x16 max16(f32x16 a, f32x16 b) { return _mm512_max_ps(a, b); }
INLINE f32x16 round16(f32x16 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE f32x16 pow2_scale16(f32x16 a, f32x16 n) { return _mm512_scalef_ps(a, n); }
enum { LANE_PARTS = 1 };
INLINE f32x16 take_part16(int part, f32x16 a, f32x16 b) { return (void)part, (void)b, a; }
INLINE f32x16 blend16(int n, f32x16 a, f32x16 b) { return _mm512_mask_mov_ps(b, (__mmask16)((1u << n) - 1), a); }

// Keeps a value that several instructions read in a register: the compiler must not load it again for each.
INLINE f32x16 in_register16(f32x16 a) {
  __asm__("" : "+v"(a));
  return a;
}
// Sums of a tile (tile.h): what leaves room for its operands in 32 registers.
enum { TILE_ROWS = 6, TILE_COLUMNS = 4, STRIP_COLUMNS = 4, STRIP_WIDTH = 1024 };
// KERNELS.md: the largest single factor of decoding. For one stream, 6 KB is 3 % faster than 4 KB where memory gives
// 65 GB/s and 1 % slower where it gives 45; 12 KB is slower there by 3 %.
enum { PREFETCH_ONE = 6144, PREFETCH_EACH = 2048 };

// The larger of |a| and |b|; as bit patterns, so that infinity and NaN count as the largest.
INLINE f32x16 max_magnitude16(f32x16 a, f32x16 b) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(a), magnitude),
                                              _mm512_and_si512(_mm512_castps_si512(b), magnitude)));
}

INLINE float reduce_add16(f32x16 a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE float reduce_max16(f32x16 a) { return _mm512_reduce_max_ps(a); }
INLINE float reduce_max_magnitude16(f32x16 a) {
  const int32_t bits = _mm512_reduce_max_epi32(_mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff)));
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(bits)));
}

// reduce_add16 of four: the same tree.
INLINE __m128 sums4(f32x16 a, f32x16 b, f32x16 c, f32x16 d) {
  const __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  const __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
  __m512 sums = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
  sums = _mm512_add_ps(sums, _mm512_permute_ps(sums, 0x4e));
  sums = _mm512_add_ps(sums, _mm512_permute_ps(sums, 0xb1));
  return _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, sums));
}
// to[0..3] = or += reduce_add16 of each
INLINE void store_sums4(float *to, f32x16 a, f32x16 b, f32x16 c, f32x16 d) { _mm_storeu_ps(to, sums4(a, b, c, d)); }
INLINE void add_sums4(float *to, f32x16 a, f32x16 b, f32x16 c, f32x16 d) {
  _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), sums4(a, b, c, d)));
}

INLINE f32x16 load16_bf16(const void *from) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(from)), 16));
}
INLINE f32x16 load16_f16(const void *from) { return _mm512_cvtph_ps(_mm256_loadu_si256(from)); }
INLINE f32x16 load16_i8(const void *from) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from))); }
INLINE f32x16 fp8_scaled(__m128i codes, f32x16 scale256) {
  // The sign-extended byte, shifted by 7, has e4m3's fields where f16's begin and its sign in bits 15 and 14.
  // Bit 14, f16's top exponent bit, is to be set for the NaN codes alone: where adding one to the other seven
  // bits carries.
  const __m256i half = _mm256_slli_epi16(_mm256_cvtepi8_epi16(codes), 7);
  const __m256i next = _mm256_add_epi16(half, _mm256_set1_epi16(0x80)), top = _mm256_set1_epi16(0x4000);
  return _mm512_mul_ps(_mm512_cvtph_ps(_mm256_ternarylogic_epi32(half, next, top, 0x78)), scale256);
}
INLINE f32x16 load16_fp8_scaled(const void *from, f32x16 scale256) { return fp8_scaled(_mm_loadu_si128(from), scale256); }

// The first `n` (0..15) of sixteen elements, the others zero; nothing past them is touched.
INLINE __mmask16 first_of16(int n) { return (__mmask16)((1u << n) - 1); }
INLINE f32x16 load16_part(const void *from, int n) { return _mm512_maskz_loadu_ps(first_of16(n), from); }
INLINE f32x16 load16_bf16_part(const void *from, int n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_of16(n), from)), 16));
}
INLINE f32x16 load16_f16_part(const void *from, int n) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_of16(n), from)); }
INLINE f32x16 load16_fp8_scaled_part(const void *from, f32x16 scale256, int n) {
  return fp8_scaled(_mm_maskz_loadu_epi8(first_of16(n), from), scale256);
}

INLINE void store16_bf16(void *to, f32x16 a) {
  const __m512i bits = _mm512_castps_si512(a);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
  const __m512i kept = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
  _mm256_storeu_si256(to, _mm512_cvtepi32_epi16(_mm512_srli_epi32(kept, 16)));
}
INLINE void store16_f16(void *to, f32x16 a) {
  _mm256_storeu_si256(to, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
// For values in -128..127.
INLINE void store16_i8(void *to, f32x16 a) { _mm_storeu_si128(to, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a))); }

INLINE f32x16 to_f32x16(i32x16 a) { return _mm512_cvtepi32_ps(a); }

// ---- attention over int8 (absorbed_int8.h)

INLINE f32x16 load16_u8(const void *from) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from))); }

enum { RUN_SUMS = 16 };  // sums of dot_runs16: they leave 16 of the 32 registers

INLINE __m512i four_at(const uint8_t *fours) {
  int32_t four;
  memcpy(&four, fours, 4);
  return _mm512_set1_epi32(four);
}
INLINE void dot_runs16(i32x16 *sums, const int n, const void *lines, const int runs, const uint8_t *fours, size_t of_four_sums,
                       size_t of_line, size_t of_run) {
  i32x16 sum[RUN_SUMS];
  UNROLL for (int i = 0; i < n; i++) sum[i] = sums[i];
  for (int run = 0; run < runs; run++, fours += of_run) {
    const __m512i *from = (const __m512i *)lines + run * 4;
    const __m512i a = _mm512_loadu_si512(from), b = _mm512_loadu_si512(from + 1);
    const __m512i c = _mm512_loadu_si512(from + 2), d = _mm512_loadu_si512(from + 3);
    UNROLL for (int i = 0; i < n; i++) {
      const uint8_t *at = fours + (size_t)(i / 4) * of_four_sums + (size_t)(i % 4) * 4;
#ifdef __AVX512VNNI__
      sum[i] = _mm512_dpbusd_epi32(sum[i], four_at(at), a);
      sum[i] = _mm512_dpbusd_epi32(sum[i], four_at(at + of_line), b);
      sum[i] = _mm512_dpbusd_epi32(sum[i], four_at(at + 2 * of_line), c);
      sum[i] = _mm512_dpbusd_epi32(sum[i], four_at(at + 3 * of_line), d);
#else  // the pairs that maddubs makes are added up in 16 bits; only their sum over a run is widened
      const __m512i ab = _mm512_add_epi16(_mm512_maddubs_epi16(four_at(at), a), _mm512_maddubs_epi16(four_at(at + of_line), b));
      const __m512i cd = _mm512_add_epi16(_mm512_maddubs_epi16(four_at(at + 2 * of_line), c), _mm512_maddubs_epi16(four_at(at + 3 * of_line), d));
      sum[i] = _mm512_add_epi32(sum[i], _mm512_madd_epi16(_mm512_add_epi16(ab, cd), _mm512_set1_epi16(1)));
#endif
    }
  }
  UNROLL for (int i = 0; i < n; i++) sums[i] = sum[i];
}

INLINE void turn_line16(void *to, const void *from) {
  const __m512i four_by_four = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const __m512i turned = _mm512_shuffle_epi8(_mm512_loadu_si512(from), four_by_four);
  _mm512_storeu_si512(to, _mm512_xor_si512(turned, _mm512_set1_epi8((char)0x80)));
}
INLINE void store_fours16(void *to, f32x16 a, f32x16 b, f32x16 c, f32x16 d) {
  const __m512i ab = _mm512_or_si512(_mm512_cvtps_epi32(a), _mm512_slli_epi32(_mm512_cvtps_epi32(b), 8));
  const __m512i cd = _mm512_or_si512(_mm512_slli_epi32(_mm512_cvtps_epi32(c), 16), _mm512_slli_epi32(_mm512_cvtps_epi32(d), 24));
  _mm512_storeu_si512(to, _mm512_or_si512(ab, cd));
}
INLINE i32x16 load16_i32(const void *from) { return _mm512_loadu_si512(from); }
