// Sixteen heads of a generated token over one block of an int8 cache, in integers (absorbed_block.h has the
// same in f32). Queries and softmax weights are rounded to integers too, with a factor for every 64 cached
// values; products are summed exactly over 64 values or 64 positions, and only those sums are f32.
//
// dot_runs16(sums, n, lines, runs, fours, …) adds to each of n sums the products of `runs` runs of four lines
// (16 lanes of four int8) with four unsigned bytes a line, which all lanes share. An instruction set without
// such a product adds up each half of a run, the first or the last two bytes of its fours, in 16 bits. Queries
// and weights are rounded so that it fits, and so all instruction sets give the same sums.
#ifndef HADAL_ABSORBED_INT8_H
#define HADAL_ABSORBED_INT8_H
#include "absorbed_block.h"

enum { LINE_POSITIONS = 4, LINE_FOURS = 4, RUN_LINES = 4, RUN_POSITIONS = RUN_LINES * LINE_POSITIONS };

// Cached bytes reach 255, so the positive and the negative values of a query in half a run may each sum up to
// 128; rounding adds at most a half for each of 8. Cached values reach 127, so weights in half a run may sum up
// to 258; rounding adds at most 2, and leaves what is below 254.5 below 256.
static const float MOST_QUERY = 124, MOST_WEIGHT = 254;
static const float LEAST_FACTOR = 1e-30f;  // instead of zero where it divides

INLINE bool attends_in_integers(const attention *a) { return a->cache->dtype == CACHE_INT8 && !a->device->exact; }

// ---- queries

// Groups of a position that share a factor.
typedef struct { int32_t first, count; } scale_group;

INLINE int32_t latent_scales(const attention *a) { return cache_scales(a->rank); }
INLINE int32_t all_scales(const attention *a) { return cache_scales(a->rank) + cache_scales(a->cache->rope_dim); }
INLINE scale_group scale_group_at(const attention *a, int32_t scale) {
  const bool is_key = scale >= latent_scales(a);
  const int32_t first = is_key ? a->latent_groups + (scale - latent_scales(a)) * CACHE_SCALE_GROUPS : scale * CACHE_SCALE_GROUPS;
  return (scale_group){first, least(CACHE_SCALE_GROUPS, (is_key ? a->groups : a->latent_groups) - first)};
}

// A rounded query of one head: int8 (groups * 16), then this of each scale. `begin`: -128 times the sum of its
// values, what the bias of the cached bytes adds.
typedef struct { float factor; int32_t begin; } rounded_scale;

INLINE size_t rounded_query_bytes(const attention *a) {
  return (size_t)a->groups * CACHE_GROUP + (size_t)all_scales(a) * sizeof(rounded_scale);
}

// Rounds `query` (groups * 16), padded with zeros. A group with an infinity or NaN gets the factor NaN.
INLINE void round_query(const attention *a, uint8_t *to, const float *query) {
  static const float first_half[16] = {1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0};
  const f32x16 none = zero16(), first = load16(first_half), last = sub16(splat16(1), first);
  rounded_scale *scales = (rounded_scale *)(to + (size_t)a->groups * CACHE_GROUP);
  for (int32_t scale = 0; scale < all_scales(a); scale++) {
    const scale_group at = scale_group_at(a, scale);
    float sums[4 * CACHE_SCALE_GROUPS] = {0};  // of each group's halves: positive and negative values
    for (int32_t i = 0; i < at.count; i++) {
      const f32x16 value = load16(query + (at.first + i) * CACHE_GROUP);
      const f32x16 above = max16(none, value), below = max16(none, sub16(none, value));
      store_sums4(sums + 4 * i, mul16(above, first), mul16(above, last), mul16(below, first), mul16(below, last));
    }
    const float largest = reduce_max_magnitude16(load16(sums)), steps = MOST_QUERY / largest;
    const bool is_finite = largest <= FLT_MAX, is_zero = !is_finite || !(steps <= FLT_MAX);
    f32x16 sum = none;
    for (int32_t i = at.first; i < at.first + at.count; i++) {
      const f32x16 value = is_zero ? none : round16(mul16(load16(query + i * CACHE_GROUP), splat16(steps)));
      store16_i8(to + i * CACHE_GROUP, value);
      sum = add16(sum, value);
    }
    scales[scale] = (rounded_scale){is_finite ? largest / MOST_QUERY : NAN, -128 * (int32_t)reduce_add16(sum)};
  }
}

// Rounded queries of 16 heads, one a lane.
typedef struct {
  uint8_t *fours;  // (groups * 4, 16 heads, 4 values)
  float *factor;   // (scales, 16 heads)
  int32_t *begin;  // (scales, 16 heads)
} rounded_queries;

