// Products of packed weights (t16.h) with activations that are rounded to int8 in groups of 32 (int8.h).
//
// A group's dot product is exact in int32; one fma for each group, in ascending order, adds it to the output,
// for INT4A followed by one for the minimum. So the result is the same on every instruction set that has fma,
// and a row's result does not depend on the rows beside it.
#ifndef HADAL_PACKED_H
#define HADAL_PACKED_H
#include "int8.h"
#include "line.h"

enum { MOST_PACKED_ROWS = WIDE_ROWS > SMALL_ROWS ? WIDE_ROWS : SMALL_ROWS };

INLINE bool is_wide(int format) { return format == INT8 || format == NF4; }
INLINE int packed_tile_rows(int format) { return is_wide(format) ? WIDE_ROWS : SMALL_ROWS; }

// What a tile reads and writes: out[r * out_stride + i] for n_rows rounded rows and n_columns groups of 16
// weight rows, of which the first `valid` rows exist.
typedef struct {
  float *out;
  size_t out_stride;
  const uint8_t *const *x;
  const uint8_t *blocks;
  size_t column_bytes, padded;
  int valid;
} packed_tile;

// The sum of one group: of the formats of signed values, or of the others.
typedef struct {
  i32x16 wide;
  small_sum small;
} packed_sum;

INLINE void start_sum(packed_sum *sum, int format, const group_scale *group) {
  if (is_wide(format)) sum->wide = wide_start(group->sum);
  else sum->small = small_start(code_zero(format), group->sum);
}

// A line, and as what wide_dot wants it.
typedef struct {
  line codes;
  wide_line wide;
} packed_line;

INLINE void read_line(packed_line *to, int format, const uint8_t *block, int half, int j) {
  to->codes = line_of(format, block, half, j);
  if (is_wide(format)) to->wide = format == NF4 ? wide_of_codes(to->codes, nf4_levels) : wide_of(to->codes);
}

INLINE void add_line(packed_sum *sum, int format, const packed_line *from, const uint8_t *x) {
  int32_t four;
  memcpy(&four, x, 4);
  if (is_wide(format)) sum->wide = wide_dot(sum->wide, from->wide, four);
  else sum->small = small_dot(sum->small, from->codes, four);
}

// total + what the sum of a group stands for
INLINE f32x16 add_to_total(f32x16 total, int format, const packed_sum *sum, const group_scale *group, const uint8_t *scales) {
  const i32x16 dot = is_wide(format) ? sum->wide : small_total(sum->small, code_zero(format), group->sum);
  total = fma16(to_f32x16(dot), mul16(load16_f16(scales), splat16(group->scale)), total);
  if (format == INT4A) total = fma16(load16_f16(scales + LINE), splat16(group->scaled_sum), total);
  return total;
}

INLINE void packed_group(int format, int n_rows, int n_columns, const packed_tile *t, const uint8_t *const *rows, const uint8_t *block,
                         size_t k, int half, f32x16 (*total)[PACKED_COLUMNS]) {
  const int n_lines = (int)(t16_block_bytes(format) / LINE);
  const group_scale *group[MOST_PACKED_ROWS];
  packed_sum sum[MOST_PACKED_ROWS][PACKED_COLUMNS];
  UNROLL for (int r = 0; r < n_rows; r++) {
    group[r] = scales_of_row(rows[r], t->padded) + k / GROUP;
    UNROLL for (int c = 0; c < n_columns; c++) start_sum(&sum[r][c], format, group[r]);
  }
  UNROLL for (int j = 0; j < GROUP_LINES; j++) {
    const int ahead = GROUP_LINES * half + j;
    packed_line lines[PACKED_COLUMNS];
    UNROLL for (int c = 0; c < n_columns; c++) {
      const uint8_t *from = block + (size_t)c * t->column_bytes;
      if (ahead < n_lines) prefetch(from + PACKED_AHEAD_OF_ROWS + ahead * LINE);
      read_line(lines + c, format, from, half, j);
    }
    UNROLL for (int r = 0; r < n_rows; r++)
      UNROLL for (int c = 0; c < n_columns; c++) add_line(&sum[r][c], format, lines + c, rows[r] + k + 4 * (size_t)j);
  }
  UNROLL for (int c = 0; c < n_columns; c++) {
    const uint8_t *scales = block + (size_t)c * t->column_bytes + t16_scale_at(format, half, 0);
    if (format == INT8 && half == 1) prefetch(scales + PACKED_AHEAD_OF_ROWS);
    UNROLL for (int r = 0; r < n_rows; r++) total[r][c] = add_to_total(total[r][c], format, &sum[r][c], group[r], scales);
  }
}

