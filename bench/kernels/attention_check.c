// Latent attention against a naive version in f64, over random shapes, cache types and weight formats, and
// its bitwise promises: any number of threads, any chunking, alone or in a batch, NaN only where it belongs.
//   attention_check [rounds], 40 or more for the long cases
#include "attention_case.h"

static int failures = 0;
#define CHECK(condition, ...) \
  if (!(condition)) printf("FAIL %s:%d ", __FILE__, __LINE__), printf(__VA_ARGS__), printf("\n"), failures++

// Where value `i` (latents, then key) of a position lies, by cache.h's description alone.
static double cached(const problem *p, int32_t sequence, int32_t position, int32_t i) {
  const int32_t latents = (p->s.rank + 15) / 16, keys = (p->s.rope + 15) / 16, is_key = i >= p->s.rank;
  const int32_t j = is_key ? i - p->s.rank : i, group = (is_key ? latents : 0) + j / 16;
  const uint8_t *block = p->cache.data + (size_t)(p->cache.blocks + p->blocks[sequence][position / 64]) * p->cache.block_bytes;
  const size_t at = (size_t)(group * 64 + position % 64) * 16 + (size_t)(j % 16);
  uint32_t bits = 0;
  float value;
  switch (p->s.dtype) {
  case CACHE_F32: memcpy(&value, block + at * 4, 4); return value;
  case CACHE_BF16: memcpy((uint8_t *)&bits + 2, block + at * 2, 2), memcpy(&value, &bits, 4); return value;
  case CACHE_F16: memcpy(&bits, block + at * 2, 2); return f32_from_f16((uint16_t)bits);
  default: {
    const int32_t scale = (is_key ? (latents + 3) / 4 : 0) + j / 64, place = position % 64;
    memcpy(&value, block + (size_t)(latents + keys) * 1024 + (size_t)(scale * 64 + place) * 4, 4);
    return (double)value * (block[group * 1024 + place / 4 * 64 + j % 16 / 4 * 16 + place % 4 * 4 + j % 4] - 128);
  }
  }
}

// What append_latent should have written, before it is rounded.
static void check_append(const problem *p, int32_t sequence, int32_t position) {
  const int32_t rank = p->s.rank, rope = p->s.rope;
  const float *kv = p->kv[sequence] + (size_t)position * (size_t)(rank + rope);
  const float *angles = p->angles[sequence] + (size_t)position * (size_t)rope;
  double *exact = allocate((size_t)(rank + rope) * 8), squares = 0;
  for (int32_t i = 0; i < rank; i++) squares += (double)kv[i] * kv[i];
  for (int32_t i = 0; i < rank; i++) exact[i] = kv[i] / sqrt(squares / rank + 1e-6) * p->norm[i];
  for (int32_t i = 0; i < rope / 2; i++) {
    const int32_t interleaved = rank % 3 == 0;
    const int32_t first = rank + (interleaved ? 2 * i : i), second = first + (interleaved ? 1 : rope / 2);
    exact[first] = (double)kv[first] * angles[i] - (double)kv[second] * angles[rope / 2 + i];
    exact[second] = (double)kv[first] * angles[rope / 2 + i] + (double)kv[second] * angles[i];
  }
  for (int32_t i = 0; i < rank + rope; i++) {
    const int32_t begin = i < rank ? i / 64 * 64 : rank + (i - rank) / 64 * 64, end = i < rank ? rank : rank + rope;
    double largest = 0;
    for (int32_t j = begin; j < end && j < begin + 64; j++) largest = fmax(largest, fabs(exact[j]));
    const double shares[] = {0, 0x1p-8, 0x1p-11, 0};
    const double half_step = p->s.dtype == CACHE_INT8 ? largest / 254 : fabs(exact[i]) * shares[p->s.dtype];
    const double error = fabs(cached(p, sequence, position, i) - exact[i]);
    CHECK(error <= half_step * 1.001 + 2e-6, "append: value %d of position %d is off by %g, half a step is %g", i, position,
          error, half_step);
  }
  free(exact);
}

