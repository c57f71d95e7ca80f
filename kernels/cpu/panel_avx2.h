// The products of a panel (product.h) on AVX2, eight of the sixteen lanes of tile.h at a time: so 4 x 3 sums fit
// into the 16 registers and 7 loads serve 12 multiplications, where both halves at once take 14. The sums are
// those of tile.h, bit for bit.
//
// Both operands are split rows: of each sixteen values the first eight, then from HALF on the last eight.
#ifndef HADAL_PANEL_AVX2_H
#define HADAL_PANEL_AVX2_H
#include "tile.h"

enum { HALF_ROWS = 4, HALF_COLUMNS = 3, HALF = K_BLOCK / 2 };

// Writes zeros up to a multiple of 16 values.
INLINE void split_row(float *to, const float *from, int width) {
  for (int k = 0; k < width; k += 16) {
    const f32x16 both = load16_first(from + k, width - k);
    _mm256_storeu_ps(to + k / 2, both.lo);
    _mm256_storeu_ps(to + HALF + k / 2, both.hi);
  }
}

// A whole tile over half of the lanes, `bytes` > 0 of each row: to[r * HALF_COLUMNS + c] is the half of a sum,
// rows of `x` and of `panel` are `stride` bytes apart. In assembly, because it takes all registers: compilers
// keep a sum or two in memory, which its chain of additions then waits for.
INLINE void multiply_half_tile(f32x16 *to, const float *x, const float *panel, size_t stride, size_t bytes) {
  intptr_t at = -(intptr_t)bytes;  // runs up to zero; the pointers stand at the end
  const char *x0 = (const char *)x + bytes, *x1 = x0 + stride, *x2 = x1 + stride, *x3 = x2 + stride;
  const char *p0 = (const char *)panel + bytes, *p1 = p0 + stride, *p2 = p1 + stride;
#define EACH(what) what(0) what(1) what(2) what(3) what(4) what(5) what(6) what(7) what(8) what(9) what(10) what(11)
#define CLEAR(i) "vxorps %%ymm" #i ", %%ymm" #i ", %%ymm" #i "\n\t"
#define STORE(i) "vmovups %%ymm" #i ", 64*" #i "(%[to])\n\t"
#define NAME(i) "xmm" #i,
#define ADD(column, sum) "vfmadd231ps %%ymm15, %%ymm" #column ", %%ymm" #sum "\n\t"
#define ROW(x, a, b, c) "vmovups (%[" #x "],%[at]), %%ymm15\n\t" ADD(12, a) ADD(13, b) ADD(14, c)
  __asm__ volatile(EACH(CLEAR) ".p2align 4\n1:\n\t"
                   "vmovups (%[p0],%[at]), %%ymm12\n\tvmovups (%[p1],%[at]), %%ymm13\n\tvmovups (%[p2],%[at]), %%ymm14\n\t"
                   ROW(x0, 0, 1, 2) ROW(x1, 3, 4, 5) ROW(x2, 6, 7, 8) ROW(x3, 9, 10, 11)
                   "add $32, %[at]\n\tjnz 1b\n\t" EACH(STORE)
                   : [at] "+r"(at)
                   : [to] "r"(to), [x0] "r"(x0), [x1] "r"(x1), [x2] "r"(x2), [x3] "r"(x3), [p0] "r"(p0), [p1] "r"(p1), [p2] "r"(p2)
                   : EACH(NAME) "xmm12", "xmm13", "xmm14", "xmm15", "cc", "memory");
#undef EACH
#undef CLEAR
#undef STORE
#undef NAME
#undef ADD
#undef ROW
}

// A smaller tile: at the edges.
INLINE void multiply_half_part(int n_rows, int n_columns, f32x16 *to, const float *x, const float *panel, size_t stride, size_t bytes) {
  __m256 sum[HALF_ROWS][HALF_COLUMNS];
  UNROLL for (int r = 0; r < n_rows; r++) UNROLL for (int c = 0; c < n_columns; c++) sum[r][c] = _mm256_setzero_ps();
  for (size_t at = 0; at < bytes; at += 32) {
    __m256 b[HALF_COLUMNS];
    UNROLL for (int c = 0; c < n_columns; c++) b[c] = _mm256_loadu_ps((const float *)((const char *)panel + (size_t)c * stride + at));
    UNROLL for (int r = 0; r < n_rows; r++) {
      const __m256 a = _mm256_loadu_ps((const float *)((const char *)x + (size_t)r * stride + at));
      UNROLL for (int c = 0; c < n_columns; c++) sum[r][c] = _mm256_fmadd_ps(a, b[c], sum[r][c]);
    }
  }
  UNROLL for (int r = 0; r < n_rows; r++)
    UNROLL for (int c = 0; c < n_columns; c++) _mm256_storeu_ps((float *)(to + r * HALF_COLUMNS + c), sum[r][c]);
}

// out[r * out_stride + c] = or += (a later block) the dot products over `width` <= K_BLOCK. Rows of `x` and of
// `panel` are `stride` floats apart.
INLINE void half_tile(int n_rows, int n_columns, float *out, size_t out_stride, const float *x, const float *panel, size_t stride,
                      int width, bool later_block) {
  f32x16 sums[HALF_ROWS * HALF_COLUMNS];
  const size_t row_bytes = stride * sizeof *x, bytes = ((size_t)width + 15) / 16 * 32;
  for (int half = 0; half < 2; half++) {
    f32x16 *to = (f32x16 *)((float *)sums + 8 * half);
    if (n_rows == HALF_ROWS && n_columns == HALF_COLUMNS) multiply_half_tile(to, x + half * HALF, panel + half * HALF, row_bytes, bytes);
    else multiply_half_part(n_rows, n_columns, to, x + half * HALF, panel + half * HALF, row_bytes, bytes);
  }
  UNROLL for (int r = 0; r < n_rows; r++) {
    const f32x16 *row = sums + r * HALF_COLUMNS;
    float *to = out + (size_t)r * out_stride, reduced[4];
    store_sums4(reduced, row[0], row[n_columns > 1 ? 1 : 0], row[n_columns > 2 ? 2 : 0], row[0]);
    UNROLL for (int c = 0; c < n_columns; c++) to[c] = reduced[c] + (later_block ? to[c] : 0);
  }
}

#define HALF_TILE(rows, columns) \
  if (n_rows == rows && n_columns == columns) half_tile(rows, columns, out, out_stride, x, panel, stride, width, later_block);
#define HALF_TILES(rows) HALF_TILE(rows, 1) HALF_TILE(rows, 2) HALF_TILE(rows, 3)
static __attribute__((noinline)) void panel_half_tile(int n_rows, int n_columns, float *out, size_t out_stride, const float *x,
                                                      const float *panel, size_t stride, int width, bool later_block) {
  HALF_TILES(1) HALF_TILES(2) HALF_TILES(3) HALF_TILES(4)
}
#undef HALF_TILE
#undef HALF_TILES
#endif
