// The product of activation rows with some rows of a weight matrix of any format: what linear and the
// experts are made of.
#ifndef HADAL_PRODUCT_H
#define HADAL_PRODUCT_H
#include "gguf_panel.h"
#include "gguf_rows.h"
#include "packed.h"
#include "strip.h"
#include "weight_row.h"
#ifdef TILE_HALVES
#include "panel_avx2.h"
#endif
#ifdef PLAIN_FP8
#include "fp8_avx2.h"
#endif
#ifdef LINE_PANELS
#include "packed_panel.h"
#endif

// Rows of a panel are not a power of two apart, or they would crowd the same few sets of L1 (panel_avx2.h lays them out otherwise). 48 of them are whole
// tiles of three, and leave room for activations in half a megabyte of L2.
enum { PANEL_ROWS = 48, PANEL_STRIDE = K_BLOCK + 16, PANEL_BYTES = PANEL_ROWS * PANEL_STRIDE * 4 };

// `n` rows of `width`; row i lies at index[i], or at i where index is NULL. `rounded` (int8.h) is for packed
// weights and blocks: where it is NULL, they are widened and meet the f32 rows.
typedef struct {
  const float *x;
  const uint8_t *rounded;
  const int32_t *index;
  int32_t n, width;
} activations;

// Rows `first` to first + most, as far as there are any.
INLINE activations part_of(const activations *a, int32_t first, int32_t most) {
  activations part = *a;
  part.n = a->n - first < most ? a->n - first : most;
  if (a->index) {
    part.index += first;
  } else {
    part.x += (size_t)first * (size_t)a->width;
    if (a->rounded) part.rounded += (size_t)first * rounded_bytes(a->width);
  }
  return part;
}

INLINE size_t row_of(const activations *a, int32_t i) { return (size_t)(a->index ? a->index[i] : i); }

// Rows are cut into tiles of at most `most`, of nearly equal size: 8 are 4 + 4, not 6 + 2.
INLINE int32_t n_tiles(int32_t n, int32_t most) { return (n + most - 1) / most; }
INLINE int32_t tile_start(int32_t n, int32_t most, int32_t tile) { return (int32_t)((int64_t)n * tile / n_tiles(n, most)); }

// One block of the width: tiles `begin` to `end` of the activation rows with the weight rows of one tile.
INLINE void multiply_tiles(tile_fn fn, float *out, size_t out_stride, const activations *a, int32_t begin, int32_t end,
                           const weight_rows *w, int32_t k, int width) {
  for (int32_t t = begin; t < end; t++) {
    const int32_t first = tile_start(a->n, TILE_ROWS, t), count = tile_start(a->n, TILE_ROWS, t + 1) - first;
    const float *x[TILE_ROWS];
    for (int32_t r = 0; r < count; r++) x[r] = a->x + row_of(a, first + r) * (size_t)a->width + k;
    fn(count, out + (size_t)first * out_stride, out_stride, x, w, width, k > 0);
  }
}

INLINE int block_width(int32_t width, int32_t k) { return width - k < K_BLOCK ? width - k : K_BLOCK; }

// Few activation rows: the weights flow by once.
static void stream(float *out, size_t out_stride, const activations *a, const weight *w, int32_t first, int32_t count) {
  // With one activation row, several weight rows at once (a strip) gain where the chain of sums of one is what a core
  // waits for: in rows that caches hold, in fp8, costly to widen, and in all of them on AVX2.
  const bool in_strips = a->n == 1 && STRIP_COLUMNS > 1 && (w->format == FP8 || w->width <= STRIP_WIDTH);
  const int32_t n_strips = in_strips ? count / STRIP_COLUMNS : 0, at_once = a->n == 1 ? 1 : TILE_COLUMNS;
  multiply_strips(out, a->x + row_of(a, 0) * (size_t)a->width, w, first, n_strips);
  for (int32_t c = n_strips * STRIP_COLUMNS, columns; c < count; c += columns) {
    columns = count - c < at_once ? 1 : at_once;
    const tile_fn fn = (columns == 1 ? column_of : tile_of)[w->format];
    for (int32_t k = 0; k < w->width; k += K_BLOCK) {
      const weight_rows rows = rows_at(w, first + c, k);
      multiply_tiles(fn, out + c, out_stride, a, 0, n_tiles(a->n, TILE_ROWS), &rows, k, block_width(w->width, k));
    }
  }
}

