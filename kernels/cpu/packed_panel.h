// Products of many rounded rows (int8.h) with packed weights (t16.h) on AVX2 without VNNI: a stretch of sixteen weight
// rows is decoded once, into a panel that meets all activation rows. The sums are those of packed.h.
//
// maddubs takes one side without signs. packed.h moves a weight's sign over to the activation with vpsignb, for which
// two of Zen 3's four pipes are left; here any pipe does it. Of a weight there are the magnitude and the sign s, 0 or
// -1, and the activation meets them as x ^ s, which is x, or -x - 1 beside a negative weight. What a group's sum then
// lacks, the magnitudes of its negative weights, it starts with.
//
// A group of a panel: 8 lines of magnitudes, 8 of signs and one of the starts; or 8 lines of small codes. Then its
// scales, and INT4A's minima, as f32.
#ifndef HADAL_PACKED_PANEL_H
#define HADAL_PACKED_PANEL_H
#include "packed.h"

enum { SIGNS_AT = GROUP_LINES * LINE, STARTS_AT = 2 * SIGNS_AT };
enum { PANEL_BLOCKS = 16, PANEL_BLOCK_BYTES = T16_WIDTH / GROUP * (STARTS_AT + 2 * LINE) };  // T16 blocks: the most of a panel, 36 KB

// Activation rows that all panels of a chunk meet before the next ones do: a stretch of their width stays in half a
// megabyte of L2 (160 KB).
enum { PANEL_ACTIVATIONS = 96 };

// Activation rows from which on decoding beforehand pays.
INLINE int packed_panel_from(int format) { return format == INT8 ? 40 : 16; }

INLINE size_t panel_scales_at(int format) { return is_wide(format) ? STARTS_AT + LINE : SIGNS_AT; }
INLINE size_t packed_group_bytes(int format) { return panel_scales_at(format) + (format == INT4A ? 2 : 1) * LINE; }

INLINE void store_line(uint8_t *to, line a) {
  _mm256_store_si256((__m256i *)to, a.lo);
  _mm256_store_si256((__m256i *)to + 1, a.hi);
}
INLINE __m256i signs_of(__m256i values) { return _mm256_cmpgt_epi8(_mm256_setzero_si256(), values); }
INLINE __m256i sum_of_fours(__m256i pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }

INLINE void lay_out_wide(uint8_t *to, int format, const uint8_t *block, int half) {
  line negative = {_mm256_setzero_si256(), _mm256_setzero_si256()};  // sums of pairs, at most 8 * 2 * 127
  UNROLL for (int j = 0; j < GROUP_LINES; j++) {
    const line stored = line_of(format, block, half, j);
    const wide_line w = format == NF4 ? wide_of_codes(stored, nf4_levels) : wide_of(stored);
    const line signs = {signs_of(w.value.lo), signs_of(w.value.hi)};
    store_line(to + j * LINE, w.magnitude);
    store_line(to + SIGNS_AT + j * LINE, signs);
    negative.lo = _mm256_sub_epi16(negative.lo, _mm256_maddubs_epi16(w.magnitude.lo, signs.lo));
    negative.hi = _mm256_sub_epi16(negative.hi, _mm256_maddubs_epi16(w.magnitude.hi, signs.hi));
  }
  store_line(to + STARTS_AT, (line){sum_of_fours(negative.lo), sum_of_fours(negative.hi)});
}

// `blocks` blocks of sixteen weight rows.
INLINE void lay_out_packed(int format, uint8_t *to, const uint8_t *block, size_t blocks) {
  for (size_t i = 0; i < blocks; i++, block += t16_block_bytes(format)) {
    UNROLL for (int half = 0; half < 2; half++, to += packed_group_bytes(format)) {
      if (is_wide(format)) lay_out_wide(to, format, block, half);
      else UNROLL for (int j = 0; j < GROUP_LINES; j++) store_line(to + j * LINE, line_of(format, block, half, j));
      const uint8_t *scales = block + t16_scale_at(format, half, 0);
      store16(to + panel_scales_at(format), load16_f16(scales));
      if (format == INT4A) store16(to + panel_scales_at(format) + LINE, load16_f16(scales + LINE));
    }
  }
}

// What a tile reads and writes: out[r * out_stride + i] for n_rows rounded rows and the `valid` rows of a panel of
// groups `first_group` to first_group + groups.
typedef struct {
  float *out;
  size_t out_stride;
  const uint8_t *const *x;
  const uint8_t *panel;
  const uint8_t *next;  // what is fetched meanwhile, a like share with each group; or NULL
  size_t first_group, groups, padded;
  int valid;
} packed_panel_tile;

INLINE __m256i signed_dot8(__m256i sum, __m256i magnitude, __m256i signs, __m256i x) {
  const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_xor_si256(x, signs));  // <= 2 * 127 * 128: no saturation
  return in_order(_mm256_add_epi32(sum, sum_of_fours(pairs)));
}
INLINE i32x16 signed_dot(i32x16 sum, line magnitude, line signs, int32_t x) {
  const __m256i x4 = _mm256_set1_epi32(x);
  return (i32x16){signed_dot8(sum.lo, magnitude.lo, signs.lo, x4), signed_dot8(sum.hi, magnitude.hi, signs.hi, x4)};
}

