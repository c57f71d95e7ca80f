// What both forms of latent attention share: the sizes of a call and the running softmax.
//
// Sums run over absolute positions in tiles of 64, a cache block, and a query's numbers never leave its
// lane. So a token's result depends on nothing but the token and its past: not on the chunk of the
// prompt that it came in, on other sequences, or on the number of threads.
#ifndef HADAL_ATTENTION_H
#define HADAL_ATTENTION_H
#include "latents.h"
#include "transpose.h"
#include "widen_rows.h"
#include "work.h"
#include <float.h>

typedef struct {
  device *device;
  float *out;          // (tokens, n_heads * v)
  const float *query;  // (tokens, n_heads * (nope + rope))
  const latent_cache *cache;
  int32_t layer;
  const weight *kv_up;  // (n_heads * (nope + v), rank)
  int32_t n_heads, nope, rope, v, rank;
  int32_t latent_groups, groups;  // groups of 16 values of a position: latents; latents and key
  float softmax_scale;
} attention;

// Whether there are registers for 24 vectors of f32x16, or for 6.
#if defined(__AVX512F__)
enum { WIDE = 1 };
#else
enum { WIDE = 0 };
#endif

INLINE int least(int a, int b) { return a < b ? a : b; }

INLINE const float *query_of(const attention *a, int32_t row, int32_t head) {
  return a->query + ((size_t)row * (size_t)a->n_heads + (size_t)head) * (size_t)(a->nope + a->rope);
}
INLINE float *out_of(const attention *a, int32_t row, int32_t head) {
  return a->out + ((size_t)row * (size_t)a->n_heads + (size_t)head) * (size_t)a->v;
}
INLINE uint8_t *block_of(const attention *a, const run *r, int32_t block) {
  return cache_block(a->cache, a->layer, r->blocks[block]);
}

// Whether so few heads, one a lane, leave a part of a vector's lanes to zeros, which then cost nothing.
INLINE bool has_few_lanes(int heads) { return heads <= 16 / LANE_PARTS && LANE_PARTS > 1; }
INLINE f32x16 lanes_of(const bool few, f32x16 a) { return few ? take_part16(0, a, zero16()) : a; }

// Softmax so far: the largest score and the sum of exp(score - largest).
typedef struct { f32x16 largest, sum; } running;

// Takes in one more tile: `scores` (n positions, one query a lane) become weights. Lane i sees positions
// up to last + i of the tile; the others count for nothing, whatever their scores are.
// Returns the factor by which what was summed before shrinks. `few`: has_few_lanes, and the lanes without a head are zero.
INLINE f32x16 take_scores(running *so_far, float *scores, size_t stride, int n, int last, f32x16 scale, const bool few) {
  const int seen_by_all = last < 0 ? 0 : least(n, last + 1);
  f32x16 largest = lanes_of(few, so_far->largest), sum = zero16();
  for (int t = 0; t < seen_by_all; t++) {
    const f32x16 score = lanes_of(few, mul16(load16(scores + t * stride), scale));
    store16(scores + t * stride, score);
    largest = lanes_of(few, max16(largest, score));
  }
  for (int t = seen_by_all; t < n; t++) {
    const f32x16 score = lanes_of(few, mul16(load16(scores + t * stride), scale));
    store16(scores + t * stride, score);
    largest = blend16(least(t - last, 16), largest, max16(largest, score));
  }
  for (int t = 0; t < seen_by_all; t++) {
    const f32x16 weight = lanes_of(few, exp16(sub16(load16(scores + t * stride), largest)));
    store16(scores + t * stride, weight);
    sum = lanes_of(few, add16(sum, weight));
  }
  for (int t = seen_by_all; t < n; t++) {
    const f32x16 weight = lanes_of(few, exp16(sub16(load16(scores + t * stride), largest)));
    store16(scores + t * stride, weight);
    sum = blend16(least(t - last, 16), sum, add16(sum, weight));
  }
  const f32x16 shrink = lanes_of(few, exp16(sub16(so_far->largest, largest)));
  *so_far = (running){largest, lanes_of(few, fma16(so_far->sum, shrink, sum))};
  return shrink;
}
#endif