#ifdef PLAIN_FP8
// One block of the width: `n_columns` weight rows from `row` on, `apart`, with all activations, which lie turned too.
INLINE void multiply_fp8(float *out, size_t out_stride, const activations *a, const float *turned, const weight *w, int32_t row,
                         int32_t apart, int32_t n_columns, int32_t k) {
  fp8_step t = {.out = out, .out_row = out_stride, .out_column = (size_t)apart, .width = block_width(w->width, k), .later_block = k > 0};
  const float *x[FP8_SUMS];
  weight_rows rows[FP8_SUMS];
  for (int32_t r = 0; r < a->n; r++) {
    x[r] = a->x + row_of(a, r) * (size_t)a->width + k;
    t.x[r] = turned + (size_t)r * (size_t)a->width + k;
  }
  for (int32_t c = 0; c < n_columns; c++) {
    rows[c] = rows_at(w, row + c * apart, k);
    t.data[c] = rows[c].data, t.scale[c] = rows[c].scale;
  }
  if (fp8_of[a->n - 1][n_columns > 1](&t)) return;
  for (int32_t c = 0; c < n_columns; c++)
    column_of[FP8](a->n, out + (size_t)c * (size_t)apart, out_stride, x, rows + c, t.width, k > 0);
}

INLINE bool is_for_fp8(const activations *a, const weight *w) {
  return w->format == FP8 && a->n <= FP8_SUMS && w->width % LINE == 0 && (size_t)a->n * (size_t)w->width * sizeof(float) <= PANEL_BYTES;
}

// stream() in long streams (strip.h). turned: PANEL_BYTES
static void stream_fp8(float *out, size_t out_stride, const activations *a, const weight *w, int32_t first, int32_t count, float *turned) {
  for (int32_t r = 0; r < a->n; r++) turn_row(turned + (size_t)r * (size_t)a->width, a->x + row_of(a, r) * (size_t)a->width, a->width);
  for (int32_t c = 0, n_columns = FP8_SUMS / a->n; c < count; n_columns = 1) {
    const int32_t strips = (count - c) / n_columns;
    for (int32_t i = c; i < c + strips; i++)
      for (int32_t k = 0; k < w->width; k += K_BLOCK) multiply_fp8(out + i, out_stride, a, turned, w, first + i, strips, n_columns, k);
    c += strips * n_columns;
  }
}
#endif

INLINE void prefetch_bytes(const uint8_t *from, int n) {
  for (int i = 0; i < n; i += LINE) prefetch(from + i);
}