static void naive_row(const problem *p, int32_t sequence, int32_t position, double *out) {
  const shape *s = &p->s;
  double *score = allocate((size_t)(position + 1) * 8);
  double *mixed = allocate((size_t)s->rank * 8), *absorbed = allocate((size_t)s->rank * 8);
  for (int32_t head = 0; head < s->n_heads; head++) {
    const float *q =
      p->query[sequence] + ((size_t)position * (size_t)s->n_heads + (size_t)head) * (size_t)(s->nope + s->rope);
    const double *up = p->up_values + (size_t)head * (size_t)(s->nope + s->v) * (size_t)s->rank;
    double largest = -INFINITY, sum = 0;
    for (int32_t i = 0; i < s->rank; i++) {
      absorbed[i] = mixed[i] = 0;
      for (int32_t j = 0; j < s->nope; j++) absorbed[i] += q[j] * up[j * s->rank + i];
    }
    for (int32_t t = 0; t <= position; t++) {
      score[t] = 0;
      for (int32_t i = 0; i < s->rank; i++) score[t] += absorbed[i] * cached(p, sequence, t, i);
      for (int32_t i = 0; i < s->rope; i++) score[t] += q[s->nope + i] * cached(p, sequence, t, s->rank + i);
      score[t] /= sqrt(s->nope + s->rope);
      largest = fmax(largest, score[t]);
    }
    for (int32_t t = 0; t <= position; t++) sum += score[t] = exp(score[t] - largest);
    for (int32_t t = 0; t <= position; t++)
      for (int32_t i = 0; i < s->rank; i++) mixed[i] += score[t] / sum * cached(p, sequence, t, i);
    for (int32_t j = 0; j < s->v; j++) {
      double value = 0;
      for (int32_t i = 0; i < s->rank; i++) value += mixed[i] * up[(s->nope + j) * s->rank + i];
      out[head * s->v + j] = value;
    }
  }
  free(score), free(mixed), free(absorbed);
}

static double worst = 0, worst_rounded = 0;

// `is_rounded`: integer arithmetic may have rounded queries and softmax weights.
static void check_values(const problem *p, const part *parts, int32_t n_parts, const float *out, int32_t samples, bool is_rounded) {
  const size_t width = (size_t)p->s.n_heads * (size_t)p->s.v;
  double *exact = allocate(width * 8);
  for (int32_t i = 0; i < n_parts; out += (size_t)parts[i++].count * width)
    for (int32_t sample = 0; sample < samples; sample++) {
      const int32_t token = sample == 0 ? parts[i].count - 1 : random_below(parts[i].count);
      double largest = 0, error = 0;
      naive_row(p, parts[i].sequence, parts[i].first + token, exact);
      for (size_t j = 0; j < width; j++) {
        largest = fmax(largest, fabs(exact[j]));
        error = fmax(error, fabs(out[(size_t)token * width + j] - exact[j]));
        if (out[(size_t)token * width + j] != out[(size_t)token * width + j]) error = INFINITY;
      }
      const bool rounded = is_rounded && !parts[i].is_prompt;
      if (rounded) worst_rounded = fmax(worst_rounded, error / largest);
      else worst = fmax(worst, error / largest);
      CHECK(error <= (rounded ? 0.05 : 2e-5) * largest, "values: off by %g of %g at position %d (prompt %d)", error, largest,
            parts[i].first + token, parts[i].is_prompt);
    }
  free(exact);
}

static bool same(const float *a, const float *b, size_t n) { return memcmp(a, b, n * sizeof(float)) == 0; }

// Writes NaN into positions of a sequence: into groups of values from `first_group` on.
static void poison(problem *p, int32_t sequence, int32_t first, int32_t last, int32_t first_group) {
  const size_t value_bytes = cache_value_bytes(p->s.dtype), groups = (size_t)all_groups(&p->cache);
  const int32_t covered = (p->s.lengths[sequence] / 64 + 1) * 64;
  for (int32_t position = first; position < (last < covered ? last : covered); position++) {
    uint8_t *block = cache_block(&p->cache, 1, p->blocks[sequence][position / 64]);
    for (size_t group = (size_t)first_group; group < groups; group++) {
      const bool is_int8 = p->s.dtype == CACHE_INT8;
      if (!is_int8) memset(cached_values(&p->cache, block, (int32_t)group, position % 64), 0xff, 16 * value_bytes);
      for (int four = 0; is_int8 && four < 4; four++)
        memset(cached_fours(&p->cache, block, (int32_t)group, position % 64) + 16 * four, four ? 0 : 255, 4);
      if (is_int8) cached_scales(&p->cache, block, (int32_t)group)[position % 64] = NAN;
    }
  }
}

// Rows first..end are NaN throughout, all others as expected.
static void check_nan(const float *expected, const float *found, int32_t rows, int32_t first, int32_t end, size_t width,
                      const char *what) {
  for (int32_t row = 0; row < rows; row++, expected += width, found += width) {
    if (row < first || row >= end) CHECK(same(expected, found, width), "%s in row %d changed row %d", what, first, row);
    for (size_t i = 0; row >= first && row < end && i < width; i++)
      CHECK(found[i] != found[i], "%s in row %d is hidden from row %d", what, first, row);
  }
}

