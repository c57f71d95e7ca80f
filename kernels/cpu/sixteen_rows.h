// Packed weight rows (t16.h), sixteen at a time, with vectors in f32: what attention of generated tokens wants of
// kv_up. A lane is a weight row, as it lies: byte c of lane i of line j is the weight of input 4j + c of row i.
//
// Weights are widened without their scale, which one product a group takes in. The order of a sum is the same for one
// vector and for several, which meet what was widened once.
#ifndef HADAL_SIXTEEN_ROWS_H
#define HADAL_SIXTEEN_ROWS_H
#include "line.h"

enum { MOST_VECTORS = 8, FOUR = 4 };  // inputs of a line

typedef struct {
  int n;
  const float *x[MOST_VECTORS];
  float *to[MOST_VECTORS];
} vectors;

// Rows `row` to row + 16 * sixteens of a matrix; those from `next` on are read after them, most likely.
typedef struct {
  const weight *w;
  int32_t row, sixteens, next;
} packed_rows;

INLINE const uint8_t *blocks_at(int format, const weight *w, int32_t row) {
  return w->data + (size_t)(row / T16_ROWS) * (size_t)(w->width / T16_WIDTH) * t16_block_bytes(format);
}

// Input c of a line less its scale, times 2^24: a signed byte is widened where it lies, at the top of its lane.
INLINE f32x16 widen_byte(line bytes, int c) { return to_f32x16(top_byte16(bytes, c)); }
// All four, (4, 16).
INLINE void widen_line(float *to, int format, const uint8_t *block, int half, int j) {
  const line bytes = signed_line_of(format, block, half, j);
  UNROLL for (int c = 0; c < FOUR; c++) store16(to + c * T16_ROWS, widen_byte(bytes, c));
}
INLINE f32x16 scales_at(int format, const uint8_t *block, int half) {
  return mul16(load16_f16(block + t16_scale_at(format, half, 0)), splat16(0x1p-24f));
}
INLINE f32x16 mins_at(int format, const uint8_t *block, int half) {
  return load16_f16(block + t16_scale_at(format, half, 0) + LINE);
}

enum { VISITS = T16_WIDTH / FOUR };
// One of so many shares of a block's lines.
INLINE void prefetch_share(const uint8_t *block, size_t block_bytes, int share, int shares) {
  const int lines = (int)(block_bytes / LINE);
  for (int i = lines * share / shares; i < lines * (share + 1) / shares; i++) prefetch(block + i * LINE);
}

// ---- to (width) = the rows by their factors x (rows)

// Floats of workspace that add_sixteens needs.
INLINE size_t add_workspace(int32_t sixteens) { return (size_t)sixteens * T16_ROWS * (MOST_VECTORS + FOUR); }

// factors (vectors, sixteens, 16): each times its row's scale. mins: what all sums of the group begin with.
INLINE void scale_factors(int format, float *factors, float *mins, const uint8_t *block, size_t stride, int half,
                          int32_t sixteens, const vectors *v) {
  for (int t = 0; t < v->n; t++, factors += sixteens * T16_ROWS) {
    f32x16 sum = zero16();
    for (int32_t i = 0; i < sixteens; i++) {
      const uint8_t *at = block + (size_t)i * stride;
      const f32x16 x = load16(v->x[t] + i * T16_ROWS);
      store16(factors + i * T16_ROWS, mul16(x, scales_at(format, at, half)));
      if (format == INT4A) sum = fma16(x, mins_at(format, at, half), sum);
    }
    mins[t] = format == INT4A ? reduce_add16(sum) : 0;
  }
}

