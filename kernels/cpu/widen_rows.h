// Some rows of a weight matrix as f32. Eight packed rows that lie side by side are read line by line and turned,
// where a row alone would pick 4 bytes of each line.
#ifndef HADAL_WIDEN_ROWS_H
#define HADAL_WIDEN_ROWS_H
#include "weight_row.h"

#ifdef __AVX2__
enum { EIGHT = 8, EIGHT_AHEAD = 4096 };  // bytes: the rows after these are read next

// Lanes `first` to first + 7 of line j of a group, as codes; NF4 as levels.
INLINE __m256i codes_of_eight(int format, const uint8_t *block, int half, int j, int first) {
  const __m256i *lines = (const __m256i *)(block + 4 * first);
  const __m128i shift = _mm_cvtsi32_si128(4 * half);
#define NIBBLES(line) _mm256_srl_epi16(_mm256_loadu_si256(lines + 2 * (line)), shift)
  if (format == INT8) return _mm256_loadu_si256(lines + 2 * (GROUP_LINES * half + j));
  if (format == INT3 && j < 6) return _mm256_and_si256(NIBBLES(j), _mm256_set1_epi8(7));
  if (format == INT3) {
    const int from = 3 * (j - 6);
    const __m256i low = _mm256_and_si256(_mm256_srli_epi16(NIBBLES(from), 3), _mm256_set1_epi8(1));
    const __m256i middle = _mm256_and_si256(_mm256_srli_epi16(NIBBLES(from + 1), 2), _mm256_set1_epi8(2));
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(NIBBLES(from + 2), 1), _mm256_set1_epi8(4));
    return _mm256_or_si256(_mm256_or_si256(low, middle), high);
  }
  const __m256i codes = _mm256_and_si256(NIBBLES(j), _mm256_set1_epi8(15));
  if (format != NF4) return codes;
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)nf4_levels)), codes);
#undef NIBBLES
}

// Eight registers of eight dwords, columns for rows.
INLINE void turn_eight(__m256i *a) {
  __m256i b[8], c[8];
  UNROLL for (int i = 0; i < 4; i++) {
    b[2 * i] = _mm256_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
    b[2 * i + 1] = _mm256_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
  }
  UNROLL for (int i = 0; i < 2; i++)
    UNROLL for (int k = 0; k < 2; k++) {
      c[4 * i + 2 * k] = _mm256_unpacklo_epi64(b[4 * i + k], b[4 * i + 2 + k]);
      c[4 * i + 2 * k + 1] = _mm256_unpackhi_epi64(b[4 * i + k], b[4 * i + 2 + k]);
    }
  UNROLL for (int i = 0; i < 4; i++) {
    a[i] = _mm256_permute2x128_si256(c[i], c[4 + i], 0x20);
    a[4 + i] = _mm256_permute2x128_si256(c[i], c[4 + i], 0x31);
  }
}

// 32 inputs of eight packed rows: values that are to be scaled, and for INT4A to be added to.
typedef struct {
  int8_t values[EIGHT][GROUP];
  float scale[EIGHT], min[EIGHT];
} eight_groups;

// Half of a block, lanes `first` to first + 7.
INLINE void read_eight_groups(eight_groups *to, int format, const uint8_t *block, int half, int first) {
  __m256i codes[8];
  UNROLL for (int j = 0; j < GROUP_LINES; j++) codes[j] = codes_of_eight(format, block, half, j, first);
  turn_eight(codes);
  const __m256i zero = _mm256_set1_epi8((char)code_zero(format));
  const uint8_t *scales = block + t16_scale_at(format, half, first);
  _mm256_storeu_ps(to->scale, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)scales)));
  if (format == INT4A) _mm256_storeu_ps(to->min, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(scales + LINE))));
  UNROLL for (int i = 0; i < 8; i++)
    _mm256_storeu_si256((__m256i *)to->values[i], code_zero(format) == 0 ? codes[i] : _mm256_sub_epi8(codes[i], zero));
  keep_order();  // they are read as eight bytes at a time, which costs less than to take them from registers
}