// One block of the width: all activation rows with the columns of a panel.
#ifdef TILE_HALVES
INLINE void multiply_columns(float *out, size_t out_stride, const activations *a, const float *panel, int32_t count, int32_t k, int width) {
  float padded[HALF_ROWS * K_BLOCK];
  const int steps = (width + 15) / 16, tiles = n_tiles(a->n, HALF_ROWS), threes = n_tiles(count, HALF_COLUMNS);
  for (int32_t t = 0; t < tiles; t++) {
    const int32_t first = tile_start(a->n, HALF_ROWS, t), n_rows = tile_start(a->n, HALF_ROWS, t + 1) - first;
    const float *x[HALF_ROWS];
    for (int32_t r = 0; r < n_rows; r++) {
      x[r] = a->x + row_of(a, first + r) * (size_t)a->width + k;
      if (width % 16 == 0) continue;
      memset(padded + r * K_BLOCK + (steps - 1) * 16, 0, 16 * sizeof *padded);
      x[r] = memcpy(padded + r * K_BLOCK, x[r], (size_t)width * sizeof *padded);
    }
    for (int32_t g = 0; g < threes; g++) {
      const int32_t c = tile_start(count, HALF_COLUMNS, g), columns = tile_start(count, HALF_COLUMNS, g + 1) - c;
      panel_half_tile(n_rows, columns, out + (size_t)first * out_stride + c, out_stride, x, panel + (size_t)g * 2 * PANEL_HALF, (size_t)steps, k > 0);
    }
  }
}
#else
INLINE void multiply_columns(float *out, size_t out_stride, const activations *a, const float *panel, int32_t count, int32_t k, int width) {
  for (int32_t t = 0; t < n_tiles(a->n, TILE_ROWS); t++) {
    for (int32_t c = 0, columns; c < count; c += columns) {
      const weight_rows rows = {.data = (const uint8_t *)(panel + (size_t)c * PANEL_STRIDE), .stride = PANEL_STRIDE * sizeof *panel};
      columns = count - c < TILE_COLUMNS ? 1 : TILE_COLUMNS;
      multiply_tiles(columns == 1 ? panel_column : panel_tile, out + c, out_stride, a, t, t + 1, &rows, k, width);
    }
  }
}
#endif

// A block of a weight row; those after it are fetched.
INLINE void widen_column(float *to, const weight *w, int32_t row, int32_t k, int width) {
  if (w->format <= FP8) prefetch_bytes(rows_at(w, row + 2, k).data, width * format_bytes(w->format));
  widen_part(to, w, row, k, k + width);
}

// Many activation rows: a block of the width of up to PANEL_ROWS weight rows is widened to f32 once and lies
// in L2, a tile of activation rows in L1.
static void multiply_panel(float *out, size_t out_stride, const activations *a, const weight *w, int32_t first, int32_t count,
                           float *panel) {
  for (int32_t k = 0; k < w->width; k += K_BLOCK) {
    const int width = block_width(w->width, k);
#ifdef TILE_HALVES
    for (int32_t g = 0; g < n_tiles(count, HALF_COLUMNS); g++) {
      const int32_t begin = tile_start(count, HALF_COLUMNS, g), end = tile_start(count, HALF_COLUMNS, g + 1);
      for (int32_t c = begin; c < end; c++) {
        float wide[K_BLOCK];
        widen_column(wide, w, first + c, k, width);
        lay_out_column(panel + (size_t)g * 2 * PANEL_HALF, c - begin, wide, width);
      }
    }
#else
    for (int32_t c = 0; c < count; c++) widen_column(panel + (size_t)c * PANEL_STRIDE, w, first + c, k, width);
#endif
    multiply_columns(out, out_stride, a, panel, count, k, width);
  }
}

#ifdef LINE_PANELS
_Static_assert(PANEL_BLOCKS * PANEL_BLOCK_BYTES <= PANEL_BYTES, "a panel");

// One panel after the other with activation rows that stay in L2: sixteen weight rows of a stretch of the width.
static void multiply_packed_panels(float *out, size_t out_stride, const activations *a, const weight *w, int32_t first, int32_t count,
                                   uint8_t *panel) {
  const int format = w->format;
  const size_t padded = padded_width(w->width), blocks = padded / T16_WIDTH, row_bytes = rounded_bytes(w->width);
  const size_t block_bytes = t16_block_bytes(format);
  const int32_t most = packed_tile_rows(format), tiles = n_tiles(a->n, most);
  for (size_t at = 0, some; at < blocks; at += some) {
    some = blocks - at < PANEL_BLOCKS ? blocks - at : PANEL_BLOCKS;
    for (int32_t c = 0; c < count; c += T16_ROWS) {
      const uint8_t *block = w->data + ((size_t)((first + c) / T16_ROWS) * blocks + at) * block_bytes;
      const bool is_last = c + T16_ROWS >= count;
      packed_panel_tile t = {.out_stride = out_stride, .panel = panel, .padded = padded, .valid = is_last ? count - c : T16_ROWS};
      t.first_group = T16_WIDTH / GROUP * at, t.groups = T16_WIDTH / GROUP * some;
      t.next = is_last ? w->data + ((size_t)(first / T16_ROWS) * blocks + at + some) * block_bytes : block + blocks * block_bytes;
      lay_out_packed_of[format](panel, block, some);
      for (int32_t tile = 0; tile < tiles; tile++) {
        const int32_t from = tile_start(a->n, most, tile), n = tile_start(a->n, most, tile + 1) - from;
        const uint8_t *x[MOST_PACKED_ROWS];
        for (int32_t r = 0; r < n; r++) x[r] = a->rounded + row_of(a, from + r) * row_bytes;
        t.x = x, t.out = out + (size_t)from * out_stride + c;
        packed_panel_tile_of[format](n, &t);
        t.next = NULL;
      }
    }
  }
}

