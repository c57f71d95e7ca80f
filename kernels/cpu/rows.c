// The ops that treat each row alone: embed, norms, add, rope. A row is computed whole by one
// thread, and sums run over the same lanes in the same order, whatever else is in the batch.
#include "device.h"
#include "row_chunks.h"
#include "simd.h"
#include "weight_row.h"

// ---- embed

typedef struct {
  float *out;
  const weight *w;
  const int32_t *tokens;
  int32_t n_tokens;
  device *device;
} embedding;

static void embed_chunk(void *context, int32_t chunk, int32_t thread) {
  const embedding *e = context;
  const int32_t width = e->w->width;
  row_range part = rows_of_chunk(chunk, e->n_tokens, width);
  for (int64_t row = part.begin; row < part.end; row++) {
    float *to = e->out + row * width;
    // Rows are widened to whole vectors, which may not spill over into the next one.
    float *wide = width % 16 == 0 ? to : thread_scratch(e->device, thread);
    widen_row(wide, e->w, e->tokens[row]);
    if (wide != to) memcpy(to, wide, (size_t)width * sizeof *to);
  }
}

static status embed_kernel(device *d, float *out, const weight *w, const int32_t *tokens, int32_t n_tokens) {
  const size_t wide_bytes = ((size_t)w->width + 15) / 16 * 64;
  if (w->width % 16 && wide_bytes > THREAD_SCRATCH_BYTES) {
    return fail(ERROR_UNSUPPORTED, "embed: a row of %d values is too wide for a thread's workspace", w->width);
  }
  embedding e = {out, w, tokens, n_tokens, d};
  parallel(d, row_chunks(n_tokens, w->width), embed_chunk, &e);
  return 0;
}

// ---- rms_norm, add_rms_norm

// 1 / root mean square. Four sums of 16 lanes hide the latency of one.
INLINE float inverse_rms(const float *x, int32_t width, float eps) {
  f32x16 sums[4] = {zero16(), zero16(), zero16(), zero16()};
  int32_t i = 0;
  for (; i + 64 <= width; i += 64) {
    UNROLL for (int j = 0; j < 4; j++) {
      const f32x16 v = load16(x + i + 16 * j);
      sums[j] = fma16(v, v, sums[j]);
    }
  }
  for (; i < width; i += 16) {
    const f32x16 v = load16_first(x + i, width - i);
    sums[0] = fma16(v, v, sums[0]);
  }
  const float sum = reduce_add16(add16(add16(sums[0], sums[1]), add16(sums[2], sums[3])));
  return 1 / sqrtf(sum / (float)width + eps);
}

// x += delta
INLINE void add_values(float *x, const float *delta, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) {
    const int32_t left = n - i < 16 ? (int32_t)(n - i) : 16;
    store16_first(x + i, add16(load16_first(x + i, left), load16_first(delta + i, left)), left);
  }
}

typedef struct {
  float *out, *sum;  // sum: x to which delta is added first, or NULL
  const float *x, *delta, *weight;
  int32_t rows, width;
  float eps;
} norm;

static void norm_chunk(void *context, int32_t chunk, int32_t thread) {
  const norm *n = context;
  (void)thread;
  row_range part = rows_of_chunk(chunk, n->rows, n->width);
  for (int64_t row = part.begin; row < part.end; row++) {
    const int64_t at = row * n->width;
    const float *x = n->x + at;
    if (n->sum) add_values(n->sum + at, n->delta + at, n->width);
    const f32x16 scale = splat16(inverse_rms(x, n->width, n->eps));
    for (int32_t i = 0; i < n->width; i += 16) {
      const int32_t left = n->width - i;
      const f32x16 scaled = mul16(load16_first(x + i, left), scale);
      store16_first(n->out + at + i, mul16(scaled, load16_first(n->weight + i, left)), left);
    }
  }
}

static status rms_norm_kernel(device *d, float *out, const float *x, const float *weight, int32_t rows, int32_t width, float eps) {
  norm n = {.out = out, .x = x, .weight = weight, .rows = rows, .width = width, .eps = eps};
  parallel(d, row_chunks(rows, width), norm_chunk, &n);
  return 0;
}

static status add_rms_norm_kernel(device *d, float *out, float *x, const float *delta, const float *weight, int32_t rows, int32_t width,
                            float eps) {
  norm n = {.out = out, .sum = x, .x = x, .delta = delta, .weight = weight, .rows = rows, .width = width, .eps = eps};
  parallel(d, row_chunks(rows, width), norm_chunk, &n);
  return 0;
}

// ---- add

typedef struct {
  float *x;
  const float *delta;
  size_t n;
} addition;

static void add_chunk(void *context, int32_t chunk, int32_t thread) {
  const addition *a = context;
  (void)thread;
  const size_t begin = (size_t)chunk * CHUNK_VALUES, left = a->n - begin;
  add_values(a->x + begin, a->delta + begin, (int64_t)(left < CHUNK_VALUES ? left : CHUNK_VALUES));
}

static status add_kernel(device *d, float *x, const float *delta, size_t n) {
  addition a = {x, delta, n};
  parallel(d, (int32_t)((n + CHUNK_VALUES - 1) / CHUNK_VALUES), add_chunk, &a);
  return 0;
}

// ---- rope

typedef struct {
  float *x;
  const float *angles;
  int32_t rows, n_heads, head_dim, rope_dim, interleaved;
} rotation;

// Plain loops: they are short, and compilers turn them into shuffles on every instruction set. No fused
// multiply-add (-ffp-contract=off), so all of them agree bit for bit.
INLINE void rotate_pairs(float *restrict x, const float *restrict cosines, const float *restrict sines, int32_t half) {
  for (int32_t pair = 0; pair < half; pair++) {
    const float a = x[2 * pair], b = x[2 * pair + 1];
    x[2 * pair] = a * cosines[pair] - b * sines[pair];
    x[2 * pair + 1] = a * sines[pair] + b * cosines[pair];
  }
}
INLINE void rotate_halves(float *restrict x, float *restrict y, const float *restrict cosines, const float *restrict sines,
                          int32_t half) {
  for (int32_t pair = 0; pair < half; pair++) {
    const float a = x[pair], b = y[pair];
    x[pair] = a * cosines[pair] - b * sines[pair];
    y[pair] = a * sines[pair] + b * cosines[pair];
  }
}

static void rope_chunk(void *context, int32_t chunk, int32_t thread) {
  const rotation *r = context;
  (void)thread;
  const int32_t half = r->rope_dim / 2;
  row_range part = rows_of_chunk(chunk, r->rows, (int64_t)r->n_heads * r->rope_dim);
  for (int64_t row = part.begin; row < part.end; row++) {
    const float *cosines = r->angles + row * r->rope_dim, *sines = cosines + half;
    for (int32_t head = 0; head < r->n_heads; head++) {
      float *x = r->x + (row * r->n_heads + head + 1) * r->head_dim - r->rope_dim;
      if (r->interleaved) rotate_pairs(x, cosines, sines, half);
      else rotate_halves(x, x + half, cosines, sines, half);
    }
  }
}

static status rope_kernel(device *d, float *x, const float *angles, int32_t rows, int32_t n_heads, int32_t head_dim, int32_t rope_dim,
                        int32_t interleaved) {
  rotation r = {x, angles, rows, n_heads, head_dim, rope_dim, interleaved};
  parallel(d, row_chunks(rows, (int64_t)n_heads * rope_dim), rope_chunk, &r);
  return 0;
}
