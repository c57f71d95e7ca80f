// Attention of generated tokens, absorbed: q · (W c) = (Wᵀ q) · c, so queries move into the space of the
// latents and no key or value is rebuilt (DeepSeek-V2 report, eq. 9-19 and §2.1.2).
//
// Three passes: absorb (a head a chunk), attend (16 heads and a span of positions a chunk), and values (a
// head a chunk, after the spans are merged in ascending order). Spans begin at fixed positions, so that
// one long sequence also occupies all threads and yet gives the same bits on any number of them.
#include "absorbed_int8.h"
#include "eight_rows.h"
#include "sixteen_rows.h"

enum { SHORT_SPAN = 4, LONG_SPAN = 8, SHORT_SPANS = 16 };  // in blocks; the first 4096 positions are in short spans
enum { UP_ROWS = 8 };  // rows of kv_up that stay in the first-level cache while all tokens use them
static const size_t WAVE_BYTES = 32u << 20;

INLINE int32_t span_begin(int32_t span) {  // in blocks
  return span <= SHORT_SPANS ? span * SHORT_SPAN : SHORT_SPANS * SHORT_SPAN + (span - SHORT_SPANS) * LONG_SPAN;
}
INLINE int32_t count_spans(int32_t blocks) {
  const int32_t others = blocks - SHORT_SPANS * SHORT_SPAN;
  if (others <= 0) return (blocks + SHORT_SPAN - 1) / SHORT_SPAN;
  return SHORT_SPANS + (others + LONG_SPAN - 1) / LONG_SPAN;
}

typedef struct {
  int32_t row, first_chunk;  // of the batch; of the attend pass
  const run *run;
  int32_t blocks, last_block_positions, spans;  // that it sees
  float *partial;  // (head groups, spans, partial_floats)
} absorbed_token;

// What is computed at a time: as many tokens as fit the memory, or some head groups of one token.
typedef struct {
  const attention *attention;
  absorbed_token *tokens;
  int32_t n_tokens, first_head, n_heads, head_groups;
  float *latent;  // (tokens, heads, groups * 16): queries in latent space and rotated; later the mixed latents
  size_t partial_floats;  // largest (16), sum (16), mix (16, latent_groups * 16)
} wave;

// Heads count from the wave's first one.
INLINE float *latent_of(const wave *w, int32_t token, int32_t head) {
  return w->latent + ((size_t)token * (size_t)w->n_heads + (size_t)head) * (size_t)w->attention->groups * CACHE_GROUP;
}
INLINE float *partial_of(const wave *w, const absorbed_token *token, int32_t group, int32_t span) {
  return token->partial + ((size_t)group * (size_t)token->spans + (size_t)span) * w->partial_floats;
}

// Up to MOST_VECTORS tokens from `first` on: the queries or the mixed latents of a head, and where their products go.
INLINE vectors queries_of(const wave *w, int32_t first, int32_t head) {
  vectors v = {.n = least(MOST_VECTORS, w->n_tokens - first)};
  for (int i = 0; i < v.n; i++) {
    v.x[i] = query_of(w->attention, w->tokens[first + i].row, w->first_head + head);
    v.to[i] = latent_of(w, first + i, head);
  }
  return v;
}
INLINE vectors mixes_of(const wave *w, int32_t first, int32_t head) {
  vectors v = {.n = least(MOST_VECTORS, w->n_tokens - first)};
  for (int i = 0; i < v.n; i++) {
    v.x[i] = latent_of(w, first + i, head);
    v.to[i] = out_of(w->attention, w->tokens[first + i].row, w->first_head + head);
  }
  return v;
}
// `n` rows of kv_up from row `first` of a head on.
INLINE packed_rows rows_of_head(const wave *w, int32_t head, int32_t first, int32_t n) {
  const attention *a = w->attention;
  const int32_t next = least(head + a->device->threads, w->n_heads - 1), stride = a->nope + a->v;
  return (packed_rows){a->kv_up, (w->first_head + head) * stride + first, n / T16_ROWS, (w->first_head + next) * stride + first};
}

// ---- absorb

// latent (width) += rows (n, width) by their factors, ascending
INLINE void add_rows(float *latent, const float *rows, const float *factors, int32_t width, const int n) {
  for (int32_t at = 0; at < width; at += 16) {
    f32x16 sum = load16(latent + at);
    for (int i = 0; i < n; i++) sum = fma16(splat16(factors[i]), load16(rows + i * width + at), sum);
    store16(latent + at, sum);
  }
}