// multiply_packed for many activation rows.
static void multiply_packed_panel(float *out, size_t out_stride, const activations *a, const weight *w, int32_t first, int32_t count,
                                  uint8_t *panel) {
  const int32_t parts = n_tiles(a->n, PANEL_ACTIVATIONS);
  for (int32_t part = 0; part < parts; part++) {
    const int32_t from = tile_start(a->n, PANEL_ACTIVATIONS, part), n = tile_start(a->n, PANEL_ACTIVATIONS, part + 1) - from;
    activations some = part_of(a, from, n);
    multiply_packed_panels(out + (size_t)from * out_stride, out_stride, &some, w, first, count, panel);
  }
}
#endif

// Packed weights with rounded activations, a tile of weight rows after the other; `first` is a multiple of 16.
static void multiply_packed(float *out, size_t out_stride, const activations *a, const weight *w, int32_t first, int32_t count,
                            uint8_t *panel) {
#ifdef LINE_PANELS
  if (a->n >= packed_panel_from(w->format)) {
    multiply_packed_panel(out, out_stride, a, w, first, count, panel);
    return;
  }
#endif
  (void)panel;
  const size_t padded = padded_width(w->width), group_bytes = padded / T16_WIDTH * t16_block_bytes(w->format);
  const size_t row_bytes = rounded_bytes(w->width);
  int32_t c = 0;
  if (a->n == 1 && PACKED_STREAMS > 1) {
    const int32_t each = count / T16_ROWS / PACKED_STREAMS;  // groups of a stream
    const uint8_t *x = a->rounded + row_of(a, 0) * row_bytes, *blocks = w->data + (size_t)(first / T16_ROWS) * group_bytes;
    for (int32_t group = 0; group < each; group++) {
      const packed_tile t = {.out = out + group * T16_ROWS, .x = &x, .blocks = blocks + (size_t)group * group_bytes, .padded = padded};
      packed_streams_of[w->format](&t, (size_t)each * group_bytes, (size_t)each * T16_ROWS);
    }
    c = each * PACKED_STREAMS * T16_ROWS;
  }
  for (int32_t columns; c < count; c += columns * T16_ROWS) {
    columns = count - c <= T16_ROWS ? 1 : PACKED_COLUMNS;
    // A single group where there would be more meets one row at a time.
    const int32_t most = columns < PACKED_COLUMNS ? 1 : packed_tile_rows(w->format), tiles = (a->n + most - 1) / most;
    const int32_t left = count - c;
    packed_tile t = {.out_stride = out_stride,
                     .blocks = w->data + (size_t)((first + c) / T16_ROWS) * group_bytes,
                     .column_bytes = group_bytes,
                     .padded = padded,
                     .valid = left < columns * T16_ROWS ? left : columns * T16_ROWS};
    for (int32_t tile = 0; tile < tiles; tile++) {
      const int32_t from = (int32_t)((int64_t)a->n * tile / tiles), n = (int32_t)((int64_t)a->n * (tile + 1) / tiles) - from;
      const uint8_t *x[MOST_PACKED_ROWS];
      for (int32_t r = 0; r < n; r++) x[r] = a->rounded + row_of(a, from + r) * row_bytes;
      t.x = x, t.out = out + (size_t)from * out_stride + c;
      if (columns < PACKED_COLUMNS) packed_single_of[w->format](&t);
      else packed_tile_of[w->format](n, &t);
    }
  }
}

