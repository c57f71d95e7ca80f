// Random attention problems: sequences in a shuffled paged cache, queries, and a kv_up matrix in any format
// beside the f64 values that it stands for.
#include "../../kernels/cpu/attention.c"
#include "bare_device.h"

// ---- a problem

typedef struct {
  int32_t n_heads, nope, rope, v, rank, dtype, format, n_sequences;
  int32_t lengths[8];
} shape;

typedef struct {
  shape s;
  latent_cache cache;
  int32_t *blocks[8];
  weight up;
  uint8_t *up_memory;
  double *up_values;  // (n_heads * (nope + v), rank)
  float *kv[8], *query[8], *angles[8], *norm;
} problem;

static double fp8_value(uint8_t bits) {
  const int exponent = bits >> 3 & 15, fraction = bits & 7;
  const double magnitude = exponent ? ldexp(8 + fraction, exponent - 10) : ldexp(fraction, -9);
  return bits & 128 ? -magnitude : magnitude;
}

// Random values of a format, at an odd address where the format allows it.
static void make_up(problem *p) {
  const int32_t rows = p->s.n_heads * (p->s.nope + p->s.v), width = p->s.rank;
  const size_t n = (size_t)rows * (size_t)width, scale_width = (size_t)(width + 127) / 128;
  const size_t scale_bytes = (size_t)(rows + 127) / 128 * scale_width * 4, bytes = p->s.format == INT8 ? packed_bytes(INT8, rows, width) : n * 4;
  p->up_memory = allocate(bytes + scale_bytes + LINE);
  p->up_values = allocate(n * sizeof(double));
  uint8_t *data = p->up_memory + (p->s.format == INT8 ? 0 : 1), *scale = data + bytes + 2;
  p->up = (weight){data, p->s.format == FP8 ? scale : NULL, p->s.format, rows, width};
  for (size_t i = 0; i < scale_bytes; i += 4) memcpy(scale + i, &(float){(float)(0.02 + 0.01 * random_unit())}, 4);
  for (size_t i = 0; i < n; i++) {
    const size_t row = i / (size_t)width, column = i % (size_t)width;
    const float value = (float)(random_unit() / sqrt(width));
    uint16_t half;
    switch (p->s.format) {
    case F32:
      memcpy(data + i * 4, &value, 4);
      p->up_values[i] = value;
      break;
    case BF16:
      half = bf16_from_f32(value);
      memcpy(data + i * 2, &half, 2);
      p->up_values[i] = (double)ldexp((128 | (half & 127)), (half >> 7 & 255) - 134) * (half >> 15 ? -1 : 1);
      break;
    case F16:
      half = f16_from_f32(value);
      memcpy(data + i * 2, &half, 2);
      p->up_values[i] = f32_from_f16(half);
      break;
    case FP8: {
      uint8_t bits = (uint8_t)random_bits();
      if ((bits & 127) == 127 || (bits & 127) > 0x48) bits = (bits & 128) | (bits & 0x3f);
      float factor;
      memcpy(&factor, scale + (row / 128 * scale_width + column / 128) * 4, 4);
      data[i] = bits;
      p->up_values[i] = (double)factor * fp8_value(bits);
      break;
    }
    default: {
      uint8_t *block = data + (row / 16 * ((size_t)(width + 63) / 64) + column / 64) * t16_block_bytes(INT8);
      const uint16_t factor = f16_from_f32(0.0005f * (float)(1 + (row * 7 + column / 32) % 5));
      const int8_t q = (int8_t)(random_below(255) - 127);
      memcpy(block + column % 64 / 4 * 64 + row % 16 * 4 + column % 4, &q, 1);
      memcpy(block + 1024 + column % 64 / 32 * 32 + row % 16 * 2, &factor, 2);
      p->up_values[i] = (double)q * f32_from_f16(factor);
    }
    }
  }
}