// Both groups of a block with 64 activations of one row, where weights come from memory as fast as they can: each line
// is read once, and one is asked for with each that is multiplied.
INLINE void packed_block(int format, const uint8_t *x, const group_scale *group, const uint8_t *block, f32x16 *total) {
  const int n_lines = t16_value_lines(format), n_all = (int)(t16_block_bytes(format) / LINE), halves = format == INT8 ? 1 : 2;
  packed_sum sum[2];
  UNROLL for (int half = 0; half < 2; half++) start_sum(sum + half, format, group + half);
  UNROLL for (int i = 0; i < GROUP_LINES * 2 / halves; i++) {
    if (i < n_lines) prefetch(block + packed_ahead(format) + i * LINE);
    UNROLL for (int h = 0; h < halves; h++) {
      const int half = halves == 2 ? h : i / GROUP_LINES, j = i % GROUP_LINES;
      packed_line both;
      read_line(&both, format, block, half, j);
      add_line(sum + half, format, &both, x + GROUP * half + 4 * j);
    }
    keep_order();
  }
  UNROLL for (int i = n_lines; i < n_all; i++) prefetch(block + packed_ahead(format) + i * LINE);
  UNROLL for (int half = 0; half < 2; half++)
    *total = add_to_total(*total, format, sum + half, group + half, block + t16_scale_at(format, half, 0));
}

#ifdef ROW_PAIRS
// packed_group for an even number of rows, two at a time (line_128.h).
INLINE void packed_group_pairs(int format, int n_rows, const packed_tile *t, const uint8_t *const *rows, const uint8_t *block, size_t k,
                               int half, f32x16 (*total)[PACKED_COLUMNS]) {
  const int zero = code_zero(format), n_lines = (int)(t16_block_bytes(format) / LINE);
  const group_scale *group[MOST_PACKED_ROWS];
  pair_sum sum[MOST_PACKED_ROWS / 2];
  UNROLL for (int r = 0; r < n_rows; r++) group[r] = scales_of_row(rows[r], t->padded) + k / GROUP;
  UNROLL for (int p = 0; p < n_rows / 2; p++) sum[p] = pair_start(-zero * group[2 * p]->sum, -zero * group[2 * p + 1]->sum);
  UNROLL for (int j = 0; j < GROUP_LINES; j += 2) {
    line lines[2];
    UNROLL for (int i = 0; i < 2; i++) {
      const int ahead = GROUP_LINES * half + j + i;
      if (ahead < n_lines) prefetch(block + packed_ahead(format) + ahead * LINE);
      lines[i] = line_of(format, block, half, j + i);
      if (is_wide(format)) lines[i] = format == NF4 ? wide_of_codes(lines[i], nf4_levels) : wide_of(lines[i]);
    }
    const line_pair weights = pair_of_lines(lines[0], lines[1]);
    const size_t at = k + 4 * (size_t)j;
    UNROLL for (int p = 0; p < n_rows / 2; p++) sum[p] = pair_dot(sum[p], weights, rows[2 * p] + at, rows[2 * p + 1] + at);
  }
  const uint8_t *scales = block + t16_scale_at(format, half, 0);
  const f32x16 scale = load16_f16(scales);
  UNROLL for (int r = 0; r < n_rows; r++) {
    total[r][0] = fma16(to_f32x16(pair_total(sum[r / 2], r % 2)), mul16(scale, splat16(group[r]->scale)), total[r][0]);
    if (format == INT4A) total[r][0] = fma16(load16_f16(scales + LINE), splat16(group[r]->scaled_sum), total[r][0]);
  }
}
#endif

// One group of 32 inputs: packed_group in the way that is fastest for so many rows.
INLINE void multiply_group(int format, int n_rows, int n_columns, const packed_tile *t, const uint8_t *const *rows, const uint8_t *block,
                           size_t k, int half, f32x16 (*total)[PACKED_COLUMNS]) {
#ifdef ROW_PAIRS
  const int paired = n_rows / 2 * 2;
  if (paired > 0) packed_group_pairs(format, paired, t, rows, block, k, half, total);
  if (paired < n_rows) packed_group(format, 1, n_columns, t, rows + paired, block, k, half, total + paired);
#else
  packed_group(format, n_rows, n_columns, t, rows, block, k, half, total);
#endif
}

