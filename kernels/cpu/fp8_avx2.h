// A few activation rows with weights in fp8, on AVX2: the bits of tile.h, whose way by f16 takes a core more time than
// memory does.
//
// A code s eeee mmm, laid where bf16 has its sign and the lower bits of its exponent and mantissa, is its value times
// 2^-120; where it is subnormal, that is so in f32 too. The product with the scale, which is rounded anyway, brings the
// 2^120 back. What is not so plain is left to tile.h: codes of NaN, which come out as numbers; scales that have no room
// for 2^120; widths that end within a line. A subnormal product costs a processor some ten cycles, but of a model's
// codes one in ten thousand is.
//
// One multiplication makes 16 codes 16-bit numbers where bf16 has them, in two more instructions a half of them are f32:
// if those with even and with odd places may part. So activations are turned to the order in which weights come.
#ifndef HADAL_FP8_AVX2_H
#define HADAL_FP8_AVX2_H
#include "tile.h"

// Of each sixteen values 4i + j goes to 4j + i.
INLINE void turn_row(float *to, const float *from, int32_t width) {
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  for (int32_t k = 0; k < width; k += 16) {
    const f32x16 x = load16(from + k);
    store16(to + k, (f32x16){_mm256_permutevar8x32_ps(_mm256_unpacklo_ps(x.lo, x.hi), order),
                             _mm256_permutevar8x32_ps(_mm256_unpackhi_ps(x.lo, x.hi), order)});
  }
}

// reduce_add16 of four that are turned: the same tree.
INLINE __m128 turned_sums4(const f32x16 *sum) {
  __m256 eight[4], four[2];  // eight: 0 and 4, 2 and 6 | 1 and 5, 3 and 7
  UNROLL for (int i = 0; i < 4; i++)
    eight[i] = _mm256_add_ps(_mm256_shuffle_ps(sum[i].lo, sum[i].hi, 0x44), _mm256_shuffle_ps(sum[i].lo, sum[i].hi, 0xee));
  UNROLL for (int i = 0; i < 2; i++)  // 0, 2 of two of them | 1, 3
    four[i] = _mm256_add_ps(_mm256_shuffle_ps(eight[2 * i], eight[2 * i + 1], 0x88), _mm256_shuffle_ps(eight[2 * i], eight[2 * i + 1], 0xdd));
  const __m256 two = _mm256_add_ps(_mm256_shuffle_ps(four[0], four[1], 0x88), _mm256_shuffle_ps(four[0], four[1], 0xdd));
  return _mm_add_ps(_mm256_castps256_ps128(two), _mm256_extractf128_ps(two, 1));
}

// Sixteen codes as f32, turned, times `by` and 2^-120.
INLINE f32x16 load16_turned_fp8(const uint8_t *from, __m256 by) {
  const __m256i places = _mm256_setr_m128i(_mm_set1_epi16(0x0010), _mm_set1_epi16(0x1000));  // times 16: even | odd
  const __m256i fields = _mm256_set1_epi32((int32_t)0x87f00000);
  const __m256i codes = _mm256_maddubs_epi16(places, _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)from)));
  return (f32x16){_mm256_mul_ps(_mm256_castsi256_ps(_mm256_and_si256(_mm256_slli_epi32(codes, 16), fields)), by),
                  _mm256_mul_ps(_mm256_castsi256_ps(_mm256_and_si256(codes, fields)), by)};
}

// A top bit of 32 codes changes, where one is added, beside seven ones: in NaN.
INLINE __m256i changes_of_nan(const uint8_t *from) {
  const __m256i codes = _mm256_loadu_si256((const __m256i *)from);
  return _mm256_xor_si256(codes, _mm256_add_epi8(codes, _mm256_set1_epi8(1)));
}

// Sums that leave room for operands in 16 registers: rows of activations times rows of weights.
enum { FP8_SUMS = 4 };

// What the products of some activation rows, turned, with some weight rows read and write, over `width` <= K_BLOCK: that
// of x[r] and weight row c is out[r * out_row + c * out_column].
typedef struct {
  float *out;
  size_t out_row, out_column;
  const float *x[FP8_SUMS];
  const uint8_t *data[FP8_SUMS], *scale[FP8_SUMS];  // of each weight row
  int width;
  bool later_block;
} fp8_step;

// Returns whether codes and scales are plain; where not, nothing is written.
INLINE bool fp8_products(int n_rows, int n_columns, const fp8_step *tile) {
  const fp8_step t = *tile;
  f32x16 sum[FP8_SUMS];
  UNROLL for (int i = 0; i < FP8_SUMS; i++) sum[i] = zero16();
  __m256i changes = _mm256_setzero_si256();
  for (int k = 0; k < t.width; k += FP8_BLOCK) {
    float by[FP8_SUMS];
    UNROLL for (int c = 0; c < n_columns; c++) {
      memcpy(by + c, t.scale[c] + k / FP8_BLOCK * sizeof *by, sizeof *by);
      if (!(fabsf(by[c]) < 128)) return false;
      by[c] *= 0x1p120f;
    }
    for (int at = k; at < t.width && at < k + FP8_BLOCK; at += LINE) {
      UNROLL for (int c = 0; c < n_columns; c++) {
        const uint8_t *line = t.data[c] + at;
        prefetch(line + (n_columns == 1 ? PREFETCH_ONE : PREFETCH_EACH));
        UNROLL for (int half = 0; half < LINE; half += 32) changes = _mm256_or_si256(changes, changes_of_nan(line + half));
        UNROLL for (int i = 0; i < LINE; i += 16) {
          const f32x16 w = load16_turned_fp8(line + i, _mm256_set1_ps(by[c]));
          UNROLL for (int r = 0; r < n_rows; r++) sum[r * n_columns + c] = fma16(load16(t.x[r] + at + i), w, sum[r * n_columns + c]);
        }
      }
    }
  }
  if (_mm256_movemask_epi8(changes) != 0) return false;
  float sums[FP8_SUMS];
  _mm_storeu_ps(sums, turned_sums4(sum));
  UNROLL for (int i = 0; i < n_rows * n_columns; i++) {
    float *to = t.out + (size_t)(i / n_columns) * t.out_row + (size_t)(i % n_columns) * t.out_column;
    *to = sums[i] + (t.later_block ? *to : 0);
  }
  return true;
}

// Compiled apart for the numbers of rows.
typedef bool (*fp8_fn)(const fp8_step *t);
#define FP8_FUNCTION(n_rows, n_columns) \
  static __attribute__((noinline)) bool fp8_##n_rows##x##n_columns(const fp8_step *t) { return fp8_products(n_rows, n_columns, t); }
FP8_FUNCTION(1, 1)
FP8_FUNCTION(1, 4)
FP8_FUNCTION(2, 1)
FP8_FUNCTION(2, 2)
FP8_FUNCTION(3, 1)
FP8_FUNCTION(4, 1)
static const fp8_fn fp8_of[][2] = {{fp8_1x1, fp8_1x4}, {fp8_2x1, fp8_2x2}, {fp8_3x1, fp8_3x1}, {fp8_4x1, fp8_4x1}};  // one column, or as many as there may be
#endif
