// How fast latent attention is, against the fused multiply-adds that the same threads do in the same
// seconds: each sample has one of the limit beside it, and the percentage is the median of the pairs.
// Decode has the cost a position beside it, and in int8 that of integer and of f32 arithmetic ("exact").
//   make bench, or attention_bench [most threads] [samples] [only scenes whose line has this in it]
#include "attention_case.h"
#include <time.h>

enum { CHAINS = WIDE ? 12 : 5, MOST_SAMPLES = 101 };
static const char *const dtype_names[] = {"f32", "bf16", "f16", "int8"};
static const char *const format_names[] = {"f32", "bf16", "f16", "fp8", "int8"};
static int n_samples = 21;
static const char *only = "";
static clockid_t clock_used;

static double now(void) {
  struct timespec t;
  clock_gettime(clock_used, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
static double median(double *x) {
  qsort(x, (size_t)n_samples, sizeof *x, ascending);
  return x[n_samples / 2];
}

static void multiply(void *context, int32_t chunk, int32_t thread) {
  const int32_t rounds = *(const int32_t *)context;
  f32x16 sum[CHAINS];
  for (int i = 0; i < CHAINS; i++) sum[i] = splat16((float)i);
  for (int32_t i = 0; i < rounds; i++)
    UNROLL for (int j = 0; j < CHAINS; j++) sum[j] = fma16(sum[j], splat16(0.999f), splat16(0.5f));
  for (int i = 1; i < CHAINS; i++) sum[0] = add16(sum[0], sum[i]);
  store16((float *)((char *)context + 64) + (size_t)(thread + chunk % 2) * 16, sum[0]);
}

// flop/s of all threads
static double peak(device *d) {
  static struct { int32_t rounds; char pad[60]; float kept[MAX_THREADS + 2][16]; } work = {.rounds = 20000};
  const double begin = now();
  parallel(d, d->threads * 4, multiply, &work);
  return d->threads * 4.0 * work.rounds * CHAINS * 32 / (now() - begin);
}

typedef struct { const char *name; shape s; part parts[8]; int32_t n_parts, layers; } scene;

static double flops_of(const scene *c) {
  const shape *s = &c->s;
  double flops = 0;
  for (int32_t i = 0; i < c->n_parts; i++) {
    const part *p = c->parts + i;
    const double seen = p->count * (p->first + 0.5 * (p->count + 1)), past = p->first + p->count;
    if (p->is_prompt) flops += 2 * (past * (s->nope + s->v) * s->rank + seen * (s->nope + s->rope + s->v));
    else flops += 2 * (p->count * (double)(s->nope + s->v) * s->rank + seen * (2 * s->rank + s->rope));
  }
  return flops * s->n_heads;
}

// Each sample takes the next copy of cache and weights, so that they come from where a model has them.
static void measure(device *d, const scene *c) {
  char title[128];
  snprintf(title, sizeof title, "%-22s cache %-4s%s weights %-4s threads %d", c->name, dtype_names[c->s.dtype],
           c->s.dtype == CACHE_INT8 && d->exact ? " exact" : "", format_names[c->s.format], d->threads);
  if (!strstr(title, only)) return;
  problem p = make_problem(c->s);
  const size_t up_bytes = (size_t)p.up.rows * (size_t)p.up.width * (c->s.format == F32 ? 4 : c->s.format == BF16 ? 2 : 1) + LINE;
  const size_t layer_bytes = (size_t)p.cache.blocks * p.cache.block_bytes;
  uint8_t *caches = allocate(layer_bytes * (size_t)c->layers), *ups = allocate(up_bytes * (size_t)c->layers);
  for (int32_t i = 0; i < c->s.n_sequences; i++) append_parts(d, &p, &(part){i, 0, c->s.lengths[i], 1}, 1);
  for (int32_t i = 0; i < c->layers; i++) {
    memcpy(caches + layer_bytes * (size_t)i, p.cache.data + layer_bytes, layer_bytes);
    memcpy(ups + up_bytes * (size_t)i, p.up.data, up_bytes - LINE);
  }
  run runs[8];
  const batch b = make_batch(&p, c->parts, c->n_parts, runs);
  float *query = gather(&p, p.query, c->parts, c->n_parts, (size_t)c->s.n_heads * (size_t)(c->s.nope + c->s.rope));
  float *out = allocate((size_t)b.n_tokens * (size_t)c->s.n_heads * (size_t)c->s.v * 4);
  latent_cache cache = p.cache;
  cache.data = caches, cache.layers = c->layers;
  double times[MOST_SAMPLES], rates[MOST_SAMPLES];
  for (int i = -2; i < n_samples; i++) {
    weight up = p.up;
    up.data = ups + up_bytes * (size_t)((i + 2) % c->layers);
    const double limit = peak(d), begin = now();
    if (latent_attention_kernel(d, out, &cache, (i + 2) % c->layers, &b, query, &up, c->s.n_heads, c->s.nope, c->s.v, 0.1f)) abort();
    const double seconds = now() - begin;
    if (i >= 0) times[i] = seconds, rates[i] = flops_of(c) / seconds / limit;
  }
  const double seconds = median(times);
  int32_t seen = 0;
  for (int32_t i = 0; i < c->n_parts; i++) seen += c->parts[i].is_prompt ? 0 : c->parts[i].first + c->parts[i].count;
  printf("%-58s: %9.1f us (best %.1f), ", title, seconds * 1e6, times[0] * 1e6);
  if (seen) printf("%.1f ns a position (best %.1f), ", seconds * 1e9 / seen, times[0] * 1e9 / seen);
  printf("%.3f Tflop/s, %.0f %% of the limit (best %.0f)\n", flops_of(c) / seconds / 1e12, 100 * median(rates), 100 * rates[n_samples - 1]);
  fflush(stdout);
  free(caches), free(ups), free(query), free(out), free_problem(&p);
}

// Heads and widths of DeepSeek-V2-Lite.
static shape lite(int32_t dtype, int32_t format, int32_t n_sequences, int32_t length) {
  shape s = {16, 128, 64, 128, 512, dtype, format, n_sequences, {0}};
  for (int32_t i = 0; i < n_sequences; i++) s.lengths[i] = length;
  return s;
}

int main(int n_arguments, char **arguments) {
  const int32_t most_threads = n_arguments > 1 ? atoi(arguments[1]) : 2;
  n_samples = n_arguments > 2 ? least(atoi(arguments[2]), MOST_SAMPLES) : n_samples;
  only = n_arguments > 3 ? arguments[3] : only;
  for (int32_t threads = 1; threads <= most_threads; threads++) {
    device d = open_device(NULL, threads, 256u << 20);
    clock_used = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;  // one thread: its own time, whoever else runs
    for (int32_t i = 0; i <= N_CACHE_DTYPES; i++) {
      const int32_t dtype = i < N_CACHE_DTYPES ? i : CACHE_INT8;
      d.exact = i == CACHE_INT8;
      measure(&d, &(scene){"decode at 2048", lite(dtype, BF16, 1, 2048), {{0, 2047, 1, 0}}, 1, 8});
      measure(&d, &(scene){"decode at 16384", lite(dtype, BF16, 1, 16384), {{0, 16383, 1, 0}}, 1, 3});
    }
    measure(&d, &(scene){"decode of 2 at 2048", lite(CACHE_BF16, BF16, 1, 2048), {{0, 2046, 2, 0}}, 1, 8});
    scene eight = {"decode of 8 at 1024", lite(CACHE_F32, BF16, 8, 1024), {{0}}, 8, 3};
    for (int32_t i = 0; i < 8; i++) eight.parts[i] = (part){i, 1023, 1, 0};
    measure(&d, &eight);
    for (int32_t format = 0; format < INT8; format++)
      measure(&d, &(scene){"prompt of 512", lite(CACHE_F32, format, 1, 512), {{0, 0, 512, 1}}, 1, 3});
    measure(&d, &(scene){"prompt of 512 to 2048", lite(CACHE_F32, BF16, 1, 2048), {{0, 1536, 512, 1}}, 1, 3});
    measure(&d, &(scene){"prompt of 512 to 2048", lite(CACHE_INT8, BF16, 1, 2048), {{0, 1536, 512, 1}}, 1, 3});
    const shape tiny = {8, 32, 16, 32, 64, CACHE_F32, FP8, 1, {101}};
    measure(&d, &(scene){"tiny decode at 100", tiny, {{0, 100, 1, 0}}, 1, 8});
    measure(&d, &(scene){"tiny prompt of 32", tiny, {{0, 0, 32, 1}}, 1, 8});
    close_device(&d);
  }
}
