// Eight weight rows of a float format with one vector, where widen_rows.h would write their values down for several:
// what attention of a single token wants of kv_up. The bits are the same. Packed rows: sixteen_rows.h.
#ifndef HADAL_EIGHT_ROWS_H
#define HADAL_EIGHT_ROWS_H
#include "tile.h"
#include "widen_rows.h"

#ifdef __AVX2__
enum { EIGHT_INPUTS = 32 };

// EIGHT_INPUTS inputs of eight rows.
typedef struct {
  const uint8_t *data;
  size_t stride;
  f32x16 scale256;
} eight_inputs;

INLINE eight_inputs open_inputs(int format, const weight *w, int32_t row, int32_t k) {
  const weight_rows rows = rows_at(w, row, k);
  UNROLL for (int i = 0; i < EIGHT; i++)
    UNROLL for (int line = 0; line < EIGHT_INPUTS * format_bytes(format); line += LINE) prefetch(rows.data + (size_t)(EIGHT + i) * rows.stride + line);
  return (eight_inputs){rows.data, rows.stride, format == FP8 ? scale_at(&rows, 0) : zero16()};
}

// Inputs k to k + 15 of row i.
INLINE f32x16 inputs_of(const eight_inputs *from, int format, int i, int k) {
  return load16_weights(format, from->data + (size_t)i * from->stride + (size_t)(k * format_bytes(format)), from->scale256);
}

// to (width) += the rows by their factors, ascending
INLINE void add_eight(int format, float *to, const weight *w, int32_t row, const float *factors) {
  for (int32_t k = 0; k < w->width; k += EIGHT_INPUTS) {
    const eight_inputs inputs = open_inputs(format, w, row, k);
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
  for (int32_t k = 0; k < w->width; k += EIGHT_INPUTS) {
    const eight_inputs inputs = open_inputs(format, w, row, k);
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
#define EIGHT_ROWS_OF(name) {add_eight_##name, multiply_eight_##name}
static const eight_products eight_rows_of[N_FORMATS] = {
    [F32] = EIGHT_ROWS_OF(f32), [BF16] = EIGHT_ROWS_OF(bf16), [F16] = EIGHT_ROWS_OF(f16), [FP8] = EIGHT_ROWS_OF(fp8)};

// For `n` rows from `first` on; NULL where that is not eight whole ones side by side.
INLINE const eight_products *as_eight_rows(const weight *w, int32_t first, int32_t n) {
  const eight_products *of = eight_rows_of + w->format;
  return of->add && n == EIGHT && first % EIGHT == 0 && w->width % EIGHT_INPUTS == 0 ? of : NULL;
}
#endif
#endif