// Of all results: the same on every instruction set with a fused multiply-add.
static uint64_t digest = 14695981039346656037u;
static void digest_bits(const float *values, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, values + i, 4);
    digest = (digest ^ bits) * 1099511628211u;
  }
}

static void check_shape(device *devices, int32_t n_devices, shape s, bool exact) {
  for (int32_t i = 0; i < n_devices; i++) devices[i].exact = exact;
  problem p = make_problem(s);
  const size_t width = (size_t)s.n_heads * (size_t)s.v;
  part all[8], parts[16];
  int32_t n_parts = 0;
  size_t tokens = 0;
  for (int32_t i = 0; i < s.n_sequences; i++) all[i] = (part){i, 0, s.lengths[i], 1};
  append_parts(&devices[0], &p, all, s.n_sequences);
  for (int32_t i = 0; i < s.n_sequences; i++) check_append(&p, i, random_below(s.lengths[i]));
  uint8_t *first_cache = allocate(2 * (size_t)p.cache.blocks * p.cache.block_bytes);
  const size_t cache_bytes = 2 * (size_t)p.cache.blocks * p.cache.block_bytes;
  memcpy(first_cache, p.cache.data, cache_bytes);
  for (int32_t i = 0; i < s.n_sequences; i++) {  // one by one: the same bits
    for (int32_t at = 0; at < s.lengths[i]; at += 7)
      append_parts(&devices[n_devices - 1], &p, &(part){i, at, least(7, s.lengths[i] - at), 1}, 1);
  }
  CHECK(memcmp(first_cache, p.cache.data, cache_bytes) == 0, "append: chunks of 7 differ");

  for (int32_t i = 0; i < s.n_sequences; i++) {  // a prompt's end, then some generated tokens
    const int32_t generated = s.lengths[i] > 4 ? 1 + i % 3 : 0, first = random_below(s.lengths[i] - generated);
    const int32_t begin = i % 2 ? 0 : first;
    parts[n_parts++] = (part){i, begin, s.lengths[i] - generated - begin, 1};
    if (generated) parts[n_parts++] = (part){i, s.lengths[i] - generated, generated, 0};
  }
  for (int32_t i = 0; i < n_parts; i++) tokens += (size_t)parts[i].count;
  float *out = allocate(tokens * width * 4), *again = allocate(tokens * width * 4);
  attend_parts(&devices[0], &p, parts, n_parts, out);
  digest_bits(out, tokens * width);
  check_values(&p, parts, n_parts, out, 2, s.dtype == CACHE_INT8 && !exact);

  for (int32_t i = 1; i < n_devices; i++) {
    memset(again, 0x55, tokens * width * 4);
    attend_parts(&devices[i], &p, parts, n_parts, again);
    CHECK(same(out, again, tokens * width), "%d threads, %zu bytes of arena: other bits than one", devices[i].threads,
          arena_left(devices[i].arena));
  }
  // Alone and in chunks, while everything after each chunk is NaN.
  const int32_t chunks[] = {1, 7, 64, 1000};
  const float *expected = out;
  for (int32_t i = 0; i < n_parts; expected += (size_t)parts[i++].count * width) {
    for (int c = 0; c < 4; c++) {
      if (parts[i].count > 300 && chunks[c] == 1) continue;
      for (int32_t at = 0; at < parts[i].count; at += chunks[c]) {
        part chunk = parts[i];
        chunk.first += at;
        chunk.count = least(chunks[c], parts[i].count - at);
        poison(&p, chunk.sequence, chunk.first + chunk.count, INT32_MAX, 0);
        attend_parts(&devices[(at + c) % n_devices], &p, &chunk, 1, again);
        CHECK(same(expected + (size_t)at * width, again, (size_t)chunk.count * width),
              "chunk of %d at %d (prompt %d): other bits than whole", chunk.count, chunk.first, chunk.is_prompt);
        memcpy(p.cache.data, first_cache, cache_bytes);
      }
    }
  }
  // NaN in one position, in all of it or in its key: rows that see it are NaN in all heads, the others keep their bits.
  expected = out;
  for (int32_t i = 0; i < n_parts; expected += (size_t)parts[i++].count * width)
    for (int is_key = 0; is_key < 2; is_key++) {
      const int32_t at = parts[i].first + random_below(parts[i].count);
      poison(&p, parts[i].sequence, at, at + 1, is_key ? cache_groups(s.rank) : 0);
      attend_parts(&devices[n_devices - 1], &p, &parts[i], 1, again);
      check_nan(expected, again, parts[i].count, at - parts[i].first, parts[i].count, width, "a cached NaN");
      memcpy(p.cache.data, first_cache, cache_bytes);
    }
  // NaN and infinity in what is appended, NaN in a query: the row fails, and it alone.
  expected = out;
  for (int32_t i = 0; i < n_parts; expected += (size_t)parts[i++].count * width) {
    const int32_t sequence = parts[i].sequence, at = random_below(parts[i].count), position = parts[i].first + at;
    // An infinite key may have no weight at all (a score of minus infinity); an infinite latent has no norm.
    const bool is_infinite = i % 2;
    const int32_t value = random_below(is_infinite ? s.rank : s.rank + s.rope);
    float *kv = p.kv[sequence] + (size_t)position * (size_t)(s.rank + s.rope) + value, before = *kv;
    *kv = is_infinite ? INFINITY : NAN;
    append_parts(&devices[0], &p, &(part){sequence, position, 1, 1}, 1);
    *kv = before;
    attend_parts(&devices[0], &p, &parts[i], 1, again);
    check_nan(expected, again, parts[i].count, at, parts[i].count, width,
              is_infinite ? "an appended infinity" : "an appended NaN");
    memcpy(p.cache.data, first_cache, cache_bytes);
    float *query = p.query[sequence] + (size_t)position * (size_t)s.n_heads * (size_t)(s.nope + s.rope);
    for (int32_t head = 0; head < s.n_heads; head++) query[head * (s.nope + s.rope) + random_below(s.nope + s.rope)] = NAN;
    attend_parts(&devices[0], &p, &parts[i], 1, again);
    check_nan(expected, again, parts[i].count, at, at + 1, width, "a query's NaN");
  }
  free(out), free(again), free(first_cache), free_problem(&p);
}

