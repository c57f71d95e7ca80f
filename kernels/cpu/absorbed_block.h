// Sixteen heads of a generated token over one block of the cache: scores, softmax, mixed latents. Scores
// have one head a lane and meet the positions value by value; mixes have sixteen latents a lane.
//
// Up to eight heads are `few`: the other lanes are zero (attention.h), twice as many positions are scored at once.
#ifndef HADAL_ABSORBED_BLOCK_H
#define HADAL_ABSORBED_BLOCK_H
#include "attention.h"

// Tiles: 16 x 1 and 4 x 4 vectors in 32 registers. 16 registers hold 6 x 1, twelve sums of 8 lanes, which hides
// the latency of an fma and leaves room for its operands; 16 and 64 end with a tile of 4.
enum { HEAD_LANES = 16, SCORED_AT_ONCE = WIDE ? 16 : 6, MIXED_HEADS = WIDE ? 4 : 6, MIXED_GROUPS = WIDE ? 4 : 1 };
enum { FEW_SCORED_AT_ONCE = 2 * SCORED_AT_ONCE };
INLINE int tile_size(int left, int most) { return !WIDE && left <= 4 ? 4 : most; }
INLINE int head_tile(int left) { return !WIDE && (left <= 4 || left == 7 || left == 8) ? 4 : MIXED_HEADS; }
enum { SCORED_GROUPS = 6 };  // groups of a block that stay in the first-level cache while they are scored

// Floats of workspace that attend_block needs.
INLINE size_t block_workspace(const attention *a) {
  return (size_t)a->groups * GROUP_FLOATS + (CACHE_POSITIONS + 1) * HEAD_LANES;
}

// scores (positions, heads) gain groups of the positions' values times query (groups, 16, heads).
INLINE void score_positions(float *scores, const float *values, const float *query, int groups, const int positions, const bool few) {
  f32x16 sum[FEW_SCORED_AT_ONCE];
  UNROLL for (int t = 0; t < positions; t++) sum[t] = lanes_of(few, load16(scores + t * HEAD_LANES));
  for (int group = 0; group < groups; group++, values += GROUP_FLOATS)
    _Pragma("GCC unroll 4") for (int i = 0; i < CACHE_GROUP; i++, query += HEAD_LANES) {
      const f32x16 q = load16(query);
      UNROLL for (int t = 0; t < positions; t++)
        sum[t] = lanes_of(few, fma16(q, splat16(values[t * CACHE_GROUP + i]), sum[t]));
    }
  UNROLL for (int t = 0; t < positions; t++) store16(scores + t * HEAD_LANES, sum[t]);
}

// mix (heads, stride), `groups` groups of it: shrunk, plus the latents of n positions by weights (positions, heads).
// Of `soon`, which is needed next, a line a position is fetched.
INLINE void mix_groups(float *mix, size_t stride, const float *latents, const float *weights, const float *shrink, int n,
                       const uint8_t *soon, const int heads, const int groups) {
  f32x16 sum[MIXED_HEADS][MIXED_GROUPS];
  UNROLL for (int h = 0; h < heads; h++)
    UNROLL for (int g = 0; g < groups; g++)
      sum[h][g] = mul16(splat16(shrink[h]), load16(mix + h * stride + g * CACHE_GROUP));
  for (int t = 0; t < n; t++) {
    __builtin_prefetch(soon + t * LINE, 0, 2);
    f32x16 latent[MIXED_GROUPS];
    UNROLL for (int g = 0; g < groups; g++) latent[g] = load16(latents + g * GROUP_FLOATS + t * CACHE_GROUP);
    UNROLL for (int h = 0; h < heads; h++) {
      const f32x16 weight = splat16(weights[t * HEAD_LANES + h]);
      UNROLL for (int g = 0; g < groups; g++) sum[h][g] = fma16(latent[g], weight, sum[h][g]);
    }
  }
  UNROLL for (int h = 0; h < heads; h++)
    UNROLL for (int g = 0; g < groups; g++) store16(mix + h * stride + g * CACHE_GROUP, sum[h][g]);
}

// Takes the first n positions of a block into the softmax and the mix (heads, latents). `soon`: the block that comes next.
INLINE void attend_block(const attention *a, uint8_t *block, const uint8_t *soon, int n, int heads, const float *query,
                         float *workspace, running *so_far, float *mix) {
  const bool is_f32 = a->cache->dtype == CACHE_F32;
  float *scores = workspace, *shrink = scores + CACHE_POSITIONS * HEAD_LANES, *copy = shrink + HEAD_LANES;
  const float *values = is_f32 ? (const float *)block : copy;
  const bool few = has_few_lanes(heads);
  const int at_once = few ? FEW_SCORED_AT_ONCE : SCORED_AT_ONCE;
  const int read = WIDE ? (n + 15) / 16 * 16 : least(CACHE_POSITIONS, (n + at_once - 2) / 4 * 4 + 4);  // for the last tile
  memset(scores, 0, CACHE_POSITIONS * HEAD_LANES * sizeof(float));
  for (int32_t first = 0; first < a->groups; first += SCORED_GROUPS) {
    const int groups = least(SCORED_GROUPS, a->groups - first);
    for (int32_t group = first; !is_f32 && group < first + groups; group++)
      read_group(copy + group * GROUP_FLOATS, a->cache, block, group, read);
    for (int t = 0, size; t < n; t += size) {  // scores past n are never looked at
      float *to = scores + t * HEAD_LANES;
      const float *from = values + first * GROUP_FLOATS + t * CACHE_GROUP, *q = query + first * CACHE_GROUP * HEAD_LANES;
      size = tile_size(n - t, at_once);
      if (!few && size == SCORED_AT_ONCE) score_positions(to, from, q, groups, SCORED_AT_ONCE, false);
      else if (!few) score_positions(to, from, q, groups, 4, false);
      else if (size == FEW_SCORED_AT_ONCE) score_positions(to, from, q, groups, FEW_SCORED_AT_ONCE, true);
      else score_positions(to, from, q, groups, 4, true);
    }
  }

  const f32x16 scale = splat16(a->softmax_scale);
  if (few) store16(shrink, take_scores(so_far, scores, HEAD_LANES, n, CACHE_POSITIONS, scale, true));
  else store16(shrink, take_scores(so_far, scores, HEAD_LANES, n, CACHE_POSITIONS, scale, false));

  const size_t stride = (size_t)a->latent_groups * CACHE_GROUP;
  size_t fetched = 0;
  for (int32_t group = 0, groups; group < a->latent_groups; group += groups) {
    groups = group + MIXED_GROUPS <= a->latent_groups ? MIXED_GROUPS : 1;
    for (int head = 0, size; head < heads; head += size, fetched += CACHE_POSITIONS * LINE) {
      float *to = mix + head * stride + group * CACHE_GROUP;
      const float *latents = values + group * GROUP_FLOATS;
      const uint8_t *next = soon + (fetched < a->cache->block_bytes ? fetched : 0);
      const float *weights = scores + head, *by = shrink + head;
      size = head_tile(heads - head);
      if (size == 4 && groups == MIXED_GROUPS) mix_groups(to, stride, latents, weights, by, n, next, 4, MIXED_GROUPS);
      else if (size == 4) mix_groups(to, stride, latents, weights, by, n, next, 4, 1);
      else mix_groups(to, stride, latents, weights, by, n, next, MIXED_HEADS, MIXED_GROUPS);
    }
  }
}
#endif
