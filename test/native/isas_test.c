// Every instruction set with a fused multiply-add gives the same bits: the same calls with the same bytes on each that
// this machine has. Ops, shapes, formats, offsets and threads are drawn at random, and so are the bytes of weights,
// half of the time whatever they may be: codes that are NaN, scales that are infinite.
//
//   isas_test [CASES [FIRST]]    prints for each case what it was and the hash of its results, for other machines
//
// Portable kernels round a product before they add it; they run too, for the memory checkers.
#include "../../kernels/cpu/cpuid.h"
#include "expect.h"
#include <math.h>

// What is drawn is named before it is used: C leaves open which of two arguments comes first.
static uint64_t state;
static uint32_t next(uint32_t n) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (uint32_t)(state >> 32) % n;
}
static int32_t between(int32_t least, int32_t most) { return least + (int32_t)next((uint32_t)(most - least + 1)); }
static float real(void) { return (float)next(1 << 16) / (1 << 15) - 1; }

// ---- bytes

static bool is_wild;  // of this case

static float any_real(void) {
  static const float special[] = {NAN, INFINITY, -INFINITY, 0, -0.0f, 1e-42f, -3e38f, 1e-30f, 3e38f};
  return is_wild && next(200) == 0 ? special[next(sizeof special / sizeof *special)] : real();
}

static void fill_f16(uint8_t *at) {  // 2^-9 to 2^-2
  const uint32_t code = next(1 << 14);
  const uint16_t bits = (uint16_t)((code & 1) << 15 | (6 + (code >> 11)) << 10 | (code >> 1 & 1023));
  memcpy(at, &bits, sizeof bits);
}

static void tame(uint8_t *to, size_t size, int32_t format) {
  switch (format) {
    case F32:
      for (size_t i = 0; i < size; i += 4) memcpy(to + i, &(float){real()}, 4);
      return;
    case BF16:
      for (size_t i = 0; i < size; i += 2) to[i] = (uint8_t)next(256), to[i + 1] = (uint8_t)(next(2) << 7 | 0x3e);
      return;
    case F16:
      for (size_t i = 0; i < size; i += 2) fill_f16(to + i);
      return;
    case FP8:
      for (size_t i = 0; i < size; i++) to[i] = (uint8_t)next(254), to[i] += to[i] >= 0x7f;
      return;
  }
  const size_t block = is_packed(format) ? t16_block_bytes(format) : (size_t)gguf_bytes(format);
  for (size_t at = 0; at < size; at += block) {
    if (is_packed(format)) {
      for (size_t i = (size_t)t16_value_lines(format) * LINE; i < block; i += 2) fill_f16(to + at + i);
    } else {
      fill_f16(to + at + (format == Q6_K ? 208 : 0));
      if (has_least(format)) fill_f16(to + at + 2);
    }
  }
}

static uint8_t *weight_bytes_of(int32_t format, size_t size) {
  uint8_t *bytes = malloc(size ? size : 1);
  for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)next(256);
  if (!is_wild) tame(bytes, size, format);
  return bytes;
}

// ---- what a case works with: made once, then once more on each device

typedef struct {
  int32_t format, rows, width;
  size_t shift;  // bytes before it in its buffer
  uint8_t *data;
  float *scales;
} matrix;

static int32_t width_for(int32_t format, int32_t wanted) {
  const int32_t unit = is_gguf(format) ? gguf_width(format) : 1;
  return (wanted + unit - 1) / unit * unit;
}

static matrix draw_matrix(int32_t format, int32_t rows, int32_t width) {
  matrix m = {.format = format, .rows = rows, .width = width, .shift = is_packed(format) ? LINE * next(3) : next(70)};
  m.data = weight_bytes_of(format, weight_data_bytes(format, rows, width));
  const size_t n = weight_scale_bytes(format, rows, width) / sizeof(float);
  m.scales = malloc(n ? n * sizeof(float) : 1);
  for (size_t i = 0; i < n; i++) m.scales[i] = any_real() / 64;
  return m;
}