// Sums of four inputs over all rows: by a block's line j, of which the next sixteen rows lie `stride` bytes further.
INLINE void sum_line(int format, f32x16 *sum, const uint8_t *block, size_t stride, int half, int j, const float *factors, int32_t n) {
  UNROLL for (int part = 0; part < LANE_PARTS; part++) {
    f32x16 some[FOUR] = {zero16(), zero16(), zero16(), zero16()};
    const uint8_t *at = block;
    for (int32_t i = 0; i < n; i++, at += stride) {
      const line bytes = signed_line_of(format, at, half, j);
      const f32x16 factor = load16(factors + i * T16_ROWS);
      UNROLL for (int c = 0; c < FOUR; c++) some[c] = fma16(widen_byte(bytes, c), factor, some[c]);
    }
    UNROLL for (int c = 0; c < FOUR; c++) sum[c] = take_part16(part, some[c], sum[c]);
    keep_order();  // each part reads for itself: what both need would not stay in registers
  }
}
// The same by weights that are wide (rows, 4, 16) already.
INLINE void sum_wide(f32x16 *sum, const float *wide, const float *factors, int32_t n) {
  for (int32_t i = 0; i < n; i++) {
    const f32x16 factor = load16(factors + i * T16_ROWS);
    UNROLL for (int c = 0; c < FOUR; c++) sum[c] = fma16(load16(wide + (i * FOUR + c) * T16_ROWS), factor, sum[c]);
  }
}

INLINE void store_four(int format, float *to, const f32x16 *sum, float min) {
  store_sums4(to, sum[0], sum[1], sum[2], sum[3]);
  UNROLL for (int c = 0; format == INT4A && c < FOUR; c++) to[c] += min;
}

INLINE void add_sixteens(int format, const packed_rows *rows, const vectors *v, float *workspace) {
  const size_t block_bytes = t16_block_bytes(format), stride = (size_t)(rows->w->width / T16_WIDTH) * block_bytes;
  const uint8_t *block = blocks_at(format, rows->w, rows->row), *next = blocks_at(format, rows->w, rows->next);
  const int32_t n = rows->sixteens;
  float *factors = workspace, *wide = workspace + (size_t)n * T16_ROWS * MOST_VECTORS, mins[MOST_VECTORS];
  for (int32_t k = 0; k < rows->w->width; k += FOUR) {
    const int visit = k / FOUR % VISITS, half = visit / GROUP_LINES, j = visit % GROUP_LINES;
    const uint8_t *soon = k + T16_WIDTH < rows->w->width ? block + block_bytes : next;
    for (int32_t i = 0; i < n; i++) prefetch_share(soon + (size_t)i * stride, block_bytes, visit, VISITS);
    if (j == 0) scale_factors(format, factors, mins, block, stride, half, n, v);
    if (v->n == 1) {
      f32x16 sum[FOUR] = {zero16(), zero16(), zero16(), zero16()};
      sum_line(format, sum, block, stride, half, j, factors, n);
      store_four(format, v->to[0] + k, sum, mins[0]);
    } else {
      for (int32_t i = 0; i < n; i++) widen_line(wide + i * FOUR * T16_ROWS, format, block + (size_t)i * stride, half, j);
      for (int t = 0; t < v->n; t++) {
        f32x16 sum[FOUR] = {zero16(), zero16(), zero16(), zero16()};
        sum_wide(sum, wide, factors + t * n * T16_ROWS, n);
        store_four(format, v->to[t] + k, sum, mins[t]);
      }
    }
    if (visit == VISITS - 1) block += block_bytes;
  }
}

// ---- to (rows) = the rows times x (width)

// Sums of the inputs 4j + c of a group, j = 0 to 7, one row a lane.
INLINE void sum_group_lines(int format, f32x16 *sum, const uint8_t *block, int half, const float *x) {
  UNROLL for (int part = 0; part < LANE_PARTS; part++) {
    f32x16 some[FOUR] = {zero16(), zero16(), zero16(), zero16()};
    for (int j = 0; j < GROUP_LINES; j++) {
      const line bytes = signed_line_of(format, block, half, j);
      UNROLL for (int c = 0; c < FOUR; c++) some[c] = fma16(widen_byte(bytes, c), splat16(x[FOUR * j + c]), some[c]);
    }
    UNROLL for (int c = 0; c < FOUR; c++) sum[c] = take_part16(part, some[c], sum[c]);
    keep_order();
  }
}
INLINE void sum_wide_lines(f32x16 *sum, const float *wide, const float *x) {
  for (int j = 0; j < GROUP_LINES; j++)
    UNROLL for (int c = 0; c < FOUR; c++) sum[c] = fma16(load16(wide + (FOUR * j + c) * T16_ROWS), splat16(x[FOUR * j + c]), sum[c]);
}

