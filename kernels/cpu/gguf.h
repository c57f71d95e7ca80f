// The blocks of GGUF files that kernels read as they lie: 32 values with an f16 scale, or 256 whose groups have
// scales of their own. Layouts: ggml-common.h of https://github.com/ggml-org/ggml; spec: src/checkpoint/gguf_*blocks.ts.
//
//   Q8_0  f16 d; 32 signed bytes                          code * d
//   Q4_0  f16 d; 16 bytes: low halves are codes 0..15     (code - 8) * d
//   Q4_K  f16 d, f16 dmin; 8 scales and 8 minima of 6 bits in 12 bytes; 128 bytes, of each 32 the low halves are
//         one group, the high ones the next               code * (d * scale) - dmin * min
//   Q6_K  128 bytes of low and 64 of high bits; 16 signed scales, one for each 16 values; f16 d
//                                                         (code - 32) * (d * scale)
//
// All are read in groups of 32 values, 8 of a long block.
#ifndef HADAL_GGUF_H
#define HADAL_GGUF_H
#include "device.h"
#include "simd.h"
#include "t16.h"

INLINE int gguf_zero(int format) { return format == Q4_0 ? 8 : format == Q6_K ? 32 : 0; }

// What a group's codes are multiplied by. Then in Q4_K what is added; in Q6_K whole numbers that the codes of the
// first and of the second half are multiplied by before.
typedef struct {
  float scale, first, second;
} gguf_scales;

INLINE float f16_at(const uint8_t *from) {
  uint16_t bits;
  memcpy(&bits, from, sizeof bits);
  return f32_from_f16(bits);
}

INLINE gguf_scales scales_of_gguf(int format, const uint8_t *block, int group) {
  if (format == Q6_K) {
    const int8_t *scales = (const int8_t *)block + 192 + 2 * group;
    return (gguf_scales){f16_at(block + 208), scales[0], scales[1]};
  }
  const float d = f16_at(block);
  if (format != Q4_K) return (gguf_scales){.scale = d};
  const float least = f16_at(block + 2);
  const uint8_t *bits = block + 4 + group % 4;
  const int is_late = group >= 4;
  const int scale = is_late ? (bits[8] & 15) | (bits[0] >> 6) << 4 : bits[0] & 63;
  const int min = is_late ? bits[8] >> 4 | (bits[4] >> 6) << 4 : bits[4] & 63;
  return (gguf_scales){.scale = d * (float)scale, .first = -least * (float)min};
}

#ifdef __AVX2__
// The codes of a group, in order.
INLINE __m256i codes_of_gguf(int format, const uint8_t *block, int group) {
  const __m256i low_bits = _mm256_set1_epi8(15);
  if (format == Q8_0) return _mm256_loadu_si256((const __m256i *)(block + 2));
  if (format == Q4_0) {
    const __m128i both = _mm_loadu_si128((const __m128i *)(block + 2));
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(both, 4), both), low_bits);
  }
  if (format == Q4_K) {
    const __m256i both = _mm256_loadu_si256((const __m256i *)(block + 16 + 32 * (group / 2)));
    return _mm256_and_si256(_mm256_srli_epi16(both, 4 * (group % 2)), low_bits);
  }
  const int half = group / 4, quarter = group % 4;
  const __m256i low = _mm256_loadu_si256((const __m256i *)(block + 64 * half + 32 * (quarter % 2)));
  const __m256i high = _mm256_loadu_si256((const __m256i *)(block + 128 + 32 * half));
  const __m256i top = _mm256_and_si256(_mm256_srli_epi16(high, 2 * quarter), _mm256_set1_epi8(3));
  return _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(low, 4 * (quarter / 2)), low_bits), _mm256_slli_epi16(top, 4));
}
#endif

INLINE void gguf_codes(int8_t *codes, int format, const uint8_t *block, int group) {
#ifdef __AVX2__
  _mm256_storeu_si256((__m256i *)codes, codes_of_gguf(format, block, group));
#else
  if (format == Q8_0) {
    memcpy(codes, block + 2, GROUP);
  } else if (format == Q4_0) {
    for (int i = 0; i < GROUP; i++) codes[i] = (int8_t)(block[2 + i % 16] >> i / 16 * 4 & 15);
  } else if (format == Q4_K) {
    const uint8_t *from = block + 16 + 32 * (group / 2);
    for (int i = 0; i < GROUP; i++) codes[i] = (int8_t)(from[i] >> group % 2 * 4 & 15);
  } else {
    const int half = group / 4, quarter = group % 4;
    const uint8_t *low = block + 64 * half + 32 * (quarter % 2), *high = block + 128 + 32 * half;
    for (int i = 0; i < GROUP; i++) codes[i] = (int8_t)((low[i] >> quarter / 2 * 4 & 15) | (high[i] >> 2 * quarter & 3) << 4);
  }
#endif
}
#endif
