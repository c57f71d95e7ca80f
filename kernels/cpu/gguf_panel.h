// Products of GGUF's blocks (gguf.h) with activations that are rounded to int8 in groups of 32 (int8.h).
//
// A group's dot product is exact in int32, with Q6_K's scales of its halves too; one fma for each group, in
// ascending order, adds it to the output, followed by one for the minimum in formats that have one. So the result is the same on
// every instruction set that has fma, and a row's result does not depend on the rows beside it.
//
// A panel holds a stretch of sixteen weight rows as T16's lines (t16.h) of bytes: for each group 8 lines of codes,
// taken from zero where they do not fit half a byte, then the lines of its gguf_scales, as f32.
#ifndef HADAL_GGUF_PANEL_H
#define HADAL_GGUF_PANEL_H
#include "gguf_rows.h"
#include "packed.h"

enum { SCALES_AT = GROUP_LINES * LINE, PANEL_GROUP_BYTES = SCALES_AT + 3 * LINE };

INLINE bool has_small_codes(int format) { return format == Q4_0 || format == Q4_K; }
INLINE int gguf_tile_rows(int format) { return has_small_codes(format) ? SMALL_ROWS : WIDE_ROWS; }

// Lays out columns k to k + width, whole blocks, of `valid` rows from `first` on; what is past them is not used.
INLINE void lay_out(int format, uint8_t *panel, const weight *w, int32_t first, int valid, int32_t k, int32_t width) {
  const size_t start = gguf_row_bytes(format, k), bytes = (size_t)gguf_bytes(format);  // of a row before k, of a block
  const int32_t groups = width / GROUP, block_groups = gguf_width(format) / GROUP;
#if HAS_GGUF_LINES
  for (int part = 0; part < 2 && 8 * part < valid; part++) {
    const uint8_t *row[8];
    eight_rows(row, w, first + 8 * part, valid - 8 * part);
    uint8_t *to = panel + 32 * part;
    size_t at = start;
    for (int32_t begin = 0; begin < groups; begin += block_groups, at += bytes) {
      const gguf_heads heads = heads_of_eight(format, row, at);
      UNROLL for (int stretch = 0; stretch < block_groups / stretch_groups(format); stretch++) {
        __m256i turned[MOST_TURNED];
        turn_stretch(format, turned, row, at, stretch);
        UNROLL for (int g = 0; g < stretch_groups(format); g++, to += PANEL_GROUP_BYTES) {
          UNROLL for (int j = 0; j < GROUP_LINES; j++) {
            __m256i codes = line_of_eight(format, turned, g, j / 4, j % 4);
            if (!has_small_codes(format)) codes = _mm256_sub_epi8(codes, _mm256_set1_epi8((char)gguf_zero(format)));
            _mm256_store_si256((__m256i *)(to + j * LINE), codes);
          }
          const eight_scales of = scales_of_eight(format, &heads, stretch_groups(format) * stretch + g);
          _mm256_store_ps((float *)(to + SCALES_AT), of.scale);
          if (has_least(format) || format == Q6_K) _mm256_store_ps((float *)(to + SCALES_AT + LINE), of.first);
          if (format == Q6_K) _mm256_store_ps((float *)(to + SCALES_AT + 2 * LINE), of.second);
        }
      }
    }
  }
#else
  for (int lane = 0; lane < valid; lane++) {
    const uint8_t *blocks = w->data + (size_t)(first + lane) * gguf_row_bytes(format, w->width) + start;
    for (int32_t i = 0; i < groups; i++) {
      const uint8_t *block = blocks + (size_t)(i / block_groups) * bytes;
      uint8_t *to = panel + (size_t)i * PANEL_GROUP_BYTES;
      int8_t codes[GROUP];
      gguf_codes(codes, format, block, i % block_groups);
      if (!has_small_codes(format)) for (int c = 0; c < GROUP; c++) codes[c] = (int8_t)(codes[c] - gguf_zero(format));
      for (int j = 0; j < GROUP_LINES; j++) memcpy(to + j * LINE + 4 * lane, codes + 4 * j, 4);
      const gguf_scales of = scales_of_gguf(format, block, i % block_groups);
      const float all[] = {of.scale, of.first, of.second};
      for (int i = 0; i < 3; i++) memcpy(to + SCALES_AT + i * LINE + 4 * lane, all + i, sizeof *all);
    }
  }
#endif
}

