// Attention of prompt tokens, expanded: keys and values are rebuilt from the latents (DeepSeek-V2
// report, eq. 11, 14, 18), which costs less than attending over latents once queries are many.
//
// A chunk is one head of one piece of a run. It walks over the past in spans; a span's keys and values
// are expanded once, one position a lane, and every query tile of the piece, one query a lane, takes
// them into its running softmax. So memory depends on neither heads nor positions.
#include "attention.h"

enum { QUERY_VECTORS = WIDE ? 2 : 1, QUERIES = 16 * QUERY_VECTORS };
enum { ROWS_AT_ONCE = WIDE ? 8 : 6, UP_VECTORS = WIDE ? 2 : 1 };  // registers hold 8 x 2 or 6 x 1 vectors
// Tiles of rows make up sixteen: 8 and 8, or 6, 6 and 4.
INLINE int rows_from(int row) { return !WIDE && row % 16 == 12 ? 4 : ROWS_AT_ONCE; }
enum { SPAN_POSITIONS = 128, SPAN_VECTORS = SPAN_POSITIONS / 16, BLOCK_VECTORS = CACHE_POSITIONS / 16 };
enum { PIECE_QUERIES = 1024 };  // the most of a piece: each piece expands the past anew

typedef struct { const run *run; int32_t first, count; } piece;  // queries of the run

typedef struct {
  const attention *attention;
  const piece *pieces;
  int32_t n_pieces;
  // Floats between: rows of kv_up, queries of a tile, mixes of a tile, position vectors of latents, of keys and values.
  size_t up_stride, query_stride, mix_stride, latent_stride, value_stride;
  int32_t up_rows;  // nope + v, up to whole tiles
  float *memory;    // of each thread: queries, mixes, running sums
  size_t thread_floats;
} expansion;

INLINE size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// ---- a span of positions: latents (vectors, values, 16 positions), then keys and values (vectors, rows, 16)

// Latents and keys of a block, one position a lane.
static void transpose_block(const expansion *e, float *latents, uint8_t *block, int vectors) {
  const attention *a = e->attention;
  float copy[GROUP_FLOATS] __attribute__((aligned(LINE)));
  for (int32_t group = 0; group < a->groups; group++) {
    const float *values = read_group(copy, a->cache, block, group, vectors * 16);
    for (int vector = 0; vector < vectors; vector++)
      transpose16(latents + vector * e->latent_stride + group * CACHE_GROUP * 16, 16,
                  values + vector * 16 * CACHE_GROUP, CACHE_GROUP);
  }
}

// `rows` rows of kv_up times UP_VECTORS x 16 positions.
INLINE void expand_rows(const expansion *e, float *to, const float *up, const float *latents, const int rows) {
  f32x16 sum[ROWS_AT_ONCE][UP_VECTORS];
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < UP_VECTORS; v++) sum[r][v] = zero16();
  for (int32_t i = 0; i < e->attention->rank; i++) {
    f32x16 latent[UP_VECTORS];
    UNROLL for (int v = 0; v < UP_VECTORS; v++) latent[v] = load16(latents + v * e->latent_stride + i * 16);
    UNROLL for (int r = 0; r < rows; r++) {
      const f32x16 weight = splat16(up[r * e->up_stride + i]);
      UNROLL for (int v = 0; v < UP_VECTORS; v++) sum[r][v] = fma16(weight, latent[v], sum[r][v]);
    }
  }
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < UP_VECTORS; v++) store16(to + v * e->value_stride + r * 16, sum[r][v]);
}

static void expand_span(const expansion *e, float *values, const float *up, const float *latents, int vectors) {
  for (int32_t row = 0; row < e->up_rows; row += rows_from(row))
    for (int vector = 0; vector < vectors; vector += UP_VECTORS) {
      float *to = values + vector * e->value_stride + row * 16;
      const float *w = up + row * e->up_stride, *x = latents + vector * e->latent_stride;
      if (rows_from(row) == ROWS_AT_ONCE) expand_rows(e, to, w, x, ROWS_AT_ONCE);
      else expand_rows(e, to, w, x, 4);
    }
}

// ---- a tile of queries over a block of positions

