// Activations rounded to int8 in groups of 32, each with its scale: what packed weights meet (packed.h).
#ifndef HADAL_INT8_H
#define HADAL_INT8_H
#include "t16.h"
#include <float.h>

// A rounded row: int8 values, padded with zeros to blocks of T16_WIDTH, then a group_scale for each group.
typedef struct {
  int32_t sum;  // of the group's int8 values
  float scale, scaled_sum;
  int16_t pairs[2][2];  // of each half, of the first two and of the last two of every four values
} group_scale;

// Writes a group as int8 and says what it sums to.
INLINE group_scale store_group(uint8_t *to, f32x16 low, f32x16 high, float scale) {
  group_scale of = {.scale = scale};
#ifdef GROUP_BYTES
  const __m256i values = group_bytes(low, high);  // from a register: read back at once, they would be waited for
  _mm256_storeu_si256((__m256i *)to, values);
#else
  store16_i8(to, low), store16_i8(to + 16, high);
#endif
#ifdef __AVX2__
#ifndef GROUP_BYTES
  const __m256i values = _mm256_loadu_si256((const __m256i *)to);
#endif
  const __m256i twos = _mm256_maddubs_epi16(_mm256_set1_epi8(1), values);
  const __m256i fours = _mm256_add_epi16(twos, _mm256_shuffle_epi32(twos, 0x4e)), all = _mm256_add_epi16(fours, _mm256_shuffle_epi32(fours, 0xb1));
  const int32_t halves[2] = {_mm256_extract_epi32(all, 0), _mm256_extract_epi32(all, 4)};
  memcpy(of.pairs, halves, sizeof halves);
#else
  for (int i = 0; i < GROUP; i++) of.pairs[i / 16][i / 2 % 2] += (int8_t)to[i];
#endif
  of.sum = of.pairs[0][0] + of.pairs[0][1] + of.pairs[1][0] + of.pairs[1][1];
  of.scaled_sum = scale * (float)of.sum;
  return of;
}

static inline size_t padded_width(int32_t width) { return (size_t)(width + T16_WIDTH - 1) / T16_WIDTH * T16_WIDTH; }
static inline size_t rounded_bytes(int32_t width) { return padded_width(width) / GROUP * (GROUP + sizeof(group_scale)); }
// Of its groups. To be read where they lie: copied, four rows at once would take a tenth longer.
INLINE const group_scale *scales_of_row(const uint8_t *row, size_t padded) { return (const group_scale *)(row + padded); }

// Rounds x[begin .. end) to int8; `begin` is a multiple of GROUP, and so is `end` unless it is the width. The
// last call pads the row. A group with an infinity or NaN gets the scale NaN.
INLINE void round_groups(uint8_t *row, const float *x, int32_t width, int32_t begin, int32_t end) {
  const int32_t padded_end = end == width ? (int32_t)padded_width(width) : end;
  group_scale *scales = (group_scale *)(row + padded_width(width));
  for (int32_t start = begin; start < padded_end; start += GROUP) {
    f32x16 half[2];
    for (int h = 0; h < 2; h++) {
      const int32_t at = start + 16 * h, left = width - at;
      half[h] = left >= 16 ? load16(x + at) : left > 0 ? load16_part(x + at, left) : zero16();
    }
    const float largest = reduce_max_magnitude16(max_magnitude16(half[0], half[1]));
    const bool is_finite = largest <= FLT_MAX;
    const f32x16 inverse = splat16(127 / largest), none = zero16();
    const bool is_zero = !is_finite || !(127 / largest <= FLT_MAX);  // below 4e-37 rounds to zero
    for (int h = 0; h < 2; h++) half[h] = is_zero ? none : round16(mul16(half[h], inverse));
    scales[start / GROUP] = store_group(row + start, half[0], half[1], is_finite ? largest / 127 : NAN);
  }
}

#endif
