// simd.h on AVX2 with FMA and F16C, and AVX-VNNI where the compiler is told of it: lanes 0..7 and 8..15.
#include <immintrin.h>

typedef struct { __m256 lo, hi; } f32x16;
typedef struct { __m256i lo, hi; } i32x16;

// An end of what the compiler may reorder: it would add up integers as a tree, of whose leaves most do not fit
// into 16 registers.
INLINE __m256i in_order(__m256i a) {
  __asm__("" : "+x"(a));
  return a;
}

INLINE f32x16 zero16(void) { return (f32x16){_mm256_setzero_ps(), _mm256_setzero_ps()}; }
INLINE f32x16 splat16(float x) { return (f32x16){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
INLINE f32x16 load16(const void *from) { return (f32x16){_mm256_loadu_ps(from), _mm256_loadu_ps((const float *)from + 8)}; }
INLINE void store16(void *to, f32x16 a) { _mm256_storeu_ps(to, a.lo), _mm256_storeu_ps((float *)to + 8, a.hi); }
INLINE f32x16 add16(f32x16 a, f32x16 b) { return (f32x16){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
INLINE f32x16 sub16(f32x16 a, f32x16 b) { return (f32x16){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
INLINE f32x16 mul16(f32x16 a, f32x16 b) { return (f32x16){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
INLINE f32x16 div16(f32x16 a, f32x16 b) { return (f32x16){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
INLINE f32x16 min16(f32x16 a, f32x16 b) { return (f32x16){_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
INLINE f32x16 max16(f32x16 a, f32x16 b) { return (f32x16){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
INLINE f32x16 fma16(f32x16 a, f32x16 b, f32x16 c) {
  return (f32x16){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
INLINE f32x16 round16(f32x16 a) {
  enum { NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
  return (f32x16){_mm256_round_ps(a.lo, NEAREST), _mm256_round_ps(a.hi, NEAREST)};
}

// In two factors, because 2^n alone leaves the range of f32 where the product does not; the first is exact.
INLINE __m256 pow2_scale8(__m256 a, __m256 n) {
  const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1), one = _mm256_set1_epi32(127);
  const __m256i rest = _mm256_sub_epi32(whole, half);
  a = _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, one), 23)));
  return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, one), 23)));
}
INLINE f32x16 pow2_scale16(f32x16 a, f32x16 n) { return (f32x16){pow2_scale8(a.lo, n.lo), pow2_scale8(a.hi, n.hi)}; }

INLINE f32x16 blend16(int n, f32x16 a, f32x16 b) {
  const f32x16 mask = load16(first_lanes + 16 - n);
  return (f32x16){_mm256_blendv_ps(b.lo, a.lo, mask.lo), _mm256_blendv_ps(b.hi, a.hi, mask.hi)};
}

// What is computed of a register of which only half is taken falls to the compiler: so sums of eight lanes at a time leave
// registers for what else a loop needs.
enum { LANE_PARTS = 2 };
INLINE f32x16 take_part16(int part, f32x16 a, f32x16 b) { return part == 0 ? (f32x16){a.lo, b.hi} : (f32x16){b.lo, a.hi}; }
INLINE f32x16 in_register16(f32x16 a) { return a; }  // there are none to spare
// Sums of a tile (tile.h): six times one leaves 4 of the 16 registers, and each activation is used once, from
// memory; three times two is slower.
enum { TILE_ROWS = 6, TILE_COLUMNS = 1, STRIP_COLUMNS = 4, STRIP_WIDTH = INT32_MAX };
// Processors that have no more than AVX2 fetch ahead themselves as soon as they see lines come in order. To ask further
// ahead than they look takes the buffers of L1's misses from them: on Zen 3 one core gets 16.2 GB/s from four streams
// with 2 KB, 18.4 with 512 bytes; from one 15.9 with 4 KB and 17.2 with 1 KB (bf16).
enum { PREFETCH_ONE = 1024, PREFETCH_EACH = 512 };
#define TILE_HALVES   // panel_avx2.h
#define PLAIN_FP8     // fp8_avx2.h
#define PAIRED_BF16   // bf16_strips_avx2.h

// The larger of |a| and |b|; as bit patterns, so that infinity and NaN count as the largest.
INLINE __m256 max_magnitude8(__m256 a, __m256 b) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_and_si256(_mm256_castps_si256(a), magnitude),
                                              _mm256_and_si256(_mm256_castps_si256(b), magnitude)));
}
INLINE f32x16 max_magnitude16(f32x16 a, f32x16 b) {
  return (f32x16){max_magnitude8(a.lo, b.lo), max_magnitude8(a.hi, b.hi)};
}

INLINE float reduce_add16(f32x16 a) {
  const __m256 eight = _mm256_add_ps(a.lo, a.hi);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE float reduce_max16(f32x16 a) {
  const __m256 eight = _mm256_max_ps(a.lo, a.hi);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
INLINE float reduce_max_magnitude16(f32x16 a) {
  const __m256i eight = _mm256_castps_si256(max_magnitude8(a.lo, a.hi));
  const __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_max_epi32(four, _mm_unpackhi_epi64(four, four));
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epi32(two, _mm_srli_epi64(two, 32))));
}

// reduce_add16 of four: the same tree.
INLINE __m128 sums4(f32x16 a, f32x16 b, f32x16 c, f32x16 d) {
  const __m256 a8 = _mm256_add_ps(a.lo, a.hi), b8 = _mm256_add_ps(b.lo, b.hi);
  const __m256 c8 = _mm256_add_ps(c.lo, c.hi), d8 = _mm256_add_ps(d.lo, d.hi);
  const __m256 ab = _mm256_add_ps(_mm256_permute2f128_ps(a8, b8, 0x20), _mm256_permute2f128_ps(a8, b8, 0x31));
  const __m256 cd = _mm256_add_ps(_mm256_permute2f128_ps(c8, d8, 0x20), _mm256_permute2f128_ps(c8, d8, 0x31));
  __m256 sums = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee)); // a a c c, b b d d
  sums = _mm256_add_ps(sums, _mm256_permute_ps(sums, 0xb1));
  const __m128 ac = _mm256_castps256_ps128(sums), bd = _mm256_extractf128_ps(sums, 1);
  return _mm_permute_ps(_mm_shuffle_ps(ac, bd, 0x88) /* a c b d */, 0xd8);
}
// to[0..3] = or += reduce_add16 of each
INLINE void store_sums4(float *to, f32x16 a, f32x16 b, f32x16 c, f32x16 d) { _mm_storeu_ps(to, sums4(a, b, c, d)); }
INLINE void add_sums4(float *to, f32x16 a, f32x16 b, f32x16 c, f32x16 d) {
  _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), sums4(a, b, c, d)));
}