// scores (positions, QUERIES): keys by queries, first what the latents expanded to, then the rotated part.
INLINE void score_keys(float *scores, const float *keys, const float *rotated, const float *query, int32_t nope,
                       int32_t rope, const int positions) {
  f32x16 sum[ROWS_AT_ONCE][QUERY_VECTORS];
  UNROLL for (int t = 0; t < positions; t++)
    UNROLL for (int v = 0; v < QUERY_VECTORS; v++) sum[t][v] = zero16();
  for (int part = 0; part < 2; part++) {
    const float *key = part ? rotated : keys;
    for (int32_t i = 0; i < (part ? rope : nope); i++, key += 16, query += QUERIES) {
      f32x16 q[QUERY_VECTORS];
      UNROLL for (int v = 0; v < QUERY_VECTORS; v++) q[v] = load16(query + 16 * v);
      UNROLL for (int t = 0; t < positions; t++) {
        const f32x16 k = splat16(key[t]);
        UNROLL for (int v = 0; v < QUERY_VECTORS; v++) sum[t][v] = fma16(k, q[v], sum[t][v]);
      }
    }
  }
  UNROLL for (int t = 0; t < positions; t++)
    UNROLL for (int v = 0; v < QUERY_VECTORS; v++) store16(scores + t * QUERIES + 16 * v, sum[t][v]);
}

// mix (rows of values, QUERIES): shrunk, then the values of n positions by weights.
// `last` is the position that lane 0 sees last. A lane skips what it does not see: zero times NaN is not zero.
INLINE void mix_values(float *mix, const float *values, const float *weights, size_t value_stride, const f32x16 *shrink,
                       int n, int last, const int rows) {
  f32x16 sum[ROWS_AT_ONCE][QUERY_VECTORS];
  UNROLL for (int j = 0; j < rows; j++)
    UNROLL for (int v = 0; v < QUERY_VECTORS; v++) sum[j][v] = mul16(shrink[v], load16(mix + j * QUERIES + 16 * v));
  const int seen_by_all = last < 0 ? 0 : least(n, last + 1);
  for (int t = 0; t < seen_by_all; t++) {
    const float *value = values + (t / 16) * value_stride + t % 16;
    f32x16 weight[QUERY_VECTORS];
    UNROLL for (int v = 0; v < QUERY_VECTORS; v++) weight[v] = load16(weights + t * QUERIES + 16 * v);
    UNROLL for (int j = 0; j < rows; j++) {
      const f32x16 one = splat16(value[j * 16]);
      UNROLL for (int v = 0; v < QUERY_VECTORS; v++) sum[j][v] = fma16(one, weight[v], sum[j][v]);
    }
  }
  for (int t = seen_by_all; t < n; t++) {
    const float *value = values + (t / 16) * value_stride + t % 16;
    UNROLL for (int v = 0; v < QUERY_VECTORS; v++) {
      const f32x16 weight = load16(weights + t * QUERIES + 16 * v);
      const int blind = t - last - 16 * v, n_blind = blind < 0 ? 0 : least(blind, 16);
      UNROLL for (int j = 0; j < rows; j++)
        sum[j][v] = blend16(n_blind, sum[j][v], fma16(splat16(value[j * 16]), weight, sum[j][v]));
    }
  }
  UNROLL for (int j = 0; j < rows; j++)
    UNROLL for (int v = 0; v < QUERY_VECTORS; v++) store16(mix + j * QUERIES + 16 * v, sum[j][v]);
}

// n positions of a block; `last`: see mix_values.
static void attend_tile(const expansion *e, float *mix, running *so_far, const float *query, const float *latents,
                        const float *values, float *scores, int n, int last) {
  const attention *a = e->attention;
  const float *rotated = latents + (size_t)a->latent_groups * CACHE_GROUP * 16;
  for (int t = 0; t < n; t += rows_from(t)) {
    const float *keys = values + (t / 16) * e->value_stride + t % 16, *turned = rotated + (t / 16) * e->latent_stride + t % 16;
    if (rows_from(t) == ROWS_AT_ONCE) score_keys(scores + t * QUERIES, keys, turned, query, a->nope, a->rope, ROWS_AT_ONCE);
    else score_keys(scores + t * QUERIES, keys, turned, query, a->nope, a->rope, 4);
  }
  f32x16 shrink[QUERY_VECTORS];
  for (int v = 0; v < QUERY_VECTORS; v++)
    shrink[v] = take_scores(so_far + v, scores + 16 * v, QUERIES, n, last + 16 * v, splat16(a->softmax_scale), false);
  for (int32_t row = 0; row < a->v; row += rows_from(row)) {
    const float *from = values + (a->nope + row) * 16;
    if (rows_from(row) == ROWS_AT_ONCE) mix_values(mix + row * QUERIES, from, scores, e->value_stride, shrink, n, last, ROWS_AT_ONCE);
    else mix_values(mix + row * QUERIES, from, scores, e->value_stride, shrink, n, last, 4);
  }
}

