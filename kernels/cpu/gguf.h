// The blocks of GGUF files that kernels read as they lie: 32 values with an f16 scale, or 256 whose groups have
// scales of their own. Layouts: ggml-common.h of https://github.com/ggml-org/ggml; spec: src/checkpoint/gguf_*blocks.ts.
//
//   Q8_0  f16 d; 32 signed bytes                          code * d
//   Q4_0  f16 d; 16 bytes: low halves are codes 0..15     (code - 8) * d
//   Q5_0  f16 d; 32 fifth bits; 16 bytes as Q4_0          (code - 16) * d
//   Q5_1  f16 d, f16 least; 32 fifth bits; 16 bytes       code * d + least
//   Q4_K  f16 d, f16 dmin; 8 scales and 8 minima of 6 bits in 12 bytes; 128 bytes, of each 32 the low halves are
//         one group, the high ones the next               code * (d * scale) - dmin * min
//   Q5_K  as Q4_K, with 32 bytes before the 128, of which bit g of byte i is the fifth of group g, value i
//   Q6_K  128 bytes of low and 64 of high bits; 16 signed scales, one for each 16 values; f16 d
//                                                         (code - 32) * (d * scale)
//
// All are read in groups of 32 values, 8 of a long block.
#ifndef HADAL_GGUF_H
#define HADAL_GGUF_H
#include "device.h"
#include "simd.h"
#include "t16.h"

INLINE int gguf_zero(int format) { return format == Q4_0 ? 8 : format == Q5_0 ? 16 : format == Q6_K ? 32 : 0; }
// Where the halves of bytes begin.
INLINE size_t nibbles_at(int format) {
  return format == Q4_0 ? 2 : format == Q5_0 ? 6 : format == Q5_1 ? 8 : format == Q4_K ? 16 : 48;
}
// Where the fifth bits do, which lie before those of Q5_0 and Q5_1.
INLINE size_t fifths_at(int format) { return format == Q5_K ? 16 : nibbles_at(format) - 4; }

// What a group's codes are multiplied by. Then what is added, where a format has_least; in Q6_K whole numbers that
// the codes of the first and of the second half are multiplied by before.
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
  if (format == Q5_1) return (gguf_scales){.scale = d, .first = f16_at(block + 2)};
  if (format != Q4_K && format != Q5_K) return (gguf_scales){.scale = d};
  const float least = f16_at(block + 2);
  const uint8_t *bits = block + 4 + group % 4;
  const int is_late = group >= 4;
  const int scale = is_late ? (bits[8] & 15) | (bits[0] >> 6) << 4 : bits[0] & 63;
  const int min = is_late ? bits[8] >> 4 | (bits[4] >> 6) << 4 : bits[4] & 63;
  return (gguf_scales){.scale = d * (float)scale, .first = -least * (float)min};
}

#ifdef __AVX2__
// Bit i of four bytes as 16 in byte i.
INLINE __m256i fifths_of_32(const uint8_t *from) {
  int32_t bits;
  memcpy(&bits, from, sizeof bits);
  const __m256i place = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i each = _mm256_set1_epi64x((int64_t)0x8040201008040201);
  const __m256i found = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits), place), each);
  return _mm256_and_si256(_mm256_cmpeq_epi8(found, each), _mm256_set1_epi8(16));
}
// Bit `from` of each byte as 16.
INLINE __m256i fifth_bit(__m256i bytes, int from) {
  const __m256i shifted = from <= 4 ? _mm256_slli_epi16(bytes, 4 - from) : _mm256_srli_epi16(bytes, from - 4);
  return _mm256_and_si256(shifted, _mm256_set1_epi8(16));
}

// The codes of a group, in order.
INLINE __m256i codes_of_gguf(int format, const uint8_t *block, int group) {
  const __m256i low_bits = _mm256_set1_epi8(15);
  if (format == Q8_0) return _mm256_loadu_si256((const __m256i *)(block + 2));
  if (format == Q4_0 || format == Q5_0 || format == Q5_1) {
    const __m128i both = _mm_loadu_si128((const __m128i *)(block + nibbles_at(format)));
    const __m256i codes = _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(both, 4), both), low_bits);
    return format == Q4_0 ? codes : _mm256_or_si256(codes, fifths_of_32(block + fifths_at(format)));
  }
  if (format == Q4_K || format == Q5_K) {
    const __m256i both = _mm256_loadu_si256((const __m256i *)(block + nibbles_at(format) + 32 * (group / 2)));
    const __m256i codes = _mm256_and_si256(_mm256_srli_epi16(both, 4 * (group % 2)), low_bits);
    if (format == Q4_K) return codes;
    return _mm256_or_si256(codes, fifth_bit(_mm256_loadu_si256((const __m256i *)(block + fifths_at(format))), group));
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
  } else if (format == Q4_0 || format == Q5_0 || format == Q5_1) {
    const uint8_t *from = block + nibbles_at(format);
    for (int i = 0; i < GROUP; i++) codes[i] = (int8_t)(from[i % 16] >> i / 16 * 4 & 15);
    if (format == Q4_0) return;
    const uint8_t *fifths = block + fifths_at(format);
    for (int i = 0; i < GROUP; i++) codes[i] = (int8_t)(codes[i] | (fifths[i / 8] >> i % 8 & 1) << 4);
  } else if (format == Q4_K || format == Q5_K) {
    const uint8_t *from = block + nibbles_at(format) + 32 * (group / 2);
    for (int i = 0; i < GROUP; i++) codes[i] = (int8_t)(from[i] >> group % 2 * 4 & 15);
    if (format == Q4_K) return;
    const uint8_t *fifths = block + fifths_at(format);
    for (int i = 0; i < GROUP; i++) codes[i] = (int8_t)(codes[i] | (fifths[i] >> group & 1) << 4);
  } else {
    const int half = group / 4, quarter = group % 4;
    const uint8_t *low = block + 64 * half + 32 * (quarter % 2), *high = block + 128 + 32 * half;
    for (int i = 0; i < GROUP; i++) codes[i] = (int8_t)((low[i] >> quarter / 2 * 4 & 15) | (high[i] >> 2 * quarter & 3) << 4);
  }
#endif
}
#endif