static handle load_matrix(handle d, const matrix *m) {
  const size_t bytes = weight_data_bytes(m->format, m->rows, m->width), scale_bytes = weight_scale_bytes(m->format, m->rows, m->width);
  const handle data = buffer_create(d, (double)(bytes + m->shift));
  EXPECT(data > 0 && buffer_write(data, (double)m->shift, m->data, (double)bytes) == 0);
  handle scale = 0;
  if (scale_bytes) {
    scale = buffer_create(d, (double)(scale_bytes + m->shift));
    EXPECT(scale > 0 && buffer_write(scale, (double)m->shift, (const uint8_t *)m->scales, (double)scale_bytes) == 0);
  }
  const handle made = weight_create(data, (double)m->shift, scale, (double)m->shift, m->format, m->rows, m->width);
  EXPECT(made > 0);
  return made;
}

static void drop_matrix(matrix *m) { free(m->data), free(m->scales); }

static float *draw_floats(size_t n) {
  float *values = malloc(n ? n * sizeof *values : 1);
  for (size_t i = 0; i < n; i++) values[i] = any_real();
  return values;
}

static handle load_floats(handle d, const float *values, size_t n) {
  const handle made = buffer_create(d, (double)n * 4);
  EXPECT(made > 0 && (!values || buffer_write(made, 0, (const uint8_t *)values, (double)n * 4) == 0));
  return made;
}

// ---- results

typedef struct {
  uint32_t *words;
  size_t n;
} outcome;

static void take_floats(outcome *to, handle from, size_t n) {
  to->words = realloc(to->words, (to->n + n) * sizeof *to->words + 1);
  EXPECT(to->words && buffer_read((uint8_t *)(to->words + to->n), from, 0, (double)n * 4) == 0);
  for (size_t i = to->n; i < to->n + n; i++) {
    float value;
    memcpy(&value, to->words + i, 4);
    if (isnan(value)) to->words[i] = 0x7fc00000;  // which one it is differs between x86 and ARM
  }
  to->n += n;
}

static uint64_t hash_of(const outcome *o) {
  uint64_t hash = 14695981039346656037u;
  for (size_t i = 0; i < o->n; i++) hash = (hash ^ o->words[i]) * 1099511628211u;
  return hash;
}

// ---- cases: `draw` once, then `act` on each device

typedef struct {
  const char *op;
  int32_t exact, rows, more;
  matrix matrices[8];
  int32_t n_matrices;
  float *x;
  size_t n_x;
} drawn;

static int32_t any_format(void) { return (int32_t)next(N_FORMATS); }
static int32_t few_rows(void) { return next(3) ? between(1, 9) : between(1, 70); }
// Around whole lines and tiles, now and then past a block of the width.
static int32_t any_width(void) { return next(8) == 0 ? between(1000, 1100) : next(2) ? between(1, 300) : 16 * between(1, 20); }

static drawn draw_linear(void) {
  drawn c = {.op = "linear", .rows = few_rows()};
  const int32_t format = any_format(), outputs = between(1, 150);
  c.matrices[c.n_matrices++] = draw_matrix(format, outputs, width_for(format, any_width()));
  c.n_x = (size_t)c.rows * (size_t)c.matrices[0].width;
  c.x = draw_floats(c.n_x);
  return c;
}
static void act_linear(const drawn *c, handle d, outcome *to) {
  const size_t n = (size_t)c->rows * (size_t)c->matrices[0].rows;
  const handle out = load_floats(d, NULL, n), w = load_matrix(d, c->matrices);
  EXPECT(linear(out, load_floats(d, c->x, c->n_x), w, c->rows) == 0);
  take_floats(to, out, n);
  // The first rows of the matrix as they are.
  int32_t ids[4];
  for (int32_t i = 0; i < 4; i++) ids[i] = i * 7 % c->matrices[0].rows;
  const handle rows = load_floats(d, NULL, 4 * (size_t)c->matrices[0].width);
  EXPECT(embed(rows, w, load_floats(d, (const float *)ids, 4), 4) == 0);
  take_floats(to, rows, 4 * (size_t)c->matrices[0].width);
}