static void absorb_head(void *context, int32_t head, int32_t thread) {
  const wave *w = context;
  const attention *a = w->attention;
  const int32_t padded_rank = a->latent_groups * CACHE_GROUP, first_row = (w->first_head + head) * (a->nope + a->v);
  float *rows = thread_scratch(a->device, thread);
  for (int32_t token = 0; token < w->n_tokens; token++) {
    float *latent = latent_of(w, token, head);
    memset(latent, 0, (size_t)a->groups * CACHE_GROUP * sizeof(float));
    const float *rotated = query_of(a, w->tokens[token].row, w->first_head + head) + a->nope;
    memcpy(latent + padded_rank, rotated, (size_t)a->rope * sizeof(float));
  }
  const sixteen_products *packed = as_sixteen_rows(a->kv_up, first_row, a->nope);
  const packed_rows own = rows_of_head(w, head, 0, a->nope);
  for (int32_t token = 0; packed && token < w->n_tokens; token += MOST_VECTORS) {
    const vectors v = queries_of(w, token, head);
    packed->add(&own, &v, rows);
  }
  for (int32_t first = 0; !packed && first < a->nope; first += UP_ROWS) {
    const int n = least(UP_ROWS, a->nope - first);
#ifdef __AVX2__
    const eight_products *direct = w->n_tokens == 1 ? as_eight_rows(a->kv_up, first_row + first, n) : NULL;
    if (direct) {
      direct->add(latent_of(w, 0, head), a->kv_up, first_row + first, query_of(a, w->tokens->row, w->first_head + head) + first);
      continue;
    }
#endif
    widen_rows(rows, (size_t)padded_rank, a->kv_up, first_row + first, n);
    for (int32_t token = 0; token < w->n_tokens; token++) {
      const float *query = query_of(a, w->tokens[token].row, w->first_head + head) + first;
      if (n == UP_ROWS) add_rows(latent_of(w, token, head), rows, query, padded_rank, UP_ROWS);
      else add_rows(latent_of(w, token, head), rows, query, padded_rank, n);
    }
  }
  for (int32_t token = 0; token < w->n_tokens && attends_in_integers(a); token++) {
    float *latent = latent_of(w, token, head);
    round_query(a, (uint8_t *)rows, latent);
    memcpy(latent, rows, rounded_query_bytes(a));
  }
}

// ---- attend

// The span of a token's chunk `at`. Long spans come first, and head groups share a span while it is in reach.
INLINE int32_t span_at(const wave *w, const absorbed_token *token, int32_t at) {
  const int32_t span = token->spans - 1 - at / w->head_groups;
  return span < 0 ? 0 : span;
}

static void attend_span(void *context, int32_t chunk, int32_t thread) {
  const wave *w = context;
  const attention *a = w->attention;
  const absorbed_token *token = w->tokens;
  while (token + 1 < w->tokens + w->n_tokens && token[1].first_chunk <= chunk) token++;
  const int32_t at = chunk - token->first_chunk, group = at % w->head_groups, span = span_at(w, token, at);
  const int heads = least(HEAD_LANES, w->n_heads - group * HEAD_LANES);

  const bool in_integers = attends_in_integers(a);
  const size_t width = (size_t)a->groups * CACHE_GROUP;
  const float *latent = latent_of(w, (int32_t)(token - w->tokens), group * HEAD_LANES);
  float *query = thread_scratch(a->device, thread);  // (groups * 16, heads)
  const int8_workspace workspace = int8_workspace_in(a, query);
  if (in_integers) read_rounded(a, &workspace.query, latent, width, heads);
  for (size_t i = 0; !in_integers && i < width; i += CACHE_GROUP)
    transpose16_padded(query + i * HEAD_LANES, HEAD_LANES, latent + i, width, heads, CACHE_GROUP);

  float *partial = partial_of(w, token, group, span), *mix = partial + 2 * HEAD_LANES;
  memset(mix, 0, (w->partial_floats - 2 * HEAD_LANES) * sizeof(float));
  running so_far = {splat16(-FLT_MAX), zero16()};
  const int32_t end = least(span_begin(span + 1), token->blocks);
  const int32_t after = span_begin(span_at(w, token, at + a->device->threads));  // where this thread goes on, most likely
  for (int32_t block = span_begin(span); block < end; block++) {
    const int n = block + 1 < token->blocks ? CACHE_POSITIONS : token->last_block_positions;
    const uint8_t *soon = block_of(a, token->run, block + 1 < end ? block + 1 : after);
    uint8_t *here = block_of(a, token->run, block);
    if (in_integers) attend_block_int8(a, here, soon, n, heads, &workspace, &so_far, mix);
    else attend_block(a, here, soon, n, heads, query, query + width * HEAD_LANES, &so_far, mix);
  }
  store16(partial, so_far.largest);
  store16(partial + HEAD_LANES, so_far.sum);
}

