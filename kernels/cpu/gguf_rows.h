// GGUF's blocks as they lie (gguf.h) times one row of activations rounded to int8 (int8.h), or two: eight weight
// rows at once, a lane for each. What is summed, and in which order: gguf_panel.h; the result is the same, bit for
// bit. One row is multiplied by the bytes in their order and the sums are turned, which is shorter than to turn the
// codes: that pays from two rows on. From three on a panel is as fast.
//
// Only where there is AVX2. Others lay out a panel for one row too.
#ifndef HADAL_GGUF_ROWS_H
#define HADAL_GGUF_ROWS_H
#include "gguf_lines.h"
#include "int8.h"
#include "tile.h"

#if HAS_GGUF_LINES
#define HAS_GGUF_ROWS 1
enum { DIRECT_WEIGHT_ROWS = 8 };

// What comes after a block of each of eight rows, at a like share of the next eight, in the order of the file: that
// is half as fast again as eight streams for the shorter blocks. Q8_0's, which are few a page, are a tenth faster
// as streams.
INLINE void prefetch_eight(int format, const uint8_t *const *row, size_t at, size_t row_bytes) {
  const size_t bytes = (size_t)gguf_bytes(format);
  if (format != Q8_0) {
    const uint8_t *next = row[0] + 8 * row_bytes + 8 * at;
    UNROLL for (size_t line = 0; line < 8 * bytes; line += LINE) prefetch(next + line);
  } else if (at % LINE < bytes) {  // a line begins here
    size_t ahead = at + (row_bytes < PREFETCH_EACH ? row_bytes : PREFETCH_EACH);
    if (ahead >= row_bytes) ahead += 7 * row_bytes;
    UNROLL for (int i = 0; i < 8; i++) prefetch(row[i] + ahead);
  }
}

// Sums of two halves of eight rows each, row i in register i % 4 and half i / 4: pairs in 16 bits, whose sums of
// four fit there too, a lane for each row.
INLINE __m256i sums_of_pairs(const __m256i *p) {
  const __m256i fours = _mm256_hadd_epi16(_mm256_hadd_epi16(p[0], p[1]), _mm256_hadd_epi16(p[2], p[3]));
  return _mm256_madd_epi16(fours, _mm256_set1_epi16(1));
}
INLINE __m256i twice(const uint8_t *from) { return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)from)); }
INLINE __m256i nibbles(__m256i bytes, int upper) {
  return _mm256_and_si256(upper ? _mm256_srli_epi16(bytes, 4) : bytes, _mm256_set1_epi8(15));
}

// Dot products of eight rows' codes with 32 activations for each group of a stretch (gguf_lines.h).

// Codes of half a byte: products of a row are at most 32 * 15 * 127, of which four sums are kept in 16 bits.
INLINE void nibble_dots(int format, __m256i *dot, const uint8_t *const *row, size_t from, const uint8_t *x) {
  __m256i low[4], high[4];
  if (format == Q4_0) {
    const __m256i low_x = twice(x), high_x = twice(x + 16);
    UNROLL for (int i = 0; i < 4; i++) {
      const __m256i both = two_rows(row, i, from);
      low[i] = _mm256_add_epi16(_mm256_maddubs_epi16(nibbles(both, 0), low_x), _mm256_maddubs_epi16(nibbles(both, 1), high_x));
    }
    dot[0] = sums_of_pairs(low);
    return;
  }
  UNROLL for (int i = 0; i < 4; i++) {
    const __m256i a = two_rows(row, i, from), b = two_rows(row, i, from + 16);
    low[i] = _mm256_add_epi16(_mm256_maddubs_epi16(nibbles(a, 0), twice(x)), _mm256_maddubs_epi16(nibbles(b, 0), twice(x + 16)));
    high[i] = _mm256_add_epi16(_mm256_maddubs_epi16(nibbles(a, 1), twice(x + 32)), _mm256_maddubs_epi16(nibbles(b, 1), twice(x + 48)));
  }
  dot[0] = sums_of_pairs(low), dot[1] = sums_of_pairs(high);
}

