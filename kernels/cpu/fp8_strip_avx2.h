// One activation row with a strip of weight rows in fp8, on AVX2: the bits of tile.h, whose way by f16 takes a core more
// time than memory does.
//
// A code s eeee mmm, laid where bf16 has its sign and the lower bits of its exponent and mantissa, is its value times
// 2^-120; where it is subnormal, that is so in f32 too. The product with the scale, which is rounded anyway, brings the
// 2^120 back. What is not so plain is left to tile.h: codes of NaN, which come out as numbers; scales that have no room
// for 2^120; widths that end within a line. A subnormal product costs a processor some ten cycles, but of a model's
// codes one in ten thousand is.
#ifndef HADAL_FP8_STRIP_AVX2_H
#define HADAL_FP8_STRIP_AVX2_H

// Eight values times `scale` and 2^-120.
INLINE __m256 load8_fp8(const uint8_t *from, __m256 scale) {
  const __m256i code = _mm256_slli_epi32(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)from)), 20);
  return _mm256_mul_ps(_mm256_castsi256_ps(_mm256_and_si256(code, _mm256_set1_epi32((int32_t)0x87f00000))), scale);
}

// The strip, where it is plain. Returns whether it was: nothing is written otherwise.
INLINE bool plain_fp8_strip(float *out, const float *x, const weight_rows *w, int width, bool later_block) {
  const weight_rows local = *w;
  const __m256i magnitude = _mm256_set1_epi8(0x7f);
  if (width % LINE != 0) return false;
  f32x16 sum[STRIP_COLUMNS];
  UNROLL for (int c = 0; c < STRIP_COLUMNS; c++) sum[c] = zero16();
  __m256i largest = _mm256_setzero_si256();
  for (int k = 0; k < width; k += LINE) {
    float scale;
    memcpy(&scale, local.scale + k / FP8_BLOCK * sizeof scale, sizeof scale);
    if (!(fabsf(scale) < 128)) return false;
    const __m256 by = _mm256_set1_ps(scale * 0x1p120f);
    const size_t ahead = ahead_of(&local, (size_t)k, STRIP_COLUMNS);
    UNROLL for (int c = 0; c < STRIP_COLUMNS; c++) {
      const uint8_t *line = local.data + (size_t)c * local.stride + k;
      prefetch(local.data + (size_t)c * local.stride + ahead);
      UNROLL for (int half = 0; half < LINE; half += 32)
        largest = _mm256_max_epu8(largest, _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(line + half)), magnitude));
      UNROLL for (int i = 0; i < LINE; i += 16)
        sum[c] = fma16(load16(x + k + i), (f32x16){load8_fp8(line + i, by), load8_fp8(line + i + 8, by)}, sum[c]);
    }
  }
  if (_mm256_movemask_epi8(_mm256_cmpeq_epi8(largest, magnitude)) != 0) return false;
  if (later_block) add_sums4(out, sum[0], sum[1], sum[2], sum[3]);
  else store_sums4(out, sum[0], sum[1], sum[2], sum[3]);
  return true;
}
#endif