// The end of a group.
INLINE f32x16 add_group_sums(int format, f32x16 total, const f32x16 *sum, const uint8_t *block, int half, const float *x) {
  const f32x16 all = add16(add16(sum[0], sum[1]), add16(sum[2], sum[3]));
  total = fma16(all, scales_at(format, block, half), total);
  if (format != INT4A) return total;
  return fma16(splat16(reduce_add16(add16(load16(x), load16(x + 16)))), mins_at(format, block, half), total);
}

INLINE void multiply_sixteens(int format, const packed_rows *rows, const vectors *v) {
  const size_t block_bytes = t16_block_bytes(format);
  const uint8_t *block = blocks_at(format, rows->w, rows->row);
  for (int32_t i = 0; i < rows->sixteens; i++) {
    f32x16 total[MOST_VECTORS];
    for (int t = 0; t < v->n; t++) total[t] = zero16();
    for (int32_t k = 0; k < rows->w->width; k += GROUP) {
      const int half = k / GROUP % 2;
      float wide[GROUP * T16_ROWS];
      prefetch_share(block + PACKED_AHEAD, block_bytes, half, 2);
      for (int j = 0; j < GROUP_LINES && v->n > 1; j++) widen_line(wide + j * FOUR * T16_ROWS, format, block, half, j);
      if (v->n == 1) {
        f32x16 sum[FOUR] = {zero16(), zero16(), zero16(), zero16()};
        sum_group_lines(format, sum, block, half, v->x[0] + k);
        total[0] = add_group_sums(format, total[0], sum, block, half, v->x[0] + k);
      }
      for (int t = 0; t < v->n && v->n > 1; t++) {
        f32x16 sum[FOUR] = {zero16(), zero16(), zero16(), zero16()};
        sum_wide_lines(sum, wide, v->x[t] + k);
        total[t] = add_group_sums(format, total[t], sum, block, half, v->x[t] + k);
      }
      if (half) block += block_bytes;
    }
    for (int t = 0; t < v->n; t++) store16(v->to[t] + i * T16_ROWS, total[t]);
  }
}

// ---- compiled apart for each format

typedef struct {
  void (*add)(const packed_rows *rows, const vectors *v, float *workspace);
  void (*multiply)(const packed_rows *rows, const vectors *v);
} sixteen_products;
#define SIXTEEN_ROWS(name, format)                                                                                     \
  static void add_sixteens_##name(const packed_rows *rows, const vectors *v, float *workspace) { add_sixteens(format, rows, v, workspace); } \
  static void multiply_sixteens_##name(const packed_rows *rows, const vectors *v) { multiply_sixteens(format, rows, v); }
SIXTEEN_ROWS(int8, INT8)
SIXTEEN_ROWS(int4, INT4)
SIXTEEN_ROWS(int4a, INT4A)
SIXTEEN_ROWS(int3, INT3)
SIXTEEN_ROWS(nf4, NF4)
#define SIXTEEN_ROWS_OF(name) {add_sixteens_##name, multiply_sixteens_##name}
static const sixteen_products sixteen_rows_of[N_FORMATS] = {
    [INT8] = SIXTEEN_ROWS_OF(int8), [INT4] = SIXTEEN_ROWS_OF(int4), [INT4A] = SIXTEEN_ROWS_OF(int4a),
    [INT3] = SIXTEEN_ROWS_OF(int3), [NF4] = SIXTEEN_ROWS_OF(nf4)};

// For `n` rows from `first` on; NULL where they are not sixteens of packed rows of whole blocks.
INLINE const sixteen_products *as_sixteen_rows(const weight *w, int32_t first, int32_t n) {
  const sixteen_products *of = sixteen_rows_of + w->format;
  return of->add && first % T16_ROWS == 0 && n % T16_ROWS == 0 && w->width % T16_WIDTH == 0 ? of : NULL;
}
#endif