static drawn draw_experts(void) {
  drawn c = {.op = "experts", .rows = few_rows()};
  c.more = between(1, 2);
  const int32_t format = any_format(), hidden = width_for(format, any_width()), inner = width_for(format, between(1, 200));
  for (int32_t e = 0; e < 2; e++) {
    c.matrices[c.n_matrices++] = draw_matrix(format, inner, hidden);
    c.matrices[c.n_matrices++] = draw_matrix(format, inner, hidden);
    c.matrices[c.n_matrices++] = draw_matrix(format, hidden, inner);
  }
  c.matrices[c.n_matrices++] = draw_matrix(next(2) ? BF16 : F32, 2, hidden);
  c.n_x = (size_t)c.rows * (size_t)hidden;
  c.x = draw_floats(c.n_x);
  return c;
}
static void act_experts(const drawn *c, handle d, outcome *to) {
  const int32_t hidden = c->matrices[0].width, k = c->more;
  const handle set = experts_create(d, 2, hidden, c->matrices[0].rows), shared = experts_create(d, 1, hidden, c->matrices[0].rows);
  handle w[7];
  for (int32_t i = 0; i < 7; i++) w[i] = load_matrix(d, c->matrices + i);
  EXPECT(experts_set(set, 0, w[0], w[1], w[2]) == 0 && experts_set(set, 1, w[3], w[4], w[5]) == 0);
  EXPECT(experts_set(shared, 0, w[0], w[4], w[2]) == 0);
  const handle x = load_floats(d, c->x, c->n_x), out = load_floats(d, NULL, c->n_x);
  const handle ids = load_floats(d, NULL, (size_t)(c->rows * k)), weights = load_floats(d, NULL, (size_t)(c->rows * k));
  EXPECT(route_experts(ids, weights, x, w[6], 0, c->rows, k, 1, 1, 1, 0, 1, 2.5f) == 0);
  take_floats(to, weights, (size_t)(c->rows * k));
  EXPECT(experts(out, x, ids, weights, set, shared, c->rows, k) == 0);
  take_floats(to, out, c->n_x);
  EXPECT(mlp(out, x, shared, c->rows) == 0);
  take_floats(to, out, c->n_x);
}

static drawn draw_pack(void) {
  drawn c = {.op = "weight_pack", .rows = between(1, 5)};
  c.more = between(0, 6);
  const int32_t from = next(4) ? (int32_t)next(4) : between(Q8_0, Q6_K), outputs = between(1, 140);
  c.matrices[c.n_matrices++] = draw_matrix(from, outputs, width_for(from, any_width()));
  c.n_x = (size_t)c.rows * (size_t)c.matrices[0].width;
  c.x = draw_floats(c.n_x);
  return c;
}
static void act_pack(const drawn *c, handle d, outcome *to) {
  static const int32_t formats[] = {BF16, FP8, INT8, INT4, INT4A, INT3, NF4};
  const int32_t format = formats[c->more];
  const handle from = load_matrix(d, c->matrices), packed = weight_pack(from, format);
  EXPECT(packed > 0);
  if (!is_wild) {  // where a scale is NaN, which one it is differs
    const size_t bytes = (size_t)weight_bytes(packed);
    uint8_t *read = calloc(1, bytes + 3);
    EXPECT(weight_read(read, packed, 0, (double)bytes) == 0);
    const size_t n = (bytes + 3) / 4;
    to->words = realloc(to->words, (to->n + n) * 4);
    memcpy(to->words + to->n, read, n * 4);
    to->n += n;
    free(read);
  }
  const size_t n = (size_t)c->rows * (size_t)c->matrices[0].rows;
  const handle out = load_floats(d, NULL, n);
  EXPECT(linear(out, load_floats(d, c->x, c->n_x), packed, c->rows) == 0);
  take_floats(to, out, n);
}

