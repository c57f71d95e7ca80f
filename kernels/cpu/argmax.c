// argmax: the first index of the largest value of each row, or -1 for a row with NaN or infinity. Only the block that
// holds the largest value is met twice. A long row of a small batch is searched by several threads, a piece each: the
// logits of one token lie in the caches of those that computed them.
#include "device.h"
#include "row_chunks.h"
#include "simd.h"

enum { SEARCH_BLOCK = 1024, MOST_PIECES = 64 };

typedef struct {
  float most;
  int32_t at;  // -1: something is NaN or infinite
} found;

typedef struct {
  int32_t *out;
  const float *x;
  int32_t rows, width, pieces;  // pieces: of each row
  found found[MOST_PIECES];  // row by row, where there are several of each
} search;

static found largest_of(const float *x, int32_t n) {
  // A short last vector is met twice rather than padded: zeros could win.
  if (n < 16) {
    int32_t best = 0;
    for (int32_t i = 0; i < n; i++) {
      if (!isfinite(x[i])) return (found){0, -1};
      if (x[i] > x[best]) best = i;
    }
    return (found){x[best], best};
  }
  f32x16 magnitude = zero16();
  float most = -INFINITY;
  int32_t at = 0;
  for (int32_t block = 0; block < n; block += SEARCH_BLOCK) {
    const int32_t end = n - block < SEARCH_BLOCK ? n : block + SEARCH_BLOCK;
    f32x16 largest = splat16(-INFINITY);
    for (int32_t i = block; i < end; i += 16) {
      const f32x16 v = load16(x + (i <= n - 16 ? i : n - 16));
      magnitude = max_magnitude16(magnitude, v);
      largest = max16(largest, v);
    }
    const float here = reduce_max16(largest);
    if (here > most) {
      most = here;
      at = block;
    }
  }
  if (!isfinite(reduce_max_magnitude16(magnitude))) return (found){0, -1};
  while (x[at] != most) at++;
  return (found){most, at};
}

static void search_rows(void *context, int32_t chunk, int32_t thread) {
  const search *s = context;
  (void)thread;
  const row_range part = rows_of_chunk(chunk, s->rows, s->width);
  for (int64_t row = part.begin; row < part.end; row++) s->out[row] = largest_of(s->x + row * s->width, s->width).at;
}

static int32_t begin_of_piece(const search *s, int32_t piece) { return (int32_t)((int64_t)s->width * piece / s->pieces); }

static void search_piece(void *context, int32_t chunk, int32_t thread) {
  search *s = context;
  (void)thread;
  const int32_t row = chunk / s->pieces, piece = chunk % s->pieces;
  const int32_t begin = begin_of_piece(s, piece), end = begin_of_piece(s, piece + 1);
  found f = largest_of(s->x + (int64_t)row * s->width + begin, end - begin);
  if (f.at >= 0) f.at += begin;
  s->found[chunk] = f;
}

// The first piece of those that are equal.
static int32_t largest_of_pieces(const found *pieces, int32_t n) {
  found best = pieces[0];
  for (int32_t i = 0; i < n; i++) {
    if (pieces[i].at < 0) return -1;
    if (pieces[i].most > best.most) best = pieces[i];
  }
  return best.at;
}

static status argmax_kernel(device *d, int32_t *out, const float *x, int32_t rows, int32_t width) {
  search s = {.out = out, .x = x, .rows = rows, .width = width, .pieces = (width + CHUNK_VALUES - 1) / CHUNK_VALUES};
  if (s.pieces == 1 || (int64_t)rows * s.pieces > MOST_PIECES) {
    parallel(d, row_chunks(rows, width), search_rows, &s);
    return 0;
  }
  parallel(d, rows * s.pieces, search_piece, &s);
  for (int32_t row = 0; row < rows; row++) out[row] = largest_of_pieces(s.found + row * s.pieces, s.pieces);
  return 0;
}