// What a tile reads and writes: out[r * out_stride + i] for n_rows rounded rows and the `valid` rows of a panel,
// whose first column is k.
typedef struct {
  float *out;
  size_t out_stride;
  const uint8_t *const *x;
  const uint8_t *panel;
  const uint8_t *next;  // what is fetched meanwhile, a like share with each group; or NULL
  int32_t k, width;
  size_t padded;
  int valid;
} gguf_tile;

// The dot products of lines `begin` to `end` of a group, one half of it or all.
INLINE void dot_lines(int format, int n_rows, const uint8_t *group, int begin, int end, const uint8_t *const *x,
                      const group_scale *const *of_x, f32x16 *dot) {
  const bool is_small = has_small_codes(format);
  const int zero = is_small ? gguf_zero(format) : 0;
  small_sum small[MOST_PACKED_ROWS];
  i32x16 wide[MOST_PACKED_ROWS];
  UNROLL for (int r = 0; r < n_rows; r++) {
    const int16_t *of_half = of_x[r]->pairs[begin / 4];
    if (is_small) small[r] = small_start(zero, of_x[r]->sum);
    else wide[r] = wide_start(end - begin == GROUP_LINES ? of_x[r]->sum : of_half[0] + of_half[1]);
  }
  UNROLL for (int j = begin; j < end; j++) {
    const line codes = load_line(group + j * LINE);
    wide_line values;
    if (!is_small) values = wide_of(codes);
    UNROLL for (int r = 0; r < n_rows; r++) {
      int32_t four;
      memcpy(&four, x[r] + 4 * j, 4);
      if (is_small) small[r] = small_dot(small[r], codes, four);
      else wide[r] = wide_dot(wide[r], values, four);
    }
  }
  UNROLL for (int r = 0; r < n_rows; r++) dot[r] = to_f32x16(is_small ? small_total(small[r], zero, of_x[r]->sum) : wide[r]);
}

INLINE void gguf_products(int format, int n_rows, const gguf_tile *tile) {
  const gguf_tile t = *tile;
  f32x16 total[MOST_PACKED_ROWS];
  UNROLL for (int r = 0; r < n_rows; r++) {
    const float *so_far = t.out + (size_t)r * t.out_stride;
    total[r] = t.k == 0 ? zero16() : load16_first(so_far, t.valid);
  }
  const uint8_t *group = t.panel, *next = t.next;
  const size_t group_share = (size_t)(T16_ROWS * gguf_bytes(format) * GROUP / gguf_width(format));
  for (int32_t k = t.k; k < t.k + t.width; k += GROUP, group += PANEL_GROUP_BYTES) {
    const group_scale *of_x[MOST_PACKED_ROWS];
    const uint8_t *x[MOST_PACKED_ROWS];
    UNROLL for (int r = 0; r < n_rows; r++) {
      x[r] = t.x[r] + k;
      of_x[r] = scales_of_row(t.x[r], t.padded) + k / GROUP;
    }
    if (next) {
      UNROLL for (size_t line = 0; line < group_share; line += LINE) prefetch(next + line);
      next += group_share;
    }
    const f32x16 scale = load16(group + SCALES_AT);
    f32x16 dot[MOST_PACKED_ROWS], second[MOST_PACKED_ROWS];
    dot_lines(format, n_rows, group, 0, format == Q6_K ? GROUP_LINES / 2 : GROUP_LINES, x, of_x, dot);
    if (format == Q6_K) {  // whole numbers below 2^24, so that nothing is rounded
      dot_lines(format, n_rows, group, GROUP_LINES / 2, GROUP_LINES, x, of_x, second);
      const f32x16 of_first = load16(group + SCALES_AT + LINE), of_second = load16(group + SCALES_AT + 2 * LINE);
      UNROLL for (int r = 0; r < n_rows; r++) dot[r] = fma16(second[r], of_second, mul16(dot[r], of_first));
    }
    UNROLL for (int r = 0; r < n_rows; r++) total[r] = fma16(dot[r], mul16(scale, splat16(of_x[r]->scale)), total[r]);
    if (!has_least(format)) continue;
    const f32x16 least = load16(group + SCALES_AT + LINE);
    UNROLL for (int r = 0; r < n_rows; r++) total[r] = fma16(least, splat16(of_x[r]->scaled_sum), total[r]);
  }
  UNROLL for (int r = 0; r < n_rows; r++) store16_first(t.out + (size_t)r * t.out_stride, total[r], t.valid);
}