// Q6_K, times the scales of each half. A register holds both halves of a group of one row, then of four. On the way
// sums may pass the end of 16 bits and wrap; with 32 taken from the codes they fit, at most 8 * 32 * 127.
INLINE __m256i add_dwords(__m256i a, __m256i b) {
  const __m256 even = _mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88);
  const __m256 odd = _mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0xdd);
  return _mm256_add_epi16(_mm256_castps_si256(even), _mm256_castps_si256(odd));
}
INLINE __m256i four_rows(const __m256i *p) { return add_dwords(add_dwords(p[0], p[1]), add_dwords(p[2], p[3])); }
INLINE __m256i times_scales(__m256i sums, __m256i taken_off, __m256i scales, int group) {
  return _mm256_madd_epi16(_mm256_sub_epi16(sums, taken_off), signed_pairs(scales, group % 2 * 2, group % 2 * 2 + 1));
}
INLINE void six_bit_dots(__m256i *dot, const uint8_t *const *row, size_t at, const gguf_heads *h, int stretch, const uint8_t *x, const group_scale *of_x) {
  const __m256i top = _mm256_set1_epi8(48);
  const size_t half = (size_t)stretch;
  UNROLL for (int q = 0; q < 2; q++) {  // with q + 2, in whose bytes its codes lie
    __m256i early[2], late[2];
    UNROLL for (int part = 0; part < 2; part++) {
      __m256i a[4], b[4];
      UNROLL for (int i = 0; i < 4; i++) {
        const uint8_t *block = row[4 * part + i] + at;
        const __m256i low = _mm256_loadu_si256((const __m256i *)(block + 64 * half + 32 * (size_t)q));
        const __m256i high = _mm256_loadu_si256((const __m256i *)(block + 128 + 32 * half));
        const __m256i high_a = _mm256_slli_epi16(high, 4 - 2 * q), high_b = q ? _mm256_srli_epi16(high, 2) : high;
        a[i] = _mm256_maddubs_epi16(_mm256_or_si256(nibbles(low, 0), _mm256_and_si256(high_a, top)), _mm256_loadu_si256((const __m256i *)(x + 32 * q)));
        b[i] = _mm256_maddubs_epi16(_mm256_or_si256(nibbles(low, 1), _mm256_and_si256(high_b, top)), _mm256_loadu_si256((const __m256i *)(x + 32 * q + 64)));
      }
      early[part] = four_rows(a), late[part] = four_rows(b);
    }
    UNROLL for (int later = 0; later < 2; later++) {
      const __m256i *sums = later ? late : early;
      const int g = q + 2 * later, group = 4 * stretch + g;
      const __m256i pairs = _mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)of_x[g].pairs));
      const __m256i taken_off = _mm256_slli_epi16(_mm256_permutevar8x32_epi32(pairs, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1)), 5);
      const __m256i first = times_scales(sums[0], taken_off, h->scales[group / 2], group);
      const __m256i last = times_scales(sums[1], taken_off, h->later[group / 2], group);
      dot[g] = _mm256_add_epi32(_mm256_permute2x128_si256(first, last, 0x20), _mm256_permute2x128_si256(first, last, 0x31));
    }
  }
}

// Codes of five bits: four products of pairs fit in 16 bits, at most 8 * 31 * 127.
INLINE void five_bit_dots(int format, __m256i *dot, const uint8_t *const *row, size_t at, int group, const uint8_t *from) {
  const __m256i x = _mm256_loadu_si256((const __m256i *)from);
  __m256i p[8];
  UNROLL for (int i = 0; i < 8; i++) p[i] = _mm256_maddubs_epi16(codes_of_gguf(format, row[i] + at, group), x);
  const __m256i low = sums_of_pairs(p), high = sums_of_pairs(p + 4);
  dot[0] = _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31));
}

// maddubs takes one side without signs: the weight's magnitude, its sign goes over to the activation.
INLINE void byte_dots(__m256i *dot, const uint8_t *const *row, size_t from, const uint8_t *at) {
  const __m256i x = _mm256_loadu_si256((const __m256i *)at), one = _mm256_set1_epi16(1);
  __m256i p[8];
  UNROLL for (int i = 0; i < 8; i++) {
    const __m256i codes = _mm256_loadu_si256((const __m256i *)(row[i] + from));
    p[i] = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes)), one);
  }
  const __m256i low = _mm256_hadd_epi32(_mm256_hadd_epi32(p[0], p[1]), _mm256_hadd_epi32(p[2], p[3]));
  const __m256i high = _mm256_hadd_epi32(_mm256_hadd_epi32(p[4], p[5]), _mm256_hadd_epi32(p[6], p[7]));
  dot[0] = _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31));
}

