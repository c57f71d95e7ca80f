// The products of a panel (product.h) on AVX2, eight of the sixteen lanes of tile.h at a time: so 4 x 3 sums fit
// into the 16 registers and 7 loads serve 12 multiplications, where both halves at once take 14. The sums are
// those of tile.h, bit for bit.
//
// The columns of a panel lie in threes, as they are met: (half, width / 16, column, 8), so that a core reads it from
// end to end, in one stream that it fetches ahead by itself. Activations are read where they are: (width / 16, half, 8).
#ifndef HADAL_PANEL_AVX2_H
#define HADAL_PANEL_AVX2_H
#include "tile.h"

enum { HALF_ROWS = 4, HALF_COLUMNS = 3, EIGHT_LANES = 8, PANEL_STEP = HALF_COLUMNS * EIGHT_LANES, PANEL_HALF = K_BLOCK / 16 * PANEL_STEP };

// Column c of three; writes zeros up to a multiple of 16 values.
INLINE void lay_out_column(float *three, int c, const float *from, int width) {
  float *to = three + c * EIGHT_LANES;
  for (int k = 0; k < width; k += 16, to += PANEL_STEP) {
    const f32x16 both = load16_first(from + k, width - k);
    _mm256_storeu_ps(to, both.lo);
    _mm256_storeu_ps(to + PANEL_HALF, both.hi);
  }
}

// A whole tile over half of the lanes, in `steps` > 0 of sixteen inputs: to[r * HALF_COLUMNS + c] is the half of a sum.
// In assembly, because it takes all registers: compilers keep a sum or two in memory, which its chain of additions then
// waits for.
INLINE void multiply_half_tile(f32x16 *to, const float *const *x, int half, const float *panel, size_t steps) {
  const size_t bytes = steps * 64;
  intptr_t at = -(intptr_t)bytes;  // runs up to zero; the rows stand at their ends
  const char *x0 = (const char *)(x[0] + half * EIGHT_LANES) + bytes, *x1 = (const char *)(x[1] + half * EIGHT_LANES) + bytes;
  const char *x2 = (const char *)(x[2] + half * EIGHT_LANES) + bytes, *x3 = (const char *)(x[3] + half * EIGHT_LANES) + bytes;
#define EACH(what) what(0) what(1) what(2) what(3) what(4) what(5) what(6) what(7) what(8) what(9) what(10) what(11)
#define CLEAR(i) "vxorps %%ymm" #i ", %%ymm" #i ", %%ymm" #i "\n\t"
#define STORE(i) "vmovups %%ymm" #i ", 64*" #i "(%[to])\n\t"
#define NAME(i) "xmm" #i,
#define ADD(column, sum) "vfmadd231ps %%ymm15, %%ymm" #column ", %%ymm" #sum "\n\t"
#define ROW(x, a, b, c) "vmovups (%[" #x "],%[at]), %%ymm15\n\t" ADD(12, a) ADD(13, b) ADD(14, c)
  __asm__ volatile(EACH(CLEAR) ".p2align 4\n1:\n\t"
                   "vmovups (%[panel]), %%ymm12\n\tvmovups 32(%[panel]), %%ymm13\n\tvmovups 64(%[panel]), %%ymm14\n\t"
                   "prefetcht0 1024(%[panel])\n\tadd $96, %[panel]\n\t"
                   ROW(x0, 0, 1, 2) ROW(x1, 3, 4, 5) ROW(x2, 6, 7, 8) ROW(x3, 9, 10, 11)
                   "add $64, %[at]\n\tjnz 1b\n\t" EACH(STORE)
                   : [at] "+r"(at), [panel] "+r"(panel)
                   : [to] "r"(to), [x0] "r"(x0), [x1] "r"(x1), [x2] "r"(x2), [x3] "r"(x3)
                   : EACH(NAME) "xmm12", "xmm13", "xmm14", "xmm15", "cc", "memory");
#undef EACH
#undef CLEAR
#undef STORE
#undef NAME
#undef ADD
#undef ROW
}

// A smaller tile: at the edges.
INLINE void multiply_half_part(int n_rows, int n_columns, f32x16 *to, const float *const *x, int half, const float *panel, size_t steps) {
  __m256 sum[HALF_ROWS][HALF_COLUMNS];
  UNROLL for (int r = 0; r < n_rows; r++) UNROLL for (int c = 0; c < n_columns; c++) sum[r][c] = _mm256_setzero_ps();
  for (size_t step = 0; step < steps; step++) {
    __m256 b[HALF_COLUMNS];
    UNROLL for (int c = 0; c < n_columns; c++) b[c] = _mm256_loadu_ps(panel + step * PANEL_STEP + c * EIGHT_LANES);
    UNROLL for (int r = 0; r < n_rows; r++) {
      const __m256 a = _mm256_loadu_ps(x[r] + step * 16 + half * EIGHT_LANES);
      UNROLL for (int c = 0; c < n_columns; c++) sum[r][c] = _mm256_fmadd_ps(a, b[c], sum[r][c]);
    }
  }
  UNROLL for (int r = 0; r < n_rows; r++)
    UNROLL for (int c = 0; c < n_columns; c++) _mm256_storeu_ps((float *)(to + r * HALF_COLUMNS + c), sum[r][c]);
}

// out[r * out_stride + c] = or += (a later block) the dot products of rows x with three columns, or fewer, in `steps`
// of sixteen inputs.
INLINE void half_tile(int n_rows, int n_columns, float *out, size_t out_stride, const float *const *x, const float *three, size_t steps,
                      bool later_block) {
  f32x16 sums[HALF_ROWS * HALF_COLUMNS];
  for (int half = 0; half < 2; half++) {
    f32x16 *to = (f32x16 *)((float *)sums + EIGHT_LANES * half);
    if (n_rows == HALF_ROWS && n_columns == HALF_COLUMNS) multiply_half_tile(to, x, half, three + half * PANEL_HALF, steps);
    else multiply_half_part(n_rows, n_columns, to, x, half, three + half * PANEL_HALF, steps);
  }
  UNROLL for (int r = 0; r < n_rows; r++) {
    const f32x16 *row = sums + r * HALF_COLUMNS;
    float *to = out + (size_t)r * out_stride, reduced[4];
    store_sums4(reduced, row[0], row[n_columns > 1 ? 1 : 0], row[n_columns > 2 ? 2 : 0], row[0]);
    UNROLL for (int c = 0; c < n_columns; c++) to[c] = reduced[c] + (later_block ? to[c] : 0);
  }
}

#define HALF_TILE(rows, columns) \
  if (n_rows == rows && n_columns == columns) half_tile(rows, columns, out, out_stride, x, three, steps, later_block);
#define HALF_TILES(rows) HALF_TILE(rows, 1) HALF_TILE(rows, 2) HALF_TILE(rows, 3)
static __attribute__((noinline)) void panel_half_tile(int n_rows, int n_columns, float *out, size_t out_stride, const float *const *x,
                                                      const float *three, size_t steps, bool later_block) {
  HALF_TILES(1) HALF_TILES(2) HALF_TILES(3) HALF_TILES(4)
}
#undef HALF_TILE
#undef HALF_TILES
#endif