INLINE __m256 load8_bf16(const void *from) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(from)), 16));
}
INLINE f32x16 load16_bf16(const void *from) { return (f32x16){load8_bf16(from), load8_bf16((const uint16_t *)from + 8)}; }
INLINE f32x16 load16_f16(const void *from) {
  const uint16_t *half = from;
  return (f32x16){_mm256_cvtph_ps(_mm_loadu_si128((const void *)half)), _mm256_cvtph_ps(_mm_loadu_si128((const void *)(half + 8)))};
}
INLINE f32x16 load16_i8(const void *from) {
  const __m128i *eight = from, *others = (const __m128i *)((const int8_t *)from + 8);
  return (f32x16){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(eight))),
                  _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(others)))};
}
INLINE f32x16 load16_fp8_scaled(const void *from, f32x16 scale256) {
  // The sign-extended byte, shifted by 7, has e4m3's fields where f16's begin and its sign in bits 15 and 14.
  // Bit 14, f16's top exponent bit, is to be set for the NaN codes alone: where adding one to the other seven
  // bits carries.
  __m256i half = _mm256_slli_epi16(_mm256_cvtepi8_epi16(_mm_loadu_si128(from)), 7);
  const __m256i next = _mm256_add_epi16(half, _mm256_set1_epi16(0x80));
  half = _mm256_xor_si256(half, _mm256_and_si256(next, _mm256_set1_epi16(0x4000)));
  return mul16((f32x16){_mm256_cvtph_ps(_mm256_castsi256_si128(half)), _mm256_cvtph_ps(_mm256_extracti128_si256(half, 1))}, scale256);
}