// ---- a thread's workspace

typedef struct {
  rounded_queries query;
  float *scores, *shrink, *unit;  // (64 positions + 1 + 1, 16 heads)
  float *share;                   // (64 positions)
  uint8_t *weights, *latents;     // fours of positions: (16, 16 heads, 4), (16, 16 latents, 4)
} int8_workspace;

INLINE size_t int8_workspace_bytes(const attention *a) {
  const size_t lines = ((size_t)a->groups * LINE_FOURS + 15) / 16 * 16 + 2 * (size_t)all_scales(a);
  return (lines + 2 * CACHE_POSITIONS / LINE_POSITIONS + CACHE_POSITIONS + 2 + CACHE_POSITIONS / 16) * LINE;
}
INLINE int8_workspace int8_workspace_in(const attention *a, void *memory) {
  int8_workspace w = {.query.fours = memory};
  w.query.factor = (float *)(w.query.fours + ((size_t)a->groups * LINE_FOURS + 15) / 16 * 16 * LINE);
  w.query.begin = (int32_t *)(w.query.factor + all_scales(a) * HEAD_LANES);
  w.weights = (uint8_t *)(w.query.begin + all_scales(a) * HEAD_LANES);
  w.latents = w.weights + CACHE_POSITIONS / LINE_POSITIONS * LINE;
  w.scores = (float *)(w.latents + CACHE_POSITIONS / LINE_POSITIONS * LINE);
  w.shrink = w.scores + CACHE_POSITIONS * HEAD_LANES;
  w.unit = w.shrink + HEAD_LANES;
  w.share = w.unit + HEAD_LANES;
  return w;
}

// Takes rounded queries, `stride` floats apart.
INLINE void read_rounded(const attention *a, const rounded_queries *to, const float *from, size_t stride, int heads) {
  const int32_t fours = a->groups * LINE_FOURS;
  for (int32_t i = 0; i < fours; i += 16)
    transpose16_padded((float *)to->fours + i * HEAD_LANES, HEAD_LANES, from + i, stride, heads, least(16, fours - i));
  memset(to->factor, 0, (size_t)all_scales(a) * 2 * HEAD_LANES * sizeof(float));
  for (int head = 0; head < heads; head++) {
    const rounded_scale *scales = (const rounded_scale *)(from + (size_t)head * stride + fours);
    for (int32_t scale = 0; scale < all_scales(a); scale++) {
      to->factor[scale * HEAD_LANES + head] = scales[scale].factor;
      to->begin[scale * HEAD_LANES + head] = scales[scale].begin;
    }
  }
}

// ---- a block

// scores (positions, heads) of the first n positions; those of up to whole RUN_SUMS are written and mean nothing.
INLINE void score_int8(const attention *a, uint8_t *block, int n, const rounded_queries *query, float *scores) {
  for (int32_t scale = 0; scale < all_scales(a); scale++) {
    const scale_group at = scale_group_at(a, scale);
    const float *cached = cached_scales(a->cache, block, at.first);
    const f32x16 factor = load16(query->factor + scale * HEAD_LANES);
    const i32x16 begin = load16_i32(query->begin + scale * HEAD_LANES);
    for (int t = 0; t < n; t += RUN_SUMS) {
      i32x16 sums[RUN_SUMS];
      UNROLL for (int i = 0; i < RUN_SUMS; i++) sums[i] = begin;
      dot_runs16(sums, RUN_SUMS, query->fours + at.first * LINE_FOURS * LINE, at.count, cached_values(a->cache, block, at.first, t),
                 LINE, CACHE_GROUP, CACHE_GROUP * CACHE_POSITIONS);
      float *to = scores + t * HEAD_LANES;
      UNROLL for (int i = 0; i < RUN_SUMS; i++) {
        const f32x16 before = scale ? load16(to + i * HEAD_LANES) : zero16();
        store16(to + i * HEAD_LANES, fma16(to_f32x16(sums[i]), mul16(splat16(cached[t + i]), factor), before));
      }
    }
  }
}

// Scales weights (n positions, heads) for rounding; positions up to a whole line get none. Returns the factors.
INLINE f32x16 scale_weights(float *weights, int n) {
  const int whole = (n + LINE_POSITIONS - 1) / LINE_POSITIONS * LINE_POSITIONS;
  memset(weights + n * HEAD_LANES, 0, (size_t)(whole - n) * HEAD_LANES * sizeof(float));
  f32x16 largest = splat16(LEAST_FACTOR);
  for (int begin = 0; begin < whole; begin += RUN_POSITIONS) {
    f32x16 half[2] = {zero16(), zero16()};
    for (int t = begin; t < least(begin + RUN_POSITIONS, whole); t++)
      half[t / 2 % 2] = add16(half[t / 2 % 2], load16(weights + t * HEAD_LANES));
    largest = max16(largest, max16(half[0], half[1]));
  }
  const f32x16 steps = div16(splat16(MOST_WEIGHT), largest);
  for (int t = 0; t < whole; t++) store16(weights + t * HEAD_LANES, mul16(load16(weights + t * HEAD_LANES), steps));
  return steps;
}

