// How fast the matrix products are, against what memory and the multipliers allow in the same seconds: each
// sample of a kernel has one of the limit beside it, and the ratio is the median of the pairs.
//   make ISA=vnni product_bench && /tmp/hadal-kernels-vnni/product_bench [linear | experts] [THREADS=2] [SAMPLES=15] [FORMAT]
#define _GNU_SOURCE
#include "product_case.h"
#include "../../kernels/cpu/limit_loops.c"
#include <sys/mman.h>
#include <time.h>

enum { MEMORY_MIB = 1280 };
static device machine;
static uint8_t *memory;  // of weights: more than any cache holds, so that weights come from memory
static int n_samples = 15;
static const char *only;  // a format's name, or all of them
static bool is_wanted(int32_t format) { return !only || strcmp(only, format_names[format]) == 0; }

// With one thread the time that it ran, which a busy machine disturbs less.
static double now(void) {
  struct timespec t;
  clock_gettime(machine.threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
static double median(double *x, int n) {
  qsort(x, (size_t)n, sizeof *x, ascending);
  return x[n / 2];
}

// The median and its share of the limit, then the best of both: what a busy machine leaves standing.
static void print_rates(int32_t n, int digits, double *rate, double *limit, double *share) {
  median(rate, n_samples), median(limit, n_samples);
  const double best = rate[n_samples - 1] / limit[n_samples - 1];
  printf("  %d: %.*f (%.0f/%.0f%%)", n, digits, median(rate, n_samples) / 1e9, 100 * median(share, n_samples), 100 * best);
  fflush(stdout);
}

static void *map(size_t bytes) {
  void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) abort();
  madvise(at, bytes, getenv("SMALL_PAGES") ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
  return at;
}

// ---- limits

static _Atomic int64_t sink;
static double read_rate(size_t offset) {  // bytes/s
  const size_t bytes = 32 << 20;
  const double start = now();
  limit_read_loop(&machine, memory + offset % ((size_t)(MEMORY_MIB - 32) << 20) / LINE * LINE, bytes, PREFETCH_EACH);
  return (double)bytes / (now() - start);
}
static double fma_rate(void) {  // flop/s
  const double start = now();
  return limit_f32_loop(&machine) / (now() - start);
}

// The products of a line with 4 activation rows (packed.h) and nothing else: what the sums of a packed format
// cost at least.
INLINE void multiply_rounds(int format, const uint8_t *block, const int32_t *x, int rounds) {
  i32x16 wide[4];
  small_sum small[4];
  UNROLL for (int r = 0; r < 4; r++) wide[r] = wide_start(r), small[r] = small_start(8, r);
  for (int round = 0; round < rounds; round++) {
    const line codes = load_line(block);
    const wide_line w = wide_of(codes);
    UNROLL for (int r = 0; r < 4; r++) {
      if (is_wide(format)) wide[r] = wide_dot(wide[r], w, x[(round & 7) + 8 * r]);
      else small[r] = small_dot(small[r], codes, x[(round & 7) + 8 * r]);
    }
  }
  f32x16 sum = zero16();
  UNROLL for (int r = 0; r < 4; r++) sum = add16(sum, to_f32x16(is_wide(format) ? wide[r] : small_total(small[r], 8, 1)));
  sink += (int64_t)reduce_add16(sum);
}
enum { MULTIPLY_ROUNDS = 50000 };
static void multiply_chunk(void *context, int32_t chunk, int32_t thread) {
  (void)thread;
  static const int32_t x[32] = {1, 2, 3, 4, 5, 6, 7, 8};
  const uint8_t *block = memory + (size_t)chunk * LINE;
  if (context) multiply_rounds(INT8, block, x, MULTIPLY_ROUNDS);
  else multiply_rounds(INT4, block, x, MULTIPLY_ROUNDS);
}
static double multiply_rate(int32_t format) {  // op/s
  const double start = now();
  parallel(&machine, 4 * machine.threads, multiply_chunk, is_wide(format) ? &machine : NULL);
  return 4.0 * machine.threads * MULTIPLY_ROUNDS * 4 * 2 * LINE / (now() - start);
}
static double rate_limit(int32_t format) { return is_packed(format) || is_gguf(format) ? multiply_rate(format) : fma_rate(); }

// ---- linear

static weight weight_at(int32_t format, int32_t rows, int32_t width, size_t i) {
  const size_t bytes = weight_data_bytes(format, rows, width);
  static float scales[200 * 200];
  return (weight){memory + i * bytes, (const uint8_t *)scales, format, rows, width};
}

static void measure_linear(int32_t format, int32_t rows, int32_t width, int32_t n, const float *x, float *out) {
  const size_t bytes = (size_t)(weight_at(format, rows, width, 1).data - memory), n_weights = ((size_t)MEMORY_MIB << 20) / bytes;
  const size_t each = n > 16 ? 1 : (24u << 20) / bytes + 1;
  double rate[64], limit[64], share[64];
  size_t next = 0;
  for (int s = 0; s < n_samples; s++) {
    limit[s] = n > 16 ? rate_limit(format) : read_rate((size_t)s * 67 << 20);
    const double start = now();
    for (size_t i = 0; i < each; i++) {
      const weight w = weight_at(format, rows, width, next++ % n_weights);
      linear_kernel(&machine, out, x, &w, n);
    }
    const double seconds = (now() - start) / (double)each;
    rate[s] = n > 16 ? 2.0 * rows * width * n / seconds : (double)bytes / seconds;
    share[s] = rate[s] / limit[s];
  }
  print_rates(n, n > 16 ? 0 : 1, rate, limit, share);
}

static void bench_linear(void) {
  static const int32_t shapes[][2] = {{2048, 2048}, {10944, 2048}, {2048, 1408}}, batches[] = {1, 2, 4, 8, 16, 48, 128, 512};
  float *x = map((size_t)512 * 2048 * 4), *out = map((size_t)512 * 10944 * 4);
  for (size_t i = 0; i < 512 * 2048; i++) x[i] = (float)random_unit();
  printf("activation rows: GB/s up to 16, then Gop/s (share of the limit in the same run, median and best: %.1f GB/s, %.0f Gop/s in f32, %.0f in int8 "
         "nf4 and q8_0, %.0f in the other packed formats)\n",
         read_rate(0) / 1e9, fma_rate() / 1e9, multiply_rate(INT8) / 1e9, multiply_rate(INT4) / 1e9);
  for (size_t s = 0; s < 3; s++)
    for (int32_t format = F32; format < N_FORMATS; format++) {
      if (!is_wanted(format)) continue;
      printf("%-5s %5dx%d", format_names[format], shapes[s][0], shapes[s][1]);
      for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) measure_linear(format, shapes[s][0], shapes[s][1], batches[b], x, out);
      printf("\n");
    }
}

// ---- one layer of experts, as wide as DeepSeek-V2-Lite's: 64 (6 chosen) and a shared one

static void bench_experts(void) {
  enum { HIDDEN = 2048, INNER = 1408, EXPERTS = 64, CHOSEN = 6, SHARED = 2816, MOST = 512 };
  float *x = map((size_t)MOST * HIDDEN * 4), *out = map((size_t)MOST * HIDDEN * 4);
  int32_t *ids = map((size_t)MOST * CHOSEN * 4);
  float *factors = map((size_t)MOST * CHOSEN * 4);
  for (size_t i = 0; i < MOST * HIDDEN; i++) x[i] = (float)random_unit();
  for (int32_t i = 0; i < MOST; i++)
    for (int32_t c = 0, id = 0; c < CHOSEN; c++, id++) ids[i * CHOSEN + c] = id += random_below((EXPERTS - id) / (CHOSEN - c)), factors[i * CHOSEN + c] = 0.3f;
  for (int32_t format = BF16; format < N_FORMATS; format++) {
    if (format == F16 || !is_wanted(format)) continue;
    mlp_weights list[EXPERTS + 1];
    uint8_t *at = memory;
    for (int32_t e = 0; e <= EXPERTS; e++) {
      const int32_t inner = e < EXPERTS ? INNER : SHARED;
      weight *parts[] = {&list[e].gate, &list[e].up, &list[e].down};
      for (int p = 0; p < 3; p++) {
        *parts[p] = weight_at(format, p < 2 ? inner : HIDDEN, p < 2 ? HIDDEN : inner, 0);
        parts[p]->data = at, at += weight_at(format, inner, HIDDEN, 1).data - memory;
      }
    }
    if (at > memory + ((size_t)MEMORY_MIB << 20)) abort();
    const expert_set routed = {EXPERTS, HIDDEN, INNER, list}, shared = {1, HIDDEN, SHARED, list + EXPERTS};
    printf("%-5s", format_names[format]);
    for (int32_t n = 1; n <= MOST; n *= n < 128 ? 4 : 2) {
      double rate[64], limits[64], share[64];
      for (int s = 0; s < n_samples; s++) {
        const double limit = limits[s] = n < 32 ? read_rate((size_t)s * 67 << 20) : rate_limit(format);
        const int32_t first = n < 32 ? s * 7 % (MOST - n) : 0;
        bool used[EXPERTS] = {0};
        int32_t n_used = 0;
        for (int32_t i = 0; i < n * CHOSEN; i++) n_used += !used[ids[first * CHOSEN + i]], used[ids[first * CHOSEN + i]] = true;
        const double start = now();
        experts_kernel(&machine, out, x + (size_t)first * HIDDEN, ids + first * CHOSEN, factors, &routed, &shared, n, CHOSEN);
        const double seconds = now() - start, bytes = (double)(n_used + 2) * 3 * (double)(weight_at(format, INNER, HIDDEN, 1).data - memory);
        rate[s] = n < 32 ? bytes / seconds : 2.0 * 3 * HIDDEN * INNER * (CHOSEN + 2) * n / seconds;
        share[s] = rate[s] / limit;
      }
      print_rates(n, n < 32 ? 1 : 0, rate, limits, share);
    }
    printf("\n");
  }
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "linear";
  machine = open_device(&products, argc > 2 ? atoi(argv[2]) : 2, 512 << 20);
  if (argc > 3) n_samples = atoi(argv[3]) < 64 ? atoi(argv[3]) : 63;
  if (argc > 4) only = argv[4];
  memory = map(((size_t)MEMORY_MIB << 20) + 8192);
  // Finite in every format: 0x3c.. and 0x3b.. are about 1 as f16 and 0.01 as bf16. Of fp8 neither NaN, nor subnormal, as
  // one in ten thousand is in a model.
  for (size_t i = 0; i < (size_t)MEMORY_MIB << 20; i += 2) {
    const uint16_t bits = (uint16_t)(0x3b00 | ((i >> 1) * 2654435761u >> 24 & 0xfe) | 0x10);
    memcpy(memory + i, &bits, 2);
  }
  (strcmp(what, "experts") == 0 ? bench_experts : bench_linear)();
  close_device(&machine);
  return 0;
}