// ---- one head of one piece

static void read_queries(const expansion *e, const piece *p, int32_t head, float *queries) {
  const attention *a = e->attention;
  const int32_t width = a->nope + a->rope;
  const size_t token_width = (size_t)a->n_heads * (size_t)width;
  const float *from = query_of(a, p->run->first_row + p->first, head);
  for (int32_t first = 0; first < p->count; first += QUERIES, queries += e->query_stride)
    for (int v = 0; v < QUERY_VECTORS; v++) {
      const int left = p->count - first - 16 * v, tokens = left < 0 ? 0 : least(left, 16);
      const float *rows = from + (size_t)(tokens ? first + 16 * v : 0) * token_width;
      for (int32_t i = 0; i < width; i += 16)
        transpose16_padded(queries + i * QUERIES + 16 * v, QUERIES, rows + i, token_width, tokens, least(16, width - i));
    }
}

static void write_values(const expansion *e, const piece *p, int32_t head, float *mixes, const running *so_far) {
  const attention *a = e->attention;
  const size_t token_width = (size_t)a->n_heads * (size_t)a->v;
  float *to = out_of(a, p->run->first_row + p->first, head);
  for (int32_t first = 0; first < p->count; first += 16, so_far++) {
    float *mix = mixes + (first / QUERIES) * e->mix_stride + first % QUERIES;
    const f32x16 share = div16(splat16(1), so_far->sum);
    for (int32_t i = 0; i < a->v; i += 16) {
      for (int j = 0; j < 16; j++) store16(mix + (i + j) * QUERIES, mul16(load16(mix + (i + j) * QUERIES), share));
      transpose16_corner(to + (size_t)first * token_width + i, token_width, mix + i * QUERIES, QUERIES,
                         least(16, p->count - first), least(16, a->v - i));
    }
  }
}

static void attend_head(void *context, int32_t chunk, int32_t thread) {
  const expansion *e = context;
  const attention *a = e->attention;
  const piece *p = e->pieces + e->n_pieces - 1 - chunk / a->n_heads;  // late pieces take longer: first
  const int32_t head = chunk % a->n_heads;
  const int32_t tiles = (p->count + QUERIES - 1) / QUERIES, first_position = p->run->first_position + p->first;
  const int32_t end = first_position + p->count;

  float *latents = thread_scratch(a->device, thread), *values = latents + SPAN_VECTORS * e->latent_stride;
  float *up = values + SPAN_VECTORS * e->value_stride, *scores = up + (size_t)e->up_rows * e->up_stride;
  float *queries = e->memory + (size_t)thread * e->thread_floats, *mixes = queries + (size_t)tiles * e->query_stride;
  running *so_far = (running *)(mixes + (size_t)tiles * e->mix_stride);

  const int32_t rows = a->nope + a->v;
  widen_rows(up, (size_t)e->up_stride, a->kv_up, head * rows, rows);
  memset(up + rows * e->up_stride, 0, (e->up_rows - rows) * e->up_stride * sizeof(float));
  read_queries(e, p, head, queries);
  memset(mixes, 0, (size_t)tiles * e->mix_stride * sizeof(float));
  for (int32_t i = 0; i < tiles * QUERY_VECTORS; i++) so_far[i] = (running){splat16(-FLT_MAX), zero16()};

  for (int32_t span = 0; span < end; span += SPAN_POSITIONS) {
    const int vectors = (least(SPAN_POSITIONS, end - span) + 15) / 16;
    for (int vector = 0; vector < vectors; vector += BLOCK_VECTORS) {
      uint8_t *block = block_of(a, p->run, span / CACHE_POSITIONS + vector / BLOCK_VECTORS);
      transpose_block(e, latents + vector * e->latent_stride, block, least(BLOCK_VECTORS, vectors - vector));
    }
    expand_span(e, values, up, latents, vectors);
    for (int32_t tile = span <= first_position ? 0 : (span - first_position) / QUERIES; tile < tiles; tile++) {
      const int32_t lane0 = first_position + tile * QUERIES, last_position = least(lane0 + QUERIES, end) - 1;
      for (int32_t at = 0; at < SPAN_POSITIONS && span + at <= last_position; at += CACHE_POSITIONS)
        attend_tile(e, mixes + tile * e->mix_stride, so_far + tile * QUERY_VECTORS, queries + tile * e->query_stride,
                    latents + (at / 16) * e->latent_stride, values + (at / 16) * e->value_stride, scores,
                    least(CACHE_POSITIONS, last_position - span - at + 1), lane0 - span - at);
    }
  }
  write_values(e, p, head, mixes, so_far);
}