INLINE void packed_products(int format, int n_rows, int n_columns, const packed_tile *tile) {
  const packed_tile t = *tile;
  f32x16 total[MOST_PACKED_ROWS][PACKED_COLUMNS];
  const uint8_t *rows[MOST_PACKED_ROWS], *block = t.blocks;
  UNROLL for (int r = 0; r < n_rows; r++) {
    rows[r] = t.x[r];
    UNROLL for (int c = 0; c < n_columns; c++) total[r][c] = zero16();
  }
  const bool by_block = n_rows == 1 && PACKED_COLUMNS == 1;
  const group_scale *group = scales_of_row(rows[0], t.padded);
  for (size_t k = 0; k < t.padded; k += T16_WIDTH, block += t16_block_bytes(format)) {
    if (by_block) {
      packed_block(format, rows[0] + k, group, block, total[0]);
      group += 2;
      continue;
    }
    multiply_group(format, n_rows, n_columns, &t, rows, block, k, 0, total);
    multiply_group(format, n_rows, n_columns, &t, rows, block, k + GROUP, 1, total);
  }
  const int all = 16 * n_columns;
  UNROLL for (int r = 0; r < n_rows; r++) {
    float some[16 * PACKED_COLUMNS], *to = t.out + (size_t)r * t.out_stride;
    UNROLL for (int c = 0; c < n_columns; c++) store16(t.valid == all ? to + 16 * c : some + 16 * c, total[r][c]);
    if (t.valid != all) memcpy(to, some, (size_t)t.valid * sizeof *to);
  }
}

// packed_products for one row and full groups of 16 weight rows, one of each of PACKED_STREAMS places that lie `apart`: a
// core reads several long streams faster than one (strip.h).
INLINE void packed_streams(int format, const packed_tile *tile, size_t apart, size_t out_apart) {
  const packed_tile t = *tile;
  const uint8_t *x = t.x[0], *block = t.blocks;
  const group_scale *group = scales_of_row(x, t.padded);
  f32x16 total[PACKED_STREAMS];
  UNROLL for (int s = 0; s < PACKED_STREAMS; s++) total[s] = zero16();
  for (size_t k = 0; k < t.padded; k += T16_WIDTH, block += t16_block_bytes(format), group += 2)
    for (int s = 0; s < PACKED_STREAMS; s++) packed_block(format, x + k, group, block + (size_t)s * apart, total + s);
  UNROLL for (int s = 0; s < PACKED_STREAMS; s++) store16(t.out + (size_t)s * out_apart, total[s]);
}

// Compiled apart for each format and for 1 to packed_tile_rows() rows; a single group of 16 weight rows, where
// two are usual, meets one row at a time.
typedef void (*packed_fn)(int n_rows, const packed_tile *t);
#define PACKED_FUNCTION(name, format, MOST)                                                                                   \
  static __attribute__((noinline)) void name##_tile(int n_rows, const packed_tile *t) {                                    \
    if (n_rows == 1) packed_products(format, 1, PACKED_COLUMNS, t);                                                        \
    else if (n_rows == 2 && MOST > 2) packed_products(format, 2, PACKED_COLUMNS, t);                                       \
    else if (n_rows == 3 && MOST > 3) packed_products(format, MOST < 3 ? MOST : 3, PACKED_COLUMNS, t);                     \
    else if (n_rows == 4 && MOST > 4) packed_products(format, MOST < 4 ? MOST : 4, PACKED_COLUMNS, t);                     \
    else if (n_rows == 5 && MOST > 5) packed_products(format, MOST < 5 ? MOST : 5, PACKED_COLUMNS, t);                     \
    else packed_products(format, MOST, PACKED_COLUMNS, t);                                                                 \
  }                                                                                                                        \
  static __attribute__((noinline, unused)) void name##_single(const packed_tile *t) { packed_products(format, 1, 1, t); }        \
  static __attribute__((noinline)) void name##_streams(const packed_tile *t, size_t apart, size_t out_apart) {                    \
    packed_streams(format, t, apart, out_apart);                                                                           \
  }
PACKED_FUNCTION(int8, INT8, WIDE_ROWS)
PACKED_FUNCTION(int4, INT4, SMALL_ROWS)
PACKED_FUNCTION(int4a, INT4A, SMALL_ROWS)
PACKED_FUNCTION(int3, INT3, SMALL_ROWS)
PACKED_FUNCTION(nf4, NF4, WIDE_ROWS)

static const packed_fn packed_tile_of[N_FORMATS] = {[INT8] = int8_tile, [INT4] = int4_tile, [INT4A] = int4a_tile, [INT3] = int3_tile, [NF4] = nf4_tile};
typedef void (*packed_streams_fn)(const packed_tile *t, size_t apart, size_t out_apart);
static const packed_streams_fn packed_streams_of[N_FORMATS] = {
    [INT8] = int8_streams, [INT4] = int4_streams, [INT4A] = int4a_streams, [INT3] = int3_streams, [NF4] = nf4_streams};
static void (*const packed_single_of[N_FORMATS])(const packed_tile *t) = {
    [INT8] = int8_single, [INT4] = int4_single, [INT4A] = int4a_single, [INT3] = int3_single, [NF4] = nf4_single};
#endif