// The first `n` (0..15) of sixteen elements, the others zero; nothing past them is touched.
INLINE f32x16 load16_part(const void *from, int n) {
  const __m256i *mask = (const __m256i *)(first_lanes + 16 - n);
  const float *f = from;
  return (f32x16){_mm256_maskload_ps(f, _mm256_loadu_si256(mask)), _mm256_maskload_ps(f + 8, _mm256_loadu_si256(mask + 1))};
}
INLINE f32x16 load16_bf16_part(const void *from, int n) {
  uint16_t padded[16] = {0};
  memcpy(padded, from, (size_t)n * 2);
  return load16_bf16(padded);
}
INLINE f32x16 load16_f16_part(const void *from, int n) {
  uint16_t padded[16] = {0};
  memcpy(padded, from, (size_t)n * 2);
  return load16_f16(padded);
}
INLINE f32x16 load16_fp8_scaled_part(const void *from, f32x16 scale256, int n) {
  uint8_t padded[16] = {0};
  memcpy(padded, from, (size_t)n);
  return load16_fp8_scaled(padded, scale256);
}

INLINE __m256i round8_bf16(__m256 a) {
  const __m256i bits = _mm256_castps_si256(a), odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i kept = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, kept, nan), 16);
}
INLINE void store16_bf16(void *to, f32x16 a) {
  const __m256i pairs = _mm256_packus_epi32(round8_bf16(a.lo), round8_bf16(a.hi));
  _mm256_storeu_si256(to, _mm256_permute4x64_epi64(pairs, 0xd8));
}
INLINE void store16_f16(void *to, f32x16 a) {
  enum { NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
  _mm_storeu_si128(to, _mm256_cvtps_ph(a.lo, NEAREST));
  _mm_storeu_si128((__m128i *)to + 1, _mm256_cvtps_ph(a.hi, NEAREST));
}
// For values in -128..127.
INLINE void store16_i8(void *to, f32x16 a) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)), 0xd8);
  _mm_storeu_si128(to, _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
// Of 32 values in -128..127, in order.
#define GROUP_BYTES
INLINE __m256i group_bytes(f32x16 low, f32x16 high) {
  const __m256i a = _mm256_packs_epi32(_mm256_cvtps_epi32(low.lo), _mm256_cvtps_epi32(low.hi));
  const __m256i b = _mm256_packs_epi32(_mm256_cvtps_epi32(high.lo), _mm256_cvtps_epi32(high.hi));
  return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

INLINE f32x16 to_f32x16(i32x16 a) { return (f32x16){_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }

// ---- attention over int8 (absorbed_int8.h)

INLINE f32x16 load16_u8(const void *from) {
  const __m128i bytes = _mm_loadu_si128(from);
  return (f32x16){_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
                  _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)))};
}

enum { RUN_SUMS = 8 };  // of dot_runs16