// A group's part of the outputs; its dot products are times the scales of their halves already.
INLINE __m256 add_group(int format, __m256 total, __m256i dot, const eight_scales *of, const group_scale *of_x) {
  if (format == Q4_0 || format == Q5_0) dot = _mm256_sub_epi32(dot, _mm256_set1_epi32(gguf_zero(format) * of_x->sum));
  total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(of->scale, _mm256_set1_ps(of_x->scale)), total);
  return has_least(format) ? _mm256_fmadd_ps(of->first, _mm256_set1_ps(of_x->scaled_sum), total) : total;
}

INLINE void store_eight(float *out, __m256 total, int valid) {
  float all[8];
  _mm256_storeu_ps(valid == 8 ? out : all, total);
  if (valid < 8) memcpy(out, all, (size_t)valid * sizeof *out);
}

// out[i] = x times weight row first + i, for i < valid <= 8.
INLINE void gguf_rows(int format, float *out, const uint8_t *x, const weight *w, int32_t first, int valid) {
  const uint8_t *row[8];
  eight_rows(row, w, first, valid);
  const group_scale *of_x = (const group_scale *)(x + padded_width(w->width));
  const size_t bytes = (size_t)gguf_bytes(format), row_bytes = gguf_row_bytes(format, w->width);
  const int groups = stretch_groups(format);
  __m256 total = _mm256_setzero_ps();
  for (size_t at = 0; at < row_bytes; at += bytes) {
    prefetch_eight(format, row, at, row_bytes);
    const gguf_heads heads = heads_of_eight(format, row, at);
    UNROLL for (int stretch = 0; stretch < gguf_width(format) / GROUP / groups; stretch++, x += groups * GROUP) {
      __m256i dot[4];
      if (format == Q8_0) byte_dots(dot, row, at + 2, x);
      else if (format == Q4_0) nibble_dots(format, dot, row, at + 2, x);
      else if (format == Q4_K) nibble_dots(format, dot, row, at + 16 + 32 * (size_t)stretch, x);
      else if (format != Q6_K) UNROLL for (int g = 0; g < groups; g++) five_bit_dots(format, dot + g, row, at, groups * stretch + g, x + g * GROUP);
      else six_bit_dots(dot, row, at, &heads, stretch, x, of_x);
      UNROLL for (int g = 0; g < groups; g++, of_x++) {
        const eight_scales of = scales_of_eight(format, &heads, groups * stretch + g);
        total = add_group(format, total, dot[g], &of, of_x);
      }
    }
  }
  store_eight(out, total, valid);
}

// ---- two rows of activations: codes are turned into lines (gguf_lines.h) once for both

// Four lines of codes with 16 activations, times the scales (in pairs) of their half of a group.
INLINE __m256i half_dot(int format, const __m256i *codes, __m256i scales, const uint8_t *x, const int16_t *pairs) {
  __m256i p[4];
  UNROLL for (int j = 0; j < 4; j++) {
    int32_t four;
    memcpy(&four, x + 4 * j, sizeof four);
    const __m256i x4 = _mm256_set1_epi32(four);
    if (format == Q8_0) p[j] = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(codes[j]), _mm256_sign_epi8(x4, codes[j])), scales);
    else p[j] = _mm256_maddubs_epi16(codes[j], x4);
  }
  if (format == Q8_0) return _mm256_add_epi32(_mm256_add_epi32(p[0], p[1]), _mm256_add_epi32(p[2], p[3]));
  __m256i sum = _mm256_add_epi16(_mm256_add_epi16(p[0], p[1]), _mm256_add_epi16(p[2], p[3]));
  if (format == Q6_K) {
    int32_t two;
    memcpy(&two, pairs, sizeof two);
    sum = _mm256_sub_epi16(sum, _mm256_slli_epi16(_mm256_set1_epi32(two), 5));
  }
  return _mm256_madd_epi16(sum, scales);
}