// GGUF's blocks with rounded activations. A few of those meet the blocks as they lie; for more, a stretch of
// sixteen weight rows is laid out in `panel` once. `first` is a multiple of 16.
static void multiply_gguf(float *out, size_t out_stride, const activations *a, const weight *w, int32_t first, int32_t count,
                          uint8_t *panel) {
  const size_t row_bytes = rounded_bytes(w->width);
  const int format = w->format;
#if HAS_GGUF_ROWS
  if (a->n <= FEW_ROWS) {
    const uint8_t *x[FEW_ROWS];
    for (int32_t r = 0; r < a->n; r++) x[r] = a->rounded + row_of(a, r) * row_bytes;
    for (int32_t c = 0; c < count; c += DIRECT_WEIGHT_ROWS)
      gguf_rows_of[format](a->n, out + c, out_stride, x, w, first + c, count - c < DIRECT_WEIGHT_ROWS ? count - c : DIRECT_WEIGHT_ROWS);
    return;
  }
#endif
  const int32_t most = gguf_tile_rows(format), tiles = (a->n + most - 1) / most;
  for (int32_t c = 0; c < count; c += T16_ROWS) {
    gguf_tile t = {.out_stride = out_stride, .panel = panel, .padded = padded_width(w->width), .valid = count - c < T16_ROWS ? count - c : T16_ROWS};
    for (int32_t k = 0; k < w->width; k += K_BLOCK) {
      t.k = k, t.width = block_width(w->width, k);
      // What follows these rows, in the order of the file.
      t.next = w->data + (size_t)(first + c + T16_ROWS) * gguf_row_bytes(format, w->width) + T16_ROWS * gguf_row_bytes(format, k);
      lay_out_of[format](panel, w, first + c, t.valid, k, t.width);
      for (int32_t tile = 0; tile < tiles; tile++) {
        const int32_t from = (int32_t)((int64_t)a->n * tile / tiles), n = (int32_t)((int64_t)a->n * (tile + 1) / tiles) - from;
        const uint8_t *x[MOST_PACKED_ROWS];
        for (int32_t r = 0; r < n; r++) x[r] = a->rounded + row_of(a, from + r) * row_bytes;
        t.x = x, t.out = out + (size_t)from * out_stride + c;
        gguf_tile_of[format](n, &t);
        t.next = NULL;
      }
    }
  }
}

// Activation rows from which on a panel pays: sooner where widening costs more (fp8), or where a tile has one
// column and so reads every activation row, and widens every weight, once for each tile.
INLINE int32_t panel_from(int format) {
  const int tiles = TILE_COLUMNS == 1 ? (format == F32 ? 2 : 1) : format == FP8 ? 2 : 8;
  return format > FP8 ? 0 : tiles * TILE_ROWS + 1;
}

// out[i * out_stride + c] = row i of `a` times weight row first + c, for c < count. `first` is a multiple of 16.
// panel: PANEL_BYTES of this thread.
static void multiply(float *out, size_t out_stride, const activations *a, const weight *w, int32_t first, int32_t count, float *panel) {
  if (a->rounded && is_packed(w->format)) multiply_packed(out, out_stride, a, w, first, count, (uint8_t *)panel);
  else if (a->rounded && is_gguf(w->format)) multiply_gguf(out, out_stride, a, w, first, count, (uint8_t *)panel);
#ifdef PLAIN_FP8
  else if (is_for_fp8(a, w)) stream_fp8(out, out_stride, a, w, first, count, panel);
#endif
  else if (a->n < panel_from(w->format)) stream(out, out_stride, a, w, first, count);
  else
    for (int32_t c = 0; c < count; c += PANEL_ROWS)
      multiply_panel(out + c, out_stride, a, w, first + c, count - c < PANEL_ROWS ? count - c : PANEL_ROWS, panel);
}
#endif