// Compiled apart for each format and for 1 to gguf_tile_rows() rows.
typedef void (*lay_out_fn)(uint8_t *panel, const weight *w, int32_t first, int valid, int32_t k, int32_t width);
typedef void (*gguf_tile_fn)(int n_rows, const gguf_tile *t);
#define GGUF_FUNCTIONS(name, format, MOST)                                                                                  \
  static __attribute__((noinline)) void name##_lay_out(uint8_t *panel, const weight *w, int32_t first, int valid, int32_t k, \
                                                       int32_t width) {                                                     \
    lay_out(format, panel, w, first, valid, k, width);                                                                      \
  }                                                                                                                         \
  static __attribute__((noinline)) void name##_tile(int n_rows, const gguf_tile *t) {                                       \
    if (n_rows == 1) gguf_products(format, 1, t);                                                                           \
    else if (n_rows == 2 && MOST > 2) gguf_products(format, 2, t);                                                          \
    else if (n_rows == 3 && MOST > 3) gguf_products(format, MOST < 3 ? MOST : 3, t);                                        \
    else if (n_rows == 4 && MOST > 4) gguf_products(format, MOST < 4 ? MOST : 4, t);                                        \
    else if (n_rows == 5 && MOST > 5) gguf_products(format, MOST < 5 ? MOST : 5, t);                                        \
    else gguf_products(format, MOST, t);                                                                                    \
  }
GGUF_FUNCTIONS(q8_0, Q8_0, WIDE_ROWS)
GGUF_FUNCTIONS(q4_0, Q4_0, SMALL_ROWS)
GGUF_FUNCTIONS(q5_0, Q5_0, WIDE_ROWS)
GGUF_FUNCTIONS(q5_1, Q5_1, WIDE_ROWS)
GGUF_FUNCTIONS(q4_k, Q4_K, SMALL_ROWS)
GGUF_FUNCTIONS(q5_k, Q5_K, WIDE_ROWS)
GGUF_FUNCTIONS(q6_k, Q6_K, WIDE_ROWS)

static const lay_out_fn lay_out_of[N_FORMATS] = {
    [Q8_0] = q8_0_lay_out, [Q4_0] = q4_0_lay_out, [Q5_0] = q5_0_lay_out, [Q5_1] = q5_1_lay_out,
    [Q4_K] = q4_k_lay_out, [Q5_K] = q5_k_lay_out, [Q6_K] = q6_k_lay_out};
static const gguf_tile_fn gguf_tile_of[N_FORMATS] = {
    [Q8_0] = q8_0_tile, [Q4_0] = q4_0_tile, [Q5_0] = q5_0_tile, [Q5_1] = q5_1_tile,
    [Q4_K] = q4_k_tile, [Q5_K] = q5_k_tile, [Q6_K] = q6_k_tile};
#endif