static problem make_problem(shape s) {
  problem p = {.s = s, .norm = allocate((size_t)s.rank * 4)};
  int32_t n_blocks = 1, next = 0;
  for (int32_t i = 0; i < s.n_sequences; i++) n_blocks += s.lengths[i] / 64 + 1;
  const size_t block_bytes = cache_block_bytes(s.dtype, s.rank, s.rope);
  p.cache = (latent_cache){allocate(2 * (size_t)n_blocks * block_bytes), s.dtype, 2, n_blocks, s.rank, s.rope, block_bytes};
  int32_t *order = allocate((size_t)n_blocks * 4);
  for (int32_t i = 0; i < n_blocks; i++) {
    const int32_t other = random_below(i + 1);
    order[i] = order[other];
    order[other] = i;
  }
  for (int32_t i = 0; i < s.rank; i++) p.norm[i] = (float)(1 + 0.3 * random_unit());
  for (int32_t i = 0; i < s.n_sequences; i++) {
    const size_t n = (size_t)s.lengths[i], kv_width = (size_t)(s.rank + s.rope), q_width = (size_t)s.n_heads * (size_t)(s.nope + s.rope);
    p.blocks[i] = allocate((n / 64 + 1) * 4);
    for (size_t block = 0; block < n / 64 + 1; block++) p.blocks[i][block] = order[next++];
    p.kv[i] = allocate(n * kv_width * 4);
    p.query[i] = allocate(n * q_width * 4);
    p.angles[i] = allocate(n * (size_t)s.rope * 4);
    for (size_t j = 0; j < n * kv_width; j++) p.kv[i][j] = (float)random_unit();
    for (size_t j = 0; j < n * q_width; j++) p.query[i][j] = (float)(2 * random_unit());
    for (size_t j = 0; j < n * (size_t)s.rope; j++) {
      const double turn = (double)(j / (size_t)s.rope) / (1 + (double)(j % (size_t)(s.rope / 2)));
      p.angles[i][j] = (float)(j % (size_t)s.rope < (size_t)(s.rope / 2) ? cos(turn) : sin(turn));
    }
  }
  free(order);
  make_up(&p);
  return p;
}

static void free_problem(problem *p) {
  for (int32_t i = 0; i < p->s.n_sequences; i++) free(p->blocks[i]), free(p->kv[i]), free(p->query[i]), free(p->angles[i]);
  free(p->cache.data), free(p->up_memory), free(p->up_values), free(p->norm);
}

// ---- running parts of it

typedef struct { int32_t sequence, first, count, is_prompt; } part;  // tokens of a sequence

// Rows of the parts, one after the other; `width` floats a token.
static float *gather(const problem *p, float *const *from, const part *parts, int32_t n_parts, size_t width) {
  size_t tokens = 0;
  for (int32_t i = 0; i < n_parts; i++) tokens += (size_t)parts[i].count;
  float *rows = allocate(tokens * width * 4), *to = rows;
  (void)p;
  for (int32_t i = 0; i < n_parts; to += (size_t)parts[i++].count * width)
    memcpy(to, from[parts[i].sequence] + (size_t)parts[i].first * width, (size_t)parts[i].count * width * 4);
  return rows;
}

static batch make_batch(const problem *p, const part *parts, int32_t n_parts, run *runs) {
  batch b = {.n_runs = n_parts, .runs = runs};
  for (int32_t i = 0; i < n_parts; i++) {
    const part *q = parts + i;
    runs[i] = (run){b.n_tokens, q->count, q->first, q->is_prompt, p->blocks[q->sequence], (q->first + q->count + 63) / 64};
    b.n_tokens += q->count;
  }
  return b;
}

static void append_parts(device *d, problem *p, const part *parts, int32_t n_parts) {
  run runs[16];
  const batch b = make_batch(p, parts, n_parts, runs);
  float *kv = gather(p, p->kv, parts, n_parts, (size_t)(p->s.rank + p->s.rope));
  float *angles = gather(p, p->angles, parts, n_parts, (size_t)p->s.rope);
  if (append_latent_kernel(d, &p->cache, 1, &b, kv, p->norm, 1e-6f, angles, p->s.rank % 3 == 0)) abort();
  free(kv), free(angles);
}

// Attention of the parts into `out`, whose rows are those of the parts.
__attribute__((unused)) static void attend_parts(device *d, const problem *p, const part *parts, int32_t n_parts, float *out) {
  run runs[16];
  const batch b = make_batch(p, parts, n_parts, runs);
  float *query = gather(p, p->query, parts, n_parts, (size_t)p->s.n_heads * (size_t)(p->s.nope + p->s.rope));
  const size_t mark = scratch_mark(d);
  const float scale = (float)(1 / sqrt(p->s.nope + p->s.rope));
  if (latent_attention_kernel(d, out, &p->cache, 1, &b, query, &p->up, p->s.n_heads, p->s.nope, p->s.v, scale)) abort();
  if (scratch_mark(d) != mark) abort();
  free(query);
}
