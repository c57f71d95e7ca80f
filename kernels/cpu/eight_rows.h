// Eight weight rows with one vector, where widen_rows.h would write their values down for several: what attention of a
// single token wants of kv_up. The bits are the same.
#ifndef HADAL_EIGHT_ROWS_H
#define HADAL_EIGHT_ROWS_H
#include "tile.h"
#include "widen_rows.h"

#ifdef __AVX2__
// GROUP inputs of eight rows, as they lie or as `groups`.
typedef struct {
  const uint8_t *data;
  size_t stride;
  f32x16 scale256;
  eight_groups groups;
} eight_inputs;

INLINE void open_inputs(eight_inputs *to, int format, const weight *w, int32_t row, int32_t k) {
  if (is_packed(format)) {
    const size_t column_bytes = (size_t)(w->width / T16_WIDTH) * t16_block_bytes(format);
    const int half = k / GROUP % 2, first = row % T16_ROWS, lines = (int)(t16_block_bytes(format) / LINE);
    const uint8_t *block = w->data + (size_t)(row / T16_ROWS) * column_bytes + (size_t)(k / T16_WIDTH) * t16_block_bytes(format);
    // Four visits to a block fetch the one that is sixteen rows further.
    const int visit = first / EIGHT * 2 + half;
    for (int i = lines * visit / 4; i < lines * (visit + 1) / 4; i++) prefetch(block + column_bytes + i * LINE);
    read_eight_groups(&to->groups, format, block, half, first);
    return;
  }
  const weight_rows rows = rows_at(w, row, k);
  to->data = rows.data, to->stride = rows.stride, to->scale256 = format == FP8 ? scale_at(&rows, 0) : zero16();
  UNROLL for (int i = 0; i < EIGHT; i++)
    UNROLL for (int line = 0; line < GROUP * format_bytes(format); line += LINE) prefetch(rows.data + (size_t)(EIGHT + i) * rows.stride + line);
}

// Inputs k to k + 15 of row i.
INLINE f32x16 inputs_of(const eight_inputs *from, int format, int i, int k) {
  if (is_packed(format)) return weights_of_eight(&from->groups, format, i, k);
  return load16_weights(format, from->data + (size_t)i * from->stride + (size_t)(k * format_bytes(format)), from->scale256);
}

// to (width) += the rows by their factors, ascending
INLINE void add_eight(int format, float *to, const weight *w, int32_t row, const float *factors) {
  for (int32_t k = 0; k < w->width; k += GROUP) {
    eight_inputs inputs;
    open_inputs(&inputs, format, w, row, k);
    f32x16 sum[2] = {load16(to + k), load16(to + k + 16)};
    UNROLL for (int i = 0; i < EIGHT; i++)
      UNROLL for (int h = 0; h < 2; h++) sum[h] = fma16(splat16(factors[i]), inputs_of(&inputs, format, i, 16 * h), sum[h]);
    store16(to + k, sum[0]), store16(to + k + 16, sum[1]);
  }
}

// to[0..8) = the rows times x (width)
INLINE void multiply_eight(int format, float *to, const weight *w, int32_t row, const float *x) {
  f32x16 sum[EIGHT];
  UNROLL for (int i = 0; i < EIGHT; i++) sum[i] = zero16();
  for (int32_t k = 0; k < w->width; k += GROUP) {
    eight_inputs inputs;
    open_inputs(&inputs, format, w, row, k);
    UNROLL for (int i = 0; i < EIGHT; i++)
      UNROLL for (int h = 0; h < 2; h++) sum[i] = fma16(load16(x + k + 16 * h), inputs_of(&inputs, format, i, 16 * h), sum[i]);
  }
  UNROLL for (int i = 0; i < EIGHT; i++) to[i] = reduce_add16(sum[i]);
}

typedef struct {
  void (*add)(float *to, const weight *w, int32_t row, const float *factors);
  void (*multiply)(float *to, const weight *w, int32_t row, const float *x);
} eight_products;
#define EIGHT_ROWS(name, format)                                                                                       \
  static void add_eight_##name(float *to, const weight *w, int32_t row, const float *factors) { add_eight(format, to, w, row, factors); } \
  static void multiply_eight_##name(float *to, const weight *w, int32_t row, const float *x) { multiply_eight(format, to, w, row, x); }
EIGHT_ROWS(f32, F32)
EIGHT_ROWS(bf16, BF16)
EIGHT_ROWS(f16, F16)
EIGHT_ROWS(fp8, FP8)
EIGHT_ROWS(int8, INT8)
EIGHT_ROWS(int4, INT4)
EIGHT_ROWS(int4a, INT4A)
EIGHT_ROWS(int3, INT3)
EIGHT_ROWS(nf4, NF4)
#define EIGHT_ROWS_OF(name) {add_eight_##name, multiply_eight_##name}
static const eight_products eight_rows_of[N_FORMATS] = {
    [F32] = EIGHT_ROWS_OF(f32),   [BF16] = EIGHT_ROWS_OF(bf16),   [F16] = EIGHT_ROWS_OF(f16),   [FP8] = EIGHT_ROWS_OF(fp8), [INT8] = EIGHT_ROWS_OF(int8),
    [INT4] = EIGHT_ROWS_OF(int4), [INT4A] = EIGHT_ROWS_OF(int4a), [INT3] = EIGHT_ROWS_OF(int3), [NF4] = EIGHT_ROWS_OF(nf4)};

// For `n` rows from `first` on; NULL where that is not eight whole ones side by side.
INLINE const eight_products *as_eight_rows(const weight *w, int32_t first, int32_t n) {
  const eight_products *of = eight_rows_of + w->format;
  return of->add && n == EIGHT && first % EIGHT == 0 && w->width % T16_WIDTH == 0 ? of : NULL;
}
#endif
#endif
