// The register tile of the float matrix products: dot products of a few activation rows with a few weight
// rows, both read along their width as they lie in memory.
//
// The sum of an output is the same whatever the tile, so a row's result does not depend on its batch: the
// width in blocks of K_BLOCK; in a block sixteen lanes, each one chain of fma in ascending order, then the
// tree of reduce_add16; the blocks added in ascending order. A block of a tile's rows stays in L1, and
// the chains of two blocks overlap where a single row would wait for its own.
#ifndef HADAL_TILE_H
#define HADAL_TILE_H
#include "device.h"
#include "simd.h"

enum { K_BLOCK = 1024, STEP = 64, MOST_COLUMNS = 4 };

INLINE int format_bytes(int format) { return format == F32 ? 4 : format == FP8 ? 1 : 2; }

// Sixteen weights as f32; scale256 is for FP8 alone.
INLINE f32x16 load16_weights(int format, const uint8_t *from, f32x16 scale256) {
  switch (format) {
  case BF16: return load16_bf16(from);
  case F16: return load16_f16(from);
  case FP8: return load16_fp8_scaled(from, scale256);
  default: return load16(from);
  }
}
INLINE f32x16 load16_weights_part(int format, const uint8_t *from, f32x16 scale256, int n) {
  switch (format) {
  case BF16: return load16_bf16_part(from, n);
  case F16: return load16_f16_part(from, n);
  case FP8: return load16_fp8_scaled_part(from, scale256, n);
  default: return load16_part(from, n);
  }
}

// Weight rows of one tile, from a multiple of K_BLOCK on.
typedef struct {
  const uint8_t *data;
  size_t stride;         // bytes from row to row
  size_t bytes_left;     // from `data` to the end of its row
  const uint8_t *scale;  // FP8: f32 for each FP8_BLOCK of the width
} weight_rows;

// Rows of a matrix from `row` on, from column k on.
INLINE weight_rows rows_at(const weight *w, int32_t row, int32_t k) {
  const size_t bytes = (size_t)format_bytes(w->format), scales = (size_t)(w->width + FP8_BLOCK - 1) / FP8_BLOCK;
  return (weight_rows){
      .data = w->data + ((size_t)row * (size_t)w->width + (size_t)k) * bytes,
      .stride = (size_t)w->width * bytes,
      .bytes_left = (size_t)(w->width - k) * bytes,
      .scale = w->format == FP8 ? w->scale + ((size_t)(row / FP8_BLOCK) * scales + (size_t)(k / FP8_BLOCK)) * sizeof(float) : NULL,
  };
}

INLINE f32x16 scale_at(const weight_rows *w, int k) {
  float scale;
  memcpy(&scale, w->scale + k / FP8_BLOCK * sizeof scale, sizeof scale);
  return splat16(scale * 256);
}

// How far from `data` lies what is to be fetched when byte `at` of `n_columns` rows is read: ahead in each, from the
// end of these rows into those that follow.
INLINE size_t ahead_of(const weight_rows *w, size_t at, int n_columns) {
  const size_t ahead = at + (n_columns == 1 ? PREFETCH_ONE : PREFETCH_EACH);
  return n_columns > 1 && ahead >= w->bytes_left ? ahead + (size_t)(n_columns - 1) * w->stride : ahead;
}

// sum[r][c] += x[r][k .. k + 16] * w[c][k .. k + 16], or the first `n` of them
INLINE void tile_step(int n_rows, int n_columns, int format, f32x16 (*sum)[MOST_COLUMNS], const float *const *x,
                      const weight_rows *w, int k, int n) {
  const f32x16 scale256 = format == FP8 ? scale_at(w, k) : zero16();
  f32x16 b[MOST_COLUMNS];
  UNROLL for (int c = 0; c < n_columns; c++) {
    const uint8_t *from = w->data + (size_t)c * w->stride + (size_t)k * (size_t)format_bytes(format);
    b[c] = n == 16 ? load16_weights(format, from, scale256) : load16_weights_part(format, from, scale256, n);
  }
  UNROLL for (int r = 0; r < n_rows; r++) {
    const f32x16 a = in_register16(n == 16 ? load16(x[r] + k) : load16_part(x[r] + k, n));
    UNROLL for (int c = 0; c < n_columns; c++) sum[r][c] = fma16(a, b[c], sum[r][c]);
  }
}