enum { NOPE, ROPE, V, RANK, HEADS, DTYPE, PAST, PROMPT, N_DIMS };
static int32_t dims[N_DIMS];

static drawn draw_attention(void) {
  drawn c = {.op = "latent_attention"};
  dims[NOPE] = between(1, 40), dims[ROPE] = 2 * between(0, 20), dims[V] = between(1, 40), dims[RANK] = between(1, 140);
  dims[HEADS] = next(3) ? between(1, 6) : between(14, 35), dims[DTYPE] = (int32_t)next(4);
  dims[PAST] = next(4) ? between(0, 150) : between(0, 600), dims[PROMPT] = between(1, 80);
  const int32_t format = (int32_t)next(N_FORMATS);
  dims[RANK] = width_for(format, dims[RANK]);
  c.matrices[c.n_matrices++] = draw_matrix(format, dims[HEADS] * (dims[NOPE] + dims[V]), dims[RANK]);
  c.rows = dims[PAST] + dims[PROMPT] + 1;
  const size_t latent = (size_t)(dims[RANK] + dims[ROPE]);
  // What the cache is made of, the norm's weight, the queries.
  c.n_x = (size_t)c.rows * latent + (size_t)dims[RANK] + (size_t)c.rows * (size_t)(dims[HEADS] * (dims[NOPE] + dims[ROPE]));
  c.x = draw_floats(c.n_x);
  return c;
}
static handle load_run(handle d, int32_t count, int32_t position, int32_t is_prompt) {
  int32_t ints[2 + 6 + 12] = {count, 1, 0, count, position, is_prompt, 8, 12};
  for (int32_t i = 0; i < 12; i++) ints[8 + i] = (i * 5 + 3) % 12;
  const handle given = load_floats(d, (const float *)ints, 20), made = batch_create(given, 20);
  EXPECT(made > 0);
  return made;
}
static void act_attention(const drawn *c, handle d, outcome *to) {
  const int32_t latent = dims[RANK] + dims[ROPE], query_width = dims[HEADS] * (dims[NOPE] + dims[ROPE]);
  const handle cache = cache_create(d, dims[DTYPE], 1, 12, dims[RANK], dims[ROPE]);
  EXPECT(cache > 0);
  const float *kv = c->x, *norm = kv + (size_t)c->rows * (size_t)latent, *queries = norm + dims[RANK];
  float *turns = malloc((size_t)c->rows * 64 * sizeof *turns);
  for (int32_t i = 0; i < c->rows * dims[ROPE]; i++) turns[i] = (float)(i % 17) / 17;
  const handle angles = load_floats(d, turns, (size_t)(c->rows * dims[ROPE]));
  free(turns);
  const int32_t all = dims[PAST] + dims[PROMPT];
  const handle up = load_matrix(d, c->matrices), weight = load_floats(d, norm, (size_t)dims[RANK]);
  EXPECT(append_latent(cache, 0, load_run(d, all, 0, 1), load_floats(d, kv, (size_t)(all * latent)), weight, 1e-6f, angles, 1) == 0);
  const size_t out_width = (size_t)(dims[HEADS] * dims[V]);
  const handle out = load_floats(d, NULL, (size_t)dims[PROMPT] * out_width);
  const handle prompt = load_floats(d, queries, (size_t)(dims[PROMPT] * query_width));
  const float scale = 1 / sqrtf((float)(dims[NOPE] + dims[ROPE]));
  EXPECT(latent_attention(out, cache, 0, load_run(d, dims[PROMPT], dims[PAST], 1), prompt, up, dims[HEADS], dims[NOPE], dims[V], scale) == 0);
  take_floats(to, out, (size_t)dims[PROMPT] * out_width);
  const handle last = load_run(d, 1, all, 0);
  EXPECT(append_latent(cache, 0, last, load_floats(d, kv + (size_t)(all * latent), (size_t)latent), weight, 1e-6f, angles, 0) == 0);
  EXPECT(latent_attention(out, cache, 0, last, load_floats(d, queries + (size_t)(all * query_width), (size_t)query_width), up, dims[HEADS],
                          dims[NOPE], dims[V], scale) == 0);
  take_floats(to, out, out_width);
}