// ---- values

// The mixed latents of one head: its spans weighed against each other, in ascending order.
INLINE void merge_spans(const wave *w, const absorbed_token *token, int32_t head, float *mixed) {
  const int32_t group = head / HEAD_LANES, lane = head % HEAD_LANES;
  const size_t padded_rank = (size_t)w->attention->latent_groups * CACHE_GROUP;
  float largest = -FLT_MAX;
  for (int32_t span = 0; span < token->spans; span++) {
    const float here = partial_of(w, token, group, span)[lane];
    largest = here > largest ? here : largest;  // a NaN comes back in its own weight
  }
  memset(mixed, 0, padded_rank * sizeof(float));
  f32x16 sum = zero16();
  for (int32_t span = 0; span < token->spans; span++) {
    const float *partial = partial_of(w, token, group, span), *mix = partial + 2 * HEAD_LANES + (size_t)lane * padded_rank;
    const f32x16 weight = exp16(splat16(partial[lane] - largest));
    sum = fma16(splat16(partial[HEAD_LANES + lane]), weight, sum);
    for (size_t i = 0; i < padded_rank; i += 16) store16(mixed + i, fma16(load16(mix + i), weight, load16(mixed + i)));
  }
  const f32x16 share = div16(splat16(1), sum);
  for (size_t i = 0; i < padded_rank; i += 16) store16(mixed + i, mul16(load16(mixed + i), share));
}

// out[0..n) = rows (n, width) times mixed
INLINE void multiply_rows(float *out, const float *rows, const float *mixed, int32_t width, int n) {
  f32x16 sum[UP_ROWS];
  UNROLL for (int i = 0; i < UP_ROWS; i++) sum[i] = zero16();
  for (int32_t at = 0; at < width; at += 16) {
    const f32x16 latent = load16(mixed + at);
    UNROLL for (int i = 0; i < UP_ROWS; i++) sum[i] = fma16(latent, load16(rows + i * width + at), sum[i]);
  }
  for (int i = 0; i < n; i++) out[i] = reduce_add16(sum[i]);
}

static void values_of_head(void *context, int32_t head, int32_t thread) {
  const wave *w = context;
  const attention *a = w->attention;
  const int32_t padded_rank = a->latent_groups * CACHE_GROUP;
  const int32_t first_row = (w->first_head + head) * (a->nope + a->v) + a->nope;
  float *rows = thread_scratch(a->device, thread);
  for (int32_t token = 0; token < w->n_tokens; token++)
    merge_spans(w, w->tokens + token, head, latent_of(w, token, head));
  const sixteen_products *packed = as_sixteen_rows(a->kv_up, first_row, a->v);
  const packed_rows own = rows_of_head(w, head, a->nope, a->v);
  for (int32_t token = 0; packed && token < w->n_tokens; token += MOST_VECTORS) {
    const vectors v = mixes_of(w, token, head);
    packed->multiply(&own, &v);
  }
  for (int32_t first = 0; !packed && first < a->v; first += UP_ROWS) {
    const int n = least(UP_ROWS, a->v - first);
#ifdef __AVX2__
    const eight_products *direct = w->n_tokens == 1 ? as_eight_rows(a->kv_up, first_row + first, n) : NULL;
    if (direct) {
      direct->multiply(out_of(a, w->tokens->row, w->first_head + head) + first, a->kv_up, first_row + first, latent_of(w, 0, head));
      continue;
    }
#endif
    widen_rows(rows, (size_t)padded_rank, a->kv_up, first_row + first, n);
    for (int32_t token = 0; token < w->n_tokens; token++) {
      float *out = out_of(a, w->tokens[token].row, w->first_head + head) + first;
      multiply_rows(out, rows, latent_of(w, token, head), padded_rank, n);
    }
  }
}

// ---- waves

