// One activation row with several weight rows at a time, whose sums are those of tile.h: alone, a row would wait for its
// own chain of them.
//
// In memory the rows of a strip do not lie side by side but a part of the chunk apart, so that a core reads
// STRIP_COLUMNS long streams from end to end. That is faster than one: more lines are under way together, and each
// stream is fetched ahead by hardware as well. Rows side by side are short streams that begin anew with every strip; fp8
// has them nevertheless, whose rows of a strip share their scales.
#ifndef HADAL_STRIP_H
#define HADAL_STRIP_H
#include "tile.h"

// out[c * apart] = or += (a later block) the dot product with row c, which begins c * w->stride from the first, over
// `width` <= K_BLOCK.
INLINE void strip(int format, float *out, size_t apart, const float *x, const weight_rows *w, int width, bool later_block) {
  // A burst of prefetches finds the buffers full: they are spread over the products.
  enum { PRODUCTS = STEP / 16 * STRIP_COLUMNS };
  const int bytes = format_bytes(format), fetches = STRIP_COLUMNS * STEP * bytes / LINE;
  const uint8_t *row[STRIP_COLUMNS];
  f32x16 sum[1][MOST_COLUMNS];
  UNROLL for (int c = 0; c < STRIP_COLUMNS; c++) row[c] = w->data + (size_t)c * w->stride, sum[0][c] = zero16();
  int k = 0;
  for (; k + STEP <= width; k += STEP) {
    UNROLL for (int product = 0; product < PRODUCTS; product++) {
      const int c = product % STRIP_COLUMNS, i = k + product / STRIP_COLUMNS * 16;
      if (product * fetches % PRODUCTS == 0) {
        const int fetch = product * fetches / PRODUCTS;
        keep_order();
        prefetch(row[fetch % STRIP_COLUMNS] + k * bytes + fetch / STRIP_COLUMNS * LINE + PREFETCH_EACH);
      }
      sum[0][c] = fma16(load16(x + i), load16_weights(format, row[c] + i * bytes, zero16()), sum[0][c]);
    }
  }
  for (; k < width; k += 16) tile_step(1, STRIP_COLUMNS, format, sum, &x, w, k, width - k < 16 ? width - k : 16);
  UNROLL for (int c = 0; c < STRIP_COLUMNS; c++) {
    float *to = out + (size_t)c * apart;
    *to = reduce_add16(sum[0][c]) + (later_block ? *to : 0);
  }
}

// Compiled apart for each format.
typedef void (*strip_fn)(float *out, size_t apart, const float *x, const weight_rows *w, int width, bool later_block);
#define STRIP_FUNCTION(name, format)                                                                                           \
  static __attribute__((noinline)) void name##_strip(float *out, size_t apart, const float *x, const weight_rows *w, int width, \
                                                     bool later_block) {                                                       \
    strip(format, out, apart, x, w, width, later_block);                                                                       \
  }
STRIP_FUNCTION(f32, F32)
STRIP_FUNCTION(bf16, BF16)
STRIP_FUNCTION(f16, F16)
// Rows side by side.
static __attribute__((noinline)) void fp8_strip(float *out, size_t apart, const float *x, const weight_rows *w, int width, bool later_block) {
  (void)apart;
  tile(1, STRIP_COLUMNS, FP8, true, out, 0, &x, w, width, later_block);
}
static const strip_fn strip_of[] = {[F32] = f32_strip, [BF16] = bf16_strip, [F16] = f16_strip, [FP8] = fp8_strip};

#ifdef PAIRED_BF16
#include "bf16_strips_avx2.h"
#endif

// out[c] = x times weight row first + c, for c < n_strips * STRIP_COLUMNS
INLINE void multiply_strips(float *out, const float *x, const weight *w, int32_t first, int32_t n_strips) {
#ifdef PAIRED_BF16
  if (has_paired_strips(w)) {
    multiply_paired_strips(out, x, w, first, n_strips);
    return;
  }
#endif
  const strip_fn fn = strip_of[w->format];
  const int32_t apart = w->format == FP8 ? 1 : n_strips, next = w->format == FP8 ? STRIP_COLUMNS : 1;
  for (int32_t i = 0; i < n_strips; i++) {
    for (int32_t k = 0; k < w->width; k += K_BLOCK) {
      weight_rows rows = rows_at(w, first + i * next, k);
      rows.stride *= (size_t)apart;
      fn(out + i * next, (size_t)apart, x + k, &rows, w->width - k < K_BLOCK ? w->width - k : K_BLOCK, k > 0);
    }
  }
}
#endif