// The dot products of a group of the panel with as many inputs of the rows x.
INLINE void panel_dots(int format, int n_rows, i32x16 *dot, const uint8_t *group, const uint8_t *const *x, const group_scale *const *of_x) {
  const int zero = code_zero(format);
  small_sum small[MOST_PACKED_ROWS];
  UNROLL for (int r = 0; r < n_rows; r++) {
    if (is_wide(format)) dot[r] = load16_i32(group + STARTS_AT);
    else small[r] = small_start(zero, of_x[r]->sum);
  }
  UNROLL for (int j = 0; j < GROUP_LINES; j++) {
    const line values = load_line(group + j * LINE);
    line signs;
    if (is_wide(format)) signs = load_line(group + SIGNS_AT + j * LINE);
    UNROLL for (int r = 0; r < n_rows; r++) {
      int32_t four;
      memcpy(&four, x[r] + 4 * j, 4);
      if (is_wide(format)) dot[r] = signed_dot(dot[r], values, signs, four);
      else small[r] = small_dot(small[r], values, four);
    }
  }
  UNROLL for (int r = 0; r < n_rows; r++)
    if (!is_wide(format)) dot[r] = small_total(small[r], zero, of_x[r]->sum);
}

INLINE void panel_products(int format, int n_rows, const packed_panel_tile *tile) {
  const packed_panel_tile t = *tile;
  f32x16 total[MOST_PACKED_ROWS];
  const uint8_t *x[MOST_PACKED_ROWS];
  const group_scale *of_x[MOST_PACKED_ROWS];
  UNROLL for (int r = 0; r < n_rows; r++) {
    const float *so_far = t.out + (size_t)r * t.out_stride;
    total[r] = t.first_group == 0 ? zero16() : load16_first(so_far, t.valid);
    x[r] = t.x[r] + t.first_group * GROUP;
    of_x[r] = scales_of_row(t.x[r], t.padded) + t.first_group;
  }
  const uint8_t *group = t.panel, *next = t.next;
  const size_t group_share = t16_block_bytes(format) / 2;
  for (size_t g = 0; g < t.groups; g++, group += packed_group_bytes(format)) {
    if (next) {
      UNROLL for (size_t byte = 0; byte < group_share; byte += LINE) prefetch(next + byte);
      next += group_share;
    }
    i32x16 dot[MOST_PACKED_ROWS];
    panel_dots(format, n_rows, dot, group, x, of_x);
    const f32x16 scale = load16(group + panel_scales_at(format));
    UNROLL for (int r = 0; r < n_rows; r++) {
      total[r] = fma16(to_f32x16(dot[r]), mul16(scale, splat16(of_x[r]->scale)), total[r]);
      if (format == INT4A) total[r] = fma16(load16(group + panel_scales_at(format) + LINE), splat16(of_x[r]->scaled_sum), total[r]);
      x[r] += GROUP, of_x[r]++;
    }
  }
  UNROLL for (int r = 0; r < n_rows; r++) store16_first(t.out + (size_t)r * t.out_stride, total[r], t.valid);
}

// Compiled apart for each format and for 1 to packed_tile_rows() rows.
typedef void (*lay_out_packed_fn)(uint8_t *to, const uint8_t *block, size_t blocks);
typedef void (*packed_panel_fn)(int n_rows, const packed_panel_tile *t);
#define PACKED_PANEL_FUNCTIONS(name, format, MOST)                                                             \
  static __attribute__((noinline)) void name##_panel(uint8_t *to, const uint8_t *block, size_t blocks) {       \
    lay_out_packed(format, to, block, blocks);                                                                 \
  }                                                                                                            \
  static __attribute__((noinline)) void name##_panel_tile(int n_rows, const packed_panel_tile *t) {            \
    if (n_rows == 1) panel_products(format, 1, t);                                                             \
    else if (n_rows == 2 && MOST > 2) panel_products(format, 2, t);                                            \
    else if (n_rows == 3 && MOST > 3) panel_products(format, MOST < 3 ? MOST : 3, t);                          \
    else panel_products(format, MOST, t);                                                                      \
  }
PACKED_PANEL_FUNCTIONS(int8, INT8, WIDE_ROWS)
PACKED_PANEL_FUNCTIONS(int4, INT4, SMALL_ROWS)
PACKED_PANEL_FUNCTIONS(int4a, INT4A, SMALL_ROWS)
PACKED_PANEL_FUNCTIONS(int3, INT3, SMALL_ROWS)
PACKED_PANEL_FUNCTIONS(nf4, NF4, WIDE_ROWS)

static const lay_out_packed_fn lay_out_packed_of[N_FORMATS] = {
    [INT8] = int8_panel, [INT4] = int4_panel, [INT4A] = int4a_panel, [INT3] = int3_panel, [NF4] = nf4_panel};
static const packed_panel_fn packed_panel_tile_of[N_FORMATS] = {
    [INT8] = int8_panel_tile, [INT4] = int4_panel_tile, [INT4A] = int4a_panel_tile, [INT3] = int3_panel_tile, [NF4] = nf4_panel_tile};
#endif