static void run_wave(wave *w) {
  const attention *a = w->attention;
  const double up_flops = 2.0 * w->n_tokens * w->n_heads * a->rank;
  double blocks = 0;
  int32_t chunks = 0;
  for (absorbed_token *token = w->tokens; token < w->tokens + w->n_tokens; token++) {
    token->first_chunk = chunks;
    chunks += w->head_groups * token->spans;
    blocks += token->blocks;
  }
  spread(a->device, w->n_heads, up_flops * a->nope, absorb_head, w);
  spread(a->device, chunks, blocks * CACHE_POSITIONS * 2 * w->n_heads * (2 * a->rank + a->rope), attend_span, w);
  spread(a->device, w->n_heads, up_flops * a->v, values_of_head, w);
}

INLINE size_t partials_of(const wave *w, const absorbed_token *token) {
  return (size_t)w->head_groups * (size_t)token->spans * w->partial_floats;
}

// Sizes the wave for `limit` floats: tokens from `tokens` on, up to `n_left`, of all heads from first_head on; if
// one is too many, of fewer heads, 16 at least. Returns the floats it needs.
static size_t size_wave(wave *w, int32_t n_left, size_t limit) {
  const attention *a = w->attention;
  const size_t width = (size_t)a->groups * CACHE_GROUP;
  w->n_heads = a->n_heads - w->first_head;
  for (;; w->n_heads = w->head_groups / 2 * HEAD_LANES) {
    w->head_groups = (w->n_heads + HEAD_LANES - 1) / HEAD_LANES;
    size_t floats = (size_t)w->n_heads * width + partials_of(w, w->tokens);
    if (floats > limit && w->head_groups > 1) continue;
    // Tokens go together only with all their heads.
    for (w->n_tokens = 1; w->n_heads == a->n_heads && w->n_tokens < n_left; w->n_tokens++) {
      const size_t more = (size_t)w->n_heads * width + partials_of(w, w->tokens + w->n_tokens);
      if (floats + more > limit) break;
      floats += more;
    }
    return floats;
  }
}

static status fill_wave(wave *w, int32_t n_left) {
  for (size_t limit = WAVE_BYTES / sizeof(float);; limit /= 2) {
    const size_t floats = size_wave(w, n_left, limit);
    w->latent = scratch(w->attention->device, floats * sizeof(float));
    if (!w->latent && floats > limit) return error_memory();  // nothing smaller is left
    if (!w->latent) continue;
    float *at = latent_of(w, w->n_tokens, 0);
    for (absorbed_token *token = w->tokens; token < w->tokens + w->n_tokens; token++) {
      token->partial = at;
      at += partials_of(w, token);
    }
    return 0;
  }
}

// All generated tokens of the batch.
static status attend_absorbed(const attention *a, const batch *b) {
  int32_t n_tokens = 0;
  for (const run *r = b->runs; r < b->runs + b->n_runs; r++) n_tokens += r->is_prompt ? 0 : r->count;
  if (n_tokens == 0) return 0;
  size_t floats = (size_t)a->groups * CACHE_GROUP * HEAD_LANES + block_workspace(a);  // more than integers need
  if (floats < add_workspace(a->nope / T16_ROWS)) floats = add_workspace(a->nope / T16_ROWS);
  status checked = check_thread_scratch("latent_attention", floats * sizeof(float));
  if (checked < 0) return checked;

  absorbed_token *tokens = scratch(a->device, (size_t)n_tokens * sizeof *tokens), *end = tokens;
  if (!tokens) return error_memory();
  for (const run *r = b->runs; r < b->runs + b->n_runs; r++)
    for (int32_t i = 0; i < (r->is_prompt ? 0 : r->count); i++) {
      const int32_t last = r->first_position + i, blocks = last / CACHE_POSITIONS + 1;
      *end++ = (absorbed_token){
        .row = r->first_row + i,
        .run = r,
        .blocks = blocks,
        .last_block_positions = last % CACHE_POSITIONS + 1,
        .spans = count_spans(blocks),
      };
    }

  wave w = {.attention = a, .tokens = tokens, .partial_floats = (2 + (size_t)a->latent_groups * CACHE_GROUP) * HEAD_LANES};
  while (w.tokens < end) {
    const size_t mark = scratch_mark(a->device);
    checked = fill_wave(&w, (int32_t)(end - w.tokens));
    if (checked < 0) return checked;
    run_wave(&w);
    scratch_release(a->device, mark);
    w.first_head += w.n_heads;
    if (w.first_head < a->n_heads) continue;
    w.first_head = 0;
    w.tokens += w.n_tokens;
  }
  return 0;
}
