// One activation row with strips of weight rows in bf16, on AVX2: the sums of tile.h, bit for bit, in two thirds of
// the instructions, for rows that caches hold, where those are what a core waits for.
//
// Of two codes side by side, as 32 bits, one becomes f32 by a shift and the other by a mask, where each by itself takes
// a shuffle and a shift. So the even values of sixteen meet in one register and the odd ones in the other, and the
// activations are laid out alike first.
#ifndef HADAL_BF16_STRIPS_AVX2_H
#define HADAL_BF16_STRIPS_AVX2_H
#include "tile.h"

typedef struct { __m256 even, odd; } paired;

// Of each sixteen values of x the even ones, then the odd ones.
INLINE void pair_row(float *to, const float *x, int width) {
  for (int k = 0; k < width; k += 16) {
    const f32x16 v = load16(x + k);
    const __m256d even = _mm256_castps_pd(_mm256_shuffle_ps(v.lo, v.hi, 0x88)), odd = _mm256_castps_pd(_mm256_shuffle_ps(v.lo, v.hi, 0xdd));
    _mm256_storeu_pd((double *)(to + k), _mm256_permute4x64_pd(even, 0xd8));
    _mm256_storeu_pd((double *)(to + k + 8), _mm256_permute4x64_pd(odd, 0xd8));
  }
}

INLINE void add_paired(paired *sum, const uint8_t *from, __m256 even, __m256 odd) {
  const __m256i codes = _mm256_loadu_si256((const __m256i *)from);
  sum->even = _mm256_fmadd_ps(even, _mm256_castsi256_ps(_mm256_slli_epi32(codes, 16)), sum->even);
  sum->odd = _mm256_fmadd_ps(odd, _mm256_castsi256_ps(_mm256_and_si256(codes, _mm256_set1_epi32((int32_t)0xffff0000))), sum->odd);
}

// reduce_add16 of four: lane i meets lane i + 8, then i + 4, i + 2 and i + 1.
INLINE __m128 sums4_paired(const paired *sum) {
  __m256 four[4];
  UNROLL for (int c = 0; c < 4; c++)
    four[c] = _mm256_add_ps(_mm256_permute2f128_ps(sum[c].even, sum[c].odd, 0x20), _mm256_permute2f128_ps(sum[c].even, sum[c].odd, 0x31));
  const __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(four[0], four[1]), _mm256_unpackhi_ps(four[0], four[1]));
  const __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(four[2], four[3]), _mm256_unpackhi_ps(four[2], four[3]));
  const __m256 two = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
  return _mm_add_ps(_mm256_castps256_ps128(two), _mm256_extractf128_ps(two, 1));
}

enum { PAIRED_STEP = 32 };  // a line
INLINE bool has_paired_strips(const weight *w) { return w->format == BF16 && w->width <= K_BLOCK && w->width % PAIRED_STEP == 0; }

// multiply_strips of rows for which has_paired_strips.
static __attribute__((noinline)) void multiply_paired_strips(float *out, const float *x, const weight *w, int32_t first, int32_t n_strips) {
  float pairs[K_BLOCK] __attribute__((aligned(LINE)));
  const int width = w->width;
  const size_t row_bytes = (size_t)width * 2, apart = (size_t)n_strips * row_bytes;
  pair_row(pairs, x, width);
  const uint8_t *row = w->data + (size_t)first * row_bytes;
  for (int32_t i = 0; i < n_strips; i++) {
    paired sum[STRIP_COLUMNS];
    UNROLL for (int c = 0; c < STRIP_COLUMNS; c++) sum[c] = (paired){_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (int k = 0; k < width; k += PAIRED_STEP, row += LINE) {
      UNROLL for (int half = 0; half < PAIRED_STEP; half += 16) {
        const __m256 even = _mm256_load_ps(pairs + k + half), odd = _mm256_load_ps(pairs + k + half + 8);
        UNROLL for (int c = 0; c < STRIP_COLUMNS; c++) add_paired(sum + c, row + (size_t)c * apart + 2 * half, even, odd);
        UNROLL for (int c = half / 8; c < half / 8 + 2; c++) prefetch(row + (size_t)c * apart + PREFETCH_EACH);
      }
    }
    float each[STRIP_COLUMNS];
    _mm_storeu_ps(each, sums4_paired(sum));
    UNROLL for (int c = 0; c < STRIP_COLUMNS; c++) out[i + c * n_strips] = each[c];
  }
}
#endif