// ---- pieces

// Cuts runs so that no piece exceeds `most` queries. Returns how many; writes them where `to` is not NULL.
static int32_t cut_pieces(piece *to, const batch *b, int32_t most) {
  int32_t n = 0;
  for (const run *r = b->runs; r < b->runs + b->n_runs; r++)
    for (int32_t first = 0; r->is_prompt && first < r->count; first += most, n++)
      if (to) to[n] = (piece){r, first, least(most, r->count - first)};
  return n;
}

// All prompt tokens of the batch.
static status attend_expanded(const attention *a, const batch *b) {
  device *d = a->device;
  int32_t n_runs = 0, longest = 0;
  double flops = 0;
  for (const run *r = b->runs; r < b->runs + b->n_runs; r++) {
    if (!r->is_prompt) continue;
    n_runs++;
    longest = r->count > longest ? r->count : longest;
    const double positions = (double)r->first_position + r->count;
    const double expand = (double)(a->nope + a->v) * a->rank, attend = (double)r->count * (a->nope + a->rope + a->v);
    flops += 2 * positions * a->n_heads * (expand + attend);
  }
  if (n_runs == 0) return 0;

  expansion e = {.attention = a, .up_rows = (int32_t)round_up((size_t)(a->nope + a->v), 16)};
  const size_t v_padded = round_up((size_t)a->v, 16);
  e.up_stride = (size_t)a->latent_groups * CACHE_GROUP;
  e.query_stride = round_up((size_t)(a->nope + a->rope), 16) * QUERIES;
  e.mix_stride = v_padded * QUERIES;
  e.latent_stride = (size_t)a->groups * CACHE_GROUP * 16;
  e.value_stride = round_up((size_t)a->nope + v_padded, 16) * 16;
  const size_t workspace =
    SPAN_VECTORS * (e.latent_stride + e.value_stride) + (size_t)e.up_rows * e.up_stride + CACHE_POSITIONS * QUERIES;
  const status checked = check_thread_scratch("latent_attention", workspace * sizeof(float));
  if (checked < 0) return checked;

  // Fewer heads than threads: cut the queries too, though each piece then expands the past for itself.
  const int32_t threads = flops < SMALL_WORK ? 1 : d->threads;
  const int32_t cuts = (threads + n_runs * a->n_heads - 1) / (n_runs * a->n_heads);
  int32_t most = least(PIECE_QUERIES, (int32_t)round_up((size_t)(longest + cuts - 1) / (size_t)cuts, QUERIES));
  const size_t mark = scratch_mark(d);
  for (;; most = (int32_t)round_up((size_t)most / 2, QUERIES)) {  // smaller pieces where memory is short
    const size_t tiles = (size_t)(most + QUERIES - 1) / QUERIES;
    e.n_pieces = cut_pieces(NULL, b, most);
    e.thread_floats = tiles * (e.query_stride + e.mix_stride + QUERY_VECTORS * sizeof(running) / sizeof(float));
    piece *pieces = scratch(d, (size_t)e.n_pieces * sizeof *pieces);
    e.memory = pieces ? scratch(d, (size_t)threads * e.thread_floats * sizeof(float)) : NULL;
    e.pieces = pieces;
    if (e.memory) {
      cut_pieces(pieces, b, most);
      break;
    }
    if (most <= QUERIES) return error_memory();
    scratch_release(d, mark);
  }
  spread(d, e.n_pieces * a->n_heads, flops, attend_head, &e);
  return 0;
}