// Inputs k to k + 15 of row i. NF4's are levels already, and zero is taken off.
INLINE f32x16 weights_of_eight(const eight_groups *from, int format, int i, int k) {
  const f32x16 min = format == INT4A ? splat16(from->min[i]) : zero16();
  return values_of_codes(format == INT4A ? INT4A : INT8, from->values[i] + k, splat16(from->scale[i]), min);
}

// As f32, to[i * stride …] up to the width, whose rest is `left`.
INLINE void widen_half_block(float *to, size_t stride, int format, const uint8_t *block, int half, int first, int32_t left) {
  // What follows is fetched with the first eight of sixteen rows: the others lie in the same lines.
  const int lines = (int)(t16_block_bytes(format) / LINE), begin = half == 0 ? 0 : lines / 2, end = half == 0 ? lines / 2 : lines;
  for (int i = begin; first == 0 && i < end; i++) prefetch(block + EIGHT_AHEAD + i * LINE);

  eight_groups groups;
  read_eight_groups(&groups, format, block, half, first);
  for (int i = 0; i < 8; i++) {
    for (int32_t k = 0; k < GROUP && k < left; k += 16) {
      const f32x16 wide = weights_of_eight(&groups, format, i, k);
      store16(to + i * stride + k, left - k < 16 ? blend16(left - k, wide, zero16()) : wide);
    }
  }
}

// Rows `row` to row + 7, `row` a multiple of 8, to[i * stride …].
INLINE void widen_packed_eight(float *to, size_t stride, int format, const weight *w, int32_t row) {
  const size_t row_blocks = (size_t)(w->width + T16_WIDTH - 1) / T16_WIDTH, block_bytes = t16_block_bytes(format);
  const uint8_t *block = w->data + (size_t)(row / T16_ROWS) * row_blocks * block_bytes;
  const int first = row % T16_ROWS;
  for (int32_t start = 0; start < w->width; start += T16_WIDTH, block += block_bytes) {
    const int32_t left = w->width - start;
    widen_half_block(to + start, stride, format, block, 0, first, left);
    if (left > GROUP) widen_half_block(to + start + GROUP, stride, format, block, 1, first, left - GROUP);
  }
}

// Apart from their callers, whose sums want all the registers.
typedef void (*widen_eight_fn)(float *to, size_t stride, const weight *w, int32_t row);
#define WIDEN_EIGHT(name, format)                                                                               \
  static __attribute__((noinline)) void widen_eight_##name(float *to, size_t stride, const weight *w, int32_t row) { \
    widen_packed_eight(to, stride, format, w, row);                                                             \
  }
WIDEN_EIGHT(int8, INT8)
WIDEN_EIGHT(int4, INT4)
WIDEN_EIGHT(int4a, INT4A)
WIDEN_EIGHT(int3, INT3)
WIDEN_EIGHT(nf4, NF4)
static const widen_eight_fn widen_eight_of[N_FORMATS] = {
    [INT8] = widen_eight_int8, [INT4] = widen_eight_int4, [INT4A] = widen_eight_int4a, [INT3] = widen_eight_int3, [NF4] = widen_eight_nf4};
#endif

// Rows `first` to first + n, each as widen_row writes it, `stride` values apart.
INLINE void widen_rows(float *to, size_t stride, const weight *w, int32_t first, int32_t n) {
  int32_t i = 0;
#ifdef __AVX2__
  for (; widen_eight_of[w->format] && i + 8 <= n && (first + i) % 8 == 0; i += 8)
    widen_eight_of[w->format](to + (size_t)i * stride, stride, w, first + i);
#endif
  for (; i < n; i++) widen_row(to + (size_t)i * stride, w, first + i);
}
#endif