// out[r * out_stride + c] = or += (a later block) the dot products over `width` <= K_BLOCK. Prefetches weights where
// they stream by.
INLINE void tile(int n_rows, int n_columns, int format, bool streams, float *out, size_t out_stride, const float *const *x,
                 const weight_rows *w, int width, bool later_block) {
  f32x16 sum[TILE_ROWS][MOST_COLUMNS];
  const float *rows[TILE_ROWS];
  UNROLL for (int r = 0; r < n_rows; r++) {
    rows[r] = x[r];
    UNROLL for (int c = 0; c < n_columns; c++) sum[r][c] = zero16();
  }
  const weight_rows local = *w;
  const int bytes = format_bytes(format);
  int k = 0;
  // Long enough steps that a processor foresees the last one and begins the next tile in time.
  for (; k + STEP <= width; k += STEP) {
    if (streams) {
      const size_t ahead = ahead_of(&local, (size_t)(k * bytes), n_columns);
      UNROLL for (int c = 0; c < n_columns; c++)
        UNROLL for (int line = 0; line < STEP * bytes; line += LINE) prefetch(local.data + (size_t)c * local.stride + ahead + line);
    }
    UNROLL for (int i = 0; i < STEP; i += 16) tile_step(n_rows, n_columns, format, sum, rows, &local, k + i, 16);
  }
  for (; k + 16 <= width; k += 16) tile_step(n_rows, n_columns, format, sum, rows, &local, k, 16);
  if (k < width) tile_step(n_rows, n_columns, format, sum, rows, &local, k, width - k);

  UNROLL for (int r = 0; r < n_rows; r++) {
    float *to = out + (size_t)r * out_stride;
    if (n_columns == 4 && later_block) add_sums4(to, sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
    else if (n_columns == 4) store_sums4(to, sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
    else UNROLL for (int c = 0; c < n_columns; c++) to[c] = reduce_add16(sum[r][c]) + (later_block ? to[c] : 0);
  }
}

// Compiled apart for each format, for TILE_COLUMNS weight rows or one, and for 1..TILE_ROWS activation rows.
typedef void (*tile_fn)(int n_rows, float *out, size_t out_stride, const float *const *x, const weight_rows *w, int width,
                        bool later_block);
#define AT_MOST(n) (TILE_ROWS < n ? TILE_ROWS : n)
#define TILE_FUNCTION(name, n_columns, format, streams)                                                                             \
  static __attribute__((noinline)) void name(int n_rows, float *out, size_t out_stride, const float *const *x,                      \
                                             const weight_rows *w, int width, bool later_block) {                                   \
    if (n_rows == 1) tile(1, n_columns, format, streams, out, out_stride, x, w, width, later_block);                                \
    else if (n_rows == 2 && TILE_ROWS > 2) tile(AT_MOST(2), n_columns, format, streams, out, out_stride, x, w, width, later_block); \
    else if (n_rows == 3 && TILE_ROWS > 3) tile(AT_MOST(3), n_columns, format, streams, out, out_stride, x, w, width, later_block); \
    else if (n_rows == 4 && TILE_ROWS > 4) tile(AT_MOST(4), n_columns, format, streams, out, out_stride, x, w, width, later_block); \
    else if (n_rows == 5 && TILE_ROWS > 5) tile(AT_MOST(5), n_columns, format, streams, out, out_stride, x, w, width, later_block); \
    else tile(TILE_ROWS, n_columns, format, streams, out, out_stride, x, w, width, later_block);                                    \
  }
#define TILE_FUNCTIONS(name, format) TILE_FUNCTION(name##_tile, TILE_COLUMNS, format, true) TILE_FUNCTION(name##_column, 1, format, true)
TILE_FUNCTIONS(f32, F32)
TILE_FUNCTIONS(bf16, BF16)
TILE_FUNCTIONS(f16, F16)
TILE_FUNCTIONS(fp8, FP8)
#ifndef TILE_HALVES
TILE_FUNCTION(panel_tile, TILE_COLUMNS, F32, false)
TILE_FUNCTION(panel_column, 1, F32, false)
#endif

static const tile_fn tile_of[] = {[F32] = f32_tile, [BF16] = bf16_tile, [F16] = f16_tile, [FP8] = fp8_tile};
static const tile_fn column_of[] = {[F32] = f32_column, [BF16] = bf16_column, [F16] = f16_column, [FP8] = fp8_column};
#endif