enum { FEW_ROWS = 2 };

// out[r * out_stride + i] = x[r] times weight row first + i.
INLINE void gguf_few(int format, int n_rows, float *out, size_t out_stride, const uint8_t *const *rows, const weight *w, int32_t first, int valid) {
  const uint8_t *row[8], *x[FEW_ROWS];
  eight_rows(row, w, first, valid);
  const group_scale *of_x[FEW_ROWS];
  __m256 total[FEW_ROWS];
  UNROLL for (int r = 0; r < n_rows; r++)
    x[r] = rows[r], of_x[r] = (const group_scale *)(x[r] + padded_width(w->width)), total[r] = _mm256_setzero_ps();
  const size_t bytes = (size_t)gguf_bytes(format), row_bytes = gguf_row_bytes(format, w->width);
  const int groups = stretch_groups(format);
  size_t k = 0;
  for (size_t at = 0; at < row_bytes; at += bytes) {
    prefetch_eight(format, row, at, row_bytes);
    const gguf_heads heads = heads_of_eight(format, row, at);
    UNROLL for (int stretch = 0; stretch < gguf_width(format) / GROUP / groups; stretch++) {
      __m256i turned[MOST_TURNED];
      turn_stretch(format, turned, row, at, stretch);
      UNROLL for (int g = 0; g < groups; g++, k += GROUP) {
        const int group = groups * stretch + g;
        __m256i dot[FEW_ROWS];
        UNROLL for (int half = 0; half < 2; half++) {
          __m256i codes[4];
          UNROLL for (int j = 0; j < 4; j++) codes[j] = line_of_eight(format, turned, g, half, j);
          const __m256i scales = format == Q6_K ? scales_of_half(&heads, group, half) : _mm256_set1_epi16(1);
          UNROLL for (int r = 0; r < n_rows; r++) {
            const __m256i of_half = half_dot(format, codes, scales, x[r] + k + 16 * half, of_x[r][k / GROUP].pairs[half]);
            dot[r] = half == 0 ? of_half : _mm256_add_epi32(dot[r], of_half);
          }
        }
        const eight_scales of = scales_of_eight(format, &heads, group);
        UNROLL for (int r = 0; r < n_rows; r++) total[r] = add_group(format, total[r], dot[r], &of, of_x[r] + k / GROUP);
      }
    }
  }
  UNROLL for (int r = 0; r < n_rows; r++) store_eight(out + (size_t)r * out_stride, total[r], valid);
}

// out[r * out_stride + i] for n_rows <= FEW_ROWS.
typedef void (*gguf_rows_fn)(int n_rows, float *out, size_t out_stride, const uint8_t *const *x, const weight *w, int32_t first, int valid);
#define GGUF_ROWS(name, format)                                                                                                 \
  static __attribute__((noinline)) void name##_rows(int n_rows, float *out, size_t out_stride, const uint8_t *const *x,         \
                                                    const weight *w, int32_t first, int valid) {                                \
    if (n_rows == 1) gguf_rows(format, out, x[0], w, first, valid);                                                             \
    else gguf_few(format, FEW_ROWS, out, out_stride, x, w, first, valid);                                                       \
  }
GGUF_ROWS(q8_0, Q8_0)
GGUF_ROWS(q4_0, Q4_0)
GGUF_ROWS(q5_0, Q5_0)
GGUF_ROWS(q5_1, Q5_1)
GGUF_ROWS(q4_k, Q4_K)
GGUF_ROWS(q5_k, Q5_K)
GGUF_ROWS(q6_k, Q6_K)
static const gguf_rows_fn gguf_rows_of[N_FORMATS] = {
    [Q8_0] = q8_0_rows, [Q4_0] = q4_0_rows, [Q5_0] = q5_0_rows, [Q5_1] = q5_1_rows,
    [Q4_K] = q4_k_rows, [Q5_K] = q5_k_rows, [Q6_K] = q6_k_rows};
#else
#define HAS_GGUF_ROWS 0
#endif
#endif