int main(int n_arguments, char **arguments) {
  const int32_t rounds = n_arguments > 1 ? atoi(arguments[1]) : 60;
  device devices[] = {open_device(NULL, 1, 64u << 20), open_device(NULL, 2, 64u << 20), open_device(NULL, 3, 110u << 10)};  // the last has memory for the least at a time
  const int32_t heads[] = {1, 3, 8, 16, 20}, ranks[] = {8, 24, 72, 64, 200}, vs[] = {12, 24, 36, 16, 5};
  const int32_t ropes[] = {8, 16, 64, 2}, nopes[] = {16, 32, 24, 7};
  for (int32_t round = 0; round < rounds; round++) {
    shape s = {.n_heads = heads[random_below(5)], .nope = nopes[random_below(4)], .rope = ropes[random_below(4)],
               .v = vs[random_below(5)], .rank = ranks[random_below(5)], .dtype = round % N_CACHE_DTYPES,
               .format = round / N_CACHE_DTYPES % (INT8 + 1), .n_sequences = 1 + random_below(3)};
    for (int32_t i = 0; i < s.n_sequences; i++) s.lengths[i] = 1 + random_below(round % 5 == 0 ? 600 : 150);
    const int before = failures;
    const bool exact = round / N_CACHE_DTYPES % 3 == 0;  // where it makes a difference: integers more often than not
    check_shape(devices, 3, s, exact);
    if (failures > before)
      printf("  in: %d heads, rank %d, rope %d, nope %d, v %d, cache %d, format %d, lengths %d %d %d, exact %d\n", s.n_heads, s.rank,
             s.rope, s.nope, s.v, s.dtype, s.format, s.lengths[0], s.lengths[1], s.lengths[2], exact);
    if (failures > 20) break;
  }
  const bool is_long = rounds >= 40;
  if (is_long)  // many heads, a long past: more than the last device can hold at once
    check_shape(devices, 3, (shape){40, 7, 8, 5, 72, CACHE_BF16, F32, 1, {2100}}, true);
  if (is_long) check_shape(devices, 3, (shape){40, 7, 8, 5, 72, CACHE_INT8, F32, 1, {2100}}, false);
  for (int32_t dtype = 0; is_long && dtype < N_CACHE_DTYPES; dtype++)  // real widths, several spans
    check_shape(devices, 2, (shape){16, 128, 64, 128, 512, dtype, BF16, 1, {dtype == 0 ? 700 : 130}}, false);
  for (int i = 0; i < 3; i++) close_device(&devices[i]);
  printf("%s: %d rounds, worst error %.2g of the largest value (%.2g in integers), digest %016llx, %d failures\n",
         failures ? "FAIL" : "ok", rounds, worst, worst_rounded, (unsigned long long)digest, failures);
  return failures != 0;
}