INLINE __m256i four_at(const uint8_t *fours) {
  int32_t four;
  memcpy(&four, fours, 4);
  return _mm256_set1_epi32(four);
}
#ifdef __AVXVNNI__
// 8 sums, 4 lines and 4 others fill the 16 registers, one half of the lanes at a time.
INLINE void dot_runs16(i32x16 *sums, const int n, const void *lines, const int runs, const uint8_t *fours, size_t of_four_sums,
                       size_t of_line, size_t of_run) {
  UNROLL for (int half = 0; half < 2; half++) {
    __m256i sum[RUN_SUMS];
    UNROLL for (int i = 0; i < n; i++) sum[i] = half ? sums[i].hi : sums[i].lo;
    for (int run = 0; run < runs; run++) {
      const __m256i *from = (const __m256i *)lines + run * 8 + half;
      const __m256i a = _mm256_loadu_si256(from), b = _mm256_loadu_si256(from + 2), c = _mm256_loadu_si256(from + 4);
      const __m256i d = _mm256_loadu_si256(from + 6);
      UNROLL for (int i = 0; i < n; i++) {
        const uint8_t *at = fours + (size_t)run * of_run + (size_t)(i / 4) * of_four_sums + (size_t)(i % 4) * 4;
        sum[i] = _mm256_dpbusd_avx_epi32(sum[i], four_at(at), a);
        sum[i] = _mm256_dpbusd_avx_epi32(sum[i], four_at(at + of_line), b);
        sum[i] = _mm256_dpbusd_avx_epi32(sum[i], four_at(at + 2 * of_line), c);
        sum[i] = _mm256_dpbusd_avx_epi32(sum[i], four_at(at + 3 * of_line), d);
      }
    }
    UNROLL for (int i = 0; i < n; i++) *(half ? &sums[i].hi : &sums[i].lo) = sum[i];
  }
}
#else
// A run's lines stay in 8 registers, so that fours are loaded once for both halves; the sums wait in memory. The pairs that
// maddubs makes are added up in 16 bits, and only their sum over a run is widened.
INLINE void dot_runs16(i32x16 *sums, const int n, const void *lines, const int runs, const uint8_t *fours, size_t of_four_sums,
                       size_t of_line, size_t of_run) {
  const __m256i one = _mm256_set1_epi16(1);
  for (int run = 0; run < runs; run++, fours += of_run) {
    __m256i lo[4], hi[4];
    UNROLL for (int line = 0; line < 4; line++) {
      lo[line] = in_order(_mm256_loadu_si256((const __m256i *)lines + run * 8 + line * 2));
      hi[line] = in_order(_mm256_loadu_si256((const __m256i *)lines + run * 8 + line * 2 + 1));
    }
    UNROLL for (int i = 0; i < n; i++) {
      const uint8_t *at = fours + (size_t)(i / 4) * of_four_sums + (size_t)(i % 4) * 4;
      __m256i low = _mm256_maddubs_epi16(four_at(at), lo[0]), high = _mm256_maddubs_epi16(four_at(at), hi[0]);
      UNROLL for (int line = 1; line < 4; line++) {
        const __m256i four = four_at(at + (size_t)line * of_line);
        low = in_order(_mm256_add_epi16(low, _mm256_maddubs_epi16(four, lo[line])));
        high = in_order(_mm256_add_epi16(high, _mm256_maddubs_epi16(four, hi[line])));
      }
      sums[i].lo = _mm256_add_epi32(sums[i].lo, _mm256_madd_epi16(low, one));
      sums[i].hi = _mm256_add_epi32(sums[i].hi, _mm256_madd_epi16(high, one));
    }
  }
}
#endif

INLINE __m256i four_by_four(void) {  // transposes 4 x 4 bytes in each half
  return _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}
INLINE void turn_line16(void *to, const void *from) {
  const __m256i *line = from, bias = _mm256_set1_epi8((char)0x80);
  UNROLL for (int half = 0; half < 2; half++) {
    const __m256i turned = _mm256_shuffle_epi8(_mm256_loadu_si256(line + half), four_by_four());
    _mm256_storeu_si256((__m256i *)to + half, _mm256_xor_si256(turned, bias));
  }
}
INLINE void store_fours16(void *to, f32x16 a, f32x16 b, f32x16 c, f32x16 d) {
  const __m256i ab = _mm256_packs_epi32(_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(b.lo));
  const __m256i cd = _mm256_packs_epi32(_mm256_cvtps_epi32(c.lo), _mm256_cvtps_epi32(d.lo));
  const __m256i ef = _mm256_packs_epi32(_mm256_cvtps_epi32(a.hi), _mm256_cvtps_epi32(b.hi));
  const __m256i gh = _mm256_packs_epi32(_mm256_cvtps_epi32(c.hi), _mm256_cvtps_epi32(d.hi));
  _mm256_storeu_si256(to, _mm256_shuffle_epi8(_mm256_packus_epi16(ab, cd), four_by_four()));
  _mm256_storeu_si256((__m256i *)to + 1, _mm256_shuffle_epi8(_mm256_packus_epi16(ef, gh), four_by_four()));
}
INLINE i32x16 load16_i32(const void *from) {
  return (i32x16){_mm256_loadu_si256(from), _mm256_loadu_si256((const __m256i *)from + 1)};
}