static drawn draw_rows(void) {
  drawn c = {.op = "rows", .rows = few_rows()};
  c.more = any_width();
  c.n_x = (size_t)c.rows * (size_t)c.more;
  c.x = draw_floats(c.n_x);
  return c;
}
static void act_rows(const drawn *c, handle d, outcome *to) {
  const handle x = load_floats(d, c->x, c->n_x), y = load_floats(d, NULL, c->n_x), w = load_floats(d, c->x, (size_t)c->more);
  EXPECT(rms_norm(y, x, w, c->rows, c->more, 1e-6f) == 0);
  take_floats(to, y, c->n_x);
  EXPECT(add(x, y, c->rows, c->more) == 0);
  const handle best = load_floats(d, NULL, (size_t)c->rows);
  EXPECT(argmax(best, x, c->rows, c->more) == 0);
  take_floats(to, best, (size_t)c->rows);
  const handle z = load_floats(d, NULL, c->n_x);
  EXPECT(add_rms_norm(z, x, y, w, c->rows, c->more, 1e-6f) == 0);
  take_floats(to, z, c->n_x);
  take_floats(to, x, c->n_x);
}

static const struct {
  drawn (*draw)(void);
  void (*act)(const drawn *, handle, outcome *);
} cases[] = {
    {draw_linear, act_linear}, {draw_linear, act_linear},       {draw_experts, act_experts},
    {draw_pack, act_pack},     {draw_attention, act_attention}, {draw_rows, act_rows},
};

static outcome outcome_on(int32_t isa, int32_t which, const drawn *c, int32_t threads) {
  outcome made = {0};
  const handle d = device_open(isa, threads, 32 << 20);
  EXPECT(d > 0 && device_exact(d, c->exact) == 0);
  cases[which].act(c, d, &made);
  EXPECT(device_close(d) == 0);
  return made;
}

static void run_case(int64_t number) {
  state = 88172645463325252u + (uint64_t)number * 0x9e3779b97f4a7c15u;
  for (int32_t i = 0; i < 8; i++) next(2);
  const int32_t which = (int32_t)next(sizeof cases / sizeof *cases);
  is_wild = next(2);
  drawn c = cases[which].draw();
  c.exact = (int32_t)next(2);
  const int32_t threads = between(1, 2);
  outcome expected = {0};
  int32_t first = -1;
  for (int32_t isa = PORTABLE; isa < N_ISAS; isa++) {
    if (!isa_has(isa)) continue;
    outcome found = outcome_on(isa, which, &c, threads);
    if (isa == PORTABLE || first < 0) {
      free(expected.words);
      expected = found;
      if (isa != PORTABLE) first = isa;
      continue;
    }
    EXPECT(found.n == expected.n);
    for (size_t i = 0; i < found.n; i++) {
      if (found.words[i] == expected.words[i]) continue;
      fprintf(stderr, "case %lld (%s, format %d, %s): word %zu of %zu is %08x on instruction set %d, %08x on %d\n", (long long)number, c.op,
              c.n_matrices ? c.matrices[0].format : -1, is_wild ? "any bytes" : "tame", i, found.n, found.words[i], isa, expected.words[i], first);
      exit(1);
    }
    free(found.words);
  }
  printf("%lld %s %d %d %d %016llx\n", (long long)number, c.op, c.n_matrices ? c.matrices[0].format : -1, c.rows, is_wild,
         (unsigned long long)hash_of(&expected));
  fflush(stdout);
  free(expected.words);
  for (int32_t i = 0; i < c.n_matrices; i++) drop_matrix(c.matrices + i);
  free(c.x);
}

int main(int n_arguments, char **arguments) {
  const int64_t n = n_arguments > 1 ? atoll(arguments[1]) : 300, first = n_arguments > 2 ? atoll(arguments[2]) : 0;
  for (int64_t i = first; i < first + n; i++) run_case(i);
  return 0;
}