// Weights times the cached factors of a scale group, which are shares of its largest: rounded, as fours of positions
// up to a whole run. What rounding takes from a position goes to the next but three, so that many small
// weights are not lost. Returns the largest factor.
INLINE float round_weights(uint8_t *to, float *share, const float *weights, const float *cached, int n) {
  f32x16 largest = splat16(LEAST_FACTOR);
  for (int t = 0; t < n; t += 16)
    largest = max16(largest, n - t >= 16 ? load16(cached + t) : load16_part(cached + t, n - t));
  const float most = reduce_max16(largest);
  for (int t = 0; t < n; t += 16)
    store16(share + t, div16(n - t >= 16 ? load16(cached + t) : load16_part(cached + t, n - t), splat16(most)));
  f32x16 carry[LINE_POSITIONS] = {zero16(), zero16(), zero16(), zero16()}, whole[LINE_POSITIONS];
  int t = 0;
  for (; t < n; t += LINE_POSITIONS, to += LINE) {
    UNROLL for (int i = 0; i < LINE_POSITIONS; i++) {
      const f32x16 value = fma16(load16(weights + (t + i) * HEAD_LANES), splat16(share[t + i]), carry[i]);
      whole[i] = round16(value);
      carry[i] = sub16(value, whole[i]);
    }
    store_fours16(to, whole[0], whole[1], whole[2], whole[3]);
  }
  for (; t % RUN_POSITIONS; t += LINE_POSITIONS, to += LINE) memset(to, 0, LINE);
  return most;
}

// mix (heads, stride), 16 latents of it: shrunk, plus unit times what the integers sum up to.
INLINE void mix_int8(float *mix, size_t stride, const uint8_t *latents, const uint8_t *weights, const float *shrink,
                     const float *unit, int runs) {
  i32x16 sums[RUN_SUMS];
  UNROLL for (int h = 0; h < RUN_SUMS; h++) sums[h] = (i32x16){0};
  dot_runs16(sums, RUN_SUMS, latents, runs, weights, LINE_FOURS * 4, LINE, RUN_LINES * LINE);
  UNROLL for (int h = 0; h < RUN_SUMS; h++) {
    const f32x16 before = mul16(splat16(shrink[h]), load16(mix + h * stride));
    store16(mix + h * stride, fma16(to_f32x16(sums[h]), splat16(unit[h]), before));
  }
}

// As attend_block.
INLINE void attend_block_int8(const attention *a, uint8_t *block, const uint8_t *soon, int n, int heads,
                              const int8_workspace *w, running *so_far, float *mix) {
  score_int8(a, block, n, &w->query, w->scores);
  store16(w->shrink, take_scores(so_far, w->scores, HEAD_LANES, n, CACHE_POSITIONS, splat16(a->softmax_scale), false));
  const f32x16 steps = scale_weights(w->scores, n);

  const size_t stride = (size_t)a->latent_groups * CACHE_GROUP;
  const size_t fetch = (a->cache->block_bytes / LINE + (size_t)a->latent_groups - 1) / (size_t)a->latent_groups * LINE;
  const int runs = (n + RUN_POSITIONS - 1) / RUN_POSITIONS;
  for (int32_t scale = 0; scale < latent_scales(a); scale++) {
    const scale_group at = scale_group_at(a, scale);
    const float most = round_weights(w->weights, w->share, w->scores, cached_scales(a->cache, block, at.first), n);
    store16(w->unit, div16(splat16(most), steps));
    for (int32_t group = at.first; group < at.first + at.count; group++) {
      for (size_t line = (size_t)group * fetch; line < ((size_t)group + 1) * fetch && line < a->cache->block_bytes; line += LINE)
        __builtin_prefetch(soon + line, 0, 2);
      const uint8_t *lines = cached_values(a->cache, block, group, 0);
      for (int line = 0; line < runs * RUN_LINES; line++) turn_line16(w->latents + line * LINE, lines + line * LINE);
      for (int head = 0; head < heads; head += RUN_SUMS)
        mix_int8(mix + head * stride + group * CACHE_GROUP, stride, w->latents, w->weights + head * 4, w->shrink + head,
                 w->unit + head, runs);
    }
  }
}
#endif
