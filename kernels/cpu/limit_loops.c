// Loops that do nothing but multiply, or read: what an instruction set can do at most. Part of isa.c, whose
// flags decide. limits.c runs them on a device's threads and takes the time.
#include "simd.h"
#include <stdatomic.h>

// A sum needs its last value, so CHAINS of them have to be under way to fill the multipliers; more would not fit
// into the registers. DOT is the shortest way from int8 to int32 sums; where it ends in an addition, fewer do.
#if defined(__AVX512BW__)
typedef __m512 f32_register;
typedef __m512i int_register;
enum { CHAINS = 12, DOT_CHAINS = 12 };
#define FMA(sum, a, b) _mm512_fmadd_ps(a, b, sum)
#ifdef __AVX512VNNI__
#define DOT(sum, a, b) _mm512_dpbusd_epi32(sum, a, b)
#else
#define DOT(sum, a, b) _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), _mm512_set1_epi16(1)))
#endif
#elif defined(__AVX2__)
typedef __m256 f32_register;
typedef __m256i int_register;
#define FMA(sum, a, b) _mm256_fmadd_ps(a, b, sum)
#ifdef __AVXVNNI__
enum { CHAINS = 10, DOT_CHAINS = 10 };
#define DOT(sum, a, b) _mm256_dpbusd_avx_epi32(sum, a, b)
#else
enum { CHAINS = 10, DOT_CHAINS = 6 };
#define DOT(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)))
#endif
#elif defined(__ARM_NEON)
typedef float32x4_t f32_register;
typedef int8x16_t int_register;
enum { CHAINS = 16, DOT_CHAINS = 16 };
#define FMA(sum, a, b) vfmaq_f32(sum, a, b)
#ifdef __ARM_FEATURE_DOTPROD
#define DOT(sum, a, b) vreinterpretq_s8_s32(vdotq_s32(vreinterpretq_s32_s8(sum), a, b))
#else
#define DOT(sum, a, b)                                                                           \
  vreinterpretq_s8_s32(vpadalq_s16(vpadalq_s16(vreinterpretq_s32_s8(sum), vmull_high_s8(a, b)), \
                                   vmull_s8(vget_low_s8(a), vget_low_s8(b))))
#endif
#elif defined(__SSE2__)
#include <emmintrin.h>
// The baseline multiplies no bytes: they are widened to 16 bits before, which is not counted.
typedef __m128 f32_register;
typedef __m128i int_register;
enum { CHAINS = 10, DOT_CHAINS = 6, DOT_PRODUCTS = 8 };
#define HAS_DOT_PRODUCTS
#define FMA(sum, a, b) _mm_add_ps(sum, _mm_mul_ps(a, b))
#define DOT(sum, a, b) _mm_add_epi32(sum, _mm_madd_epi16(a, b))
#else
typedef float f32_register __attribute__((vector_size(16)));
typedef uint32_t int_register __attribute__((vector_size(16)));
enum { CHAINS = 10, DOT_CHAINS = 6, DOT_PRODUCTS = 4 };
#define HAS_DOT_PRODUCTS
#define FMA(sum, a, b) ((sum) + (a) * (b))
#define DOT(sum, a, b) ((sum) + (a) * (b))
#endif
#ifndef HAS_DOT_PRODUCTS
enum { DOT_PRODUCTS = sizeof(int_register) };
#endif

// Makes the compiler believe that a register has changed, so that it neither moves a product out of its loop
// nor drops it. x86 calls its vector registers x, ARM w.
#if defined(__aarch64__)
#define TOUCH(x) __asm__ volatile("" : "+w"(x))
#elif defined(__AVX512BW__)
#define TOUCH(x) __asm__ volatile("" : "+v"(x))
#else
#define TOUCH(x) __asm__ volatile("" : "+x"(x))
#endif

enum { LIMIT_ROUNDS = 8192, LIMIT_CHUNKS = 32 };  // of a thread: each some 20 us
static _Atomic int32_t limit_sink;

static void multiply_f32_chunk(void *context, int32_t chunk, int32_t thread) {
  (void)context, (void)chunk, (void)thread;
  f32_register sum[CHAINS], a, b;
  const float one[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  memcpy(&a, one, sizeof a), memcpy(&b, one, sizeof b);
  UNROLL for (int i = 0; i < CHAINS; i++) sum[i] = a;
  TOUCH(b);
  for (int round = 0; round < LIMIT_ROUNDS; round++) {
    UNROLL for (int i = 0; i < CHAINS; i++) {
      sum[i] = FMA(sum[i], a, b);
      TOUCH(sum[i]);
      TOUCH(a);
    }
  }
}

static double limit_f32_loop(device *d) {
  parallel(d, LIMIT_CHUNKS * d->threads, multiply_f32_chunk, NULL);
  return 2.0 * LIMIT_CHUNKS * d->threads * LIMIT_ROUNDS * CHAINS * (sizeof(f32_register) / sizeof(float));
}

static void multiply_int8_chunk(void *context, int32_t chunk, int32_t thread) {
  (void)context, (void)chunk, (void)thread;
  int_register ones;
  memset(&ones, 1, sizeof ones);
  int_register sum[DOT_CHAINS], a = ones, b = ones;
  UNROLL for (int i = 0; i < DOT_CHAINS; i++) sum[i] = ones;
  TOUCH(b);
  for (int round = 0; round < LIMIT_ROUNDS; round++) {
    UNROLL for (int i = 0; i < DOT_CHAINS; i++) {
      sum[i] = DOT(sum[i], a, b);
      TOUCH(sum[i]);
      TOUCH(a);
    }
  }
}

static __attribute__((unused)) double limit_int8_loop(device *d) {
  parallel(d, LIMIT_CHUNKS * d->threads, multiply_int8_chunk, NULL);
  return 2.0 * LIMIT_CHUNKS * d->threads * LIMIT_ROUNDS * DOT_CHAINS * DOT_PRODUCTS;
}

typedef struct {
  const uint8_t *from;
  size_t bytes, chunk_bytes, ahead;
} reading;

// Four lines at a time, by whole registers, each asking for one that lies ahead.
static void read_chunk(void *context, int32_t chunk, int32_t thread) {
  typedef int32_t words __attribute__((vector_size(sizeof(int_register))));
  enum { LINES = 4, IN_LINE = LINE / sizeof(words) };
  const reading *r = context;
  (void)thread;
  const size_t begin = (size_t)chunk * r->chunk_bytes;
  const size_t end = begin + r->chunk_bytes < r->bytes ? begin + r->chunk_bytes : r->bytes;
  words sum[LINES] = {{0}};
  for (size_t i = begin; i + LINES * LINE <= end; i += LINES * LINE) {
    UNROLL for (size_t k = 0; k < LINES; k++) {
      const words *line = (const words *)(r->from + i + k * LINE);
      prefetch((const uint8_t *)line + r->ahead);
      UNROLL for (size_t part = 0; part < IN_LINE; part++) sum[k] += line[part];
    }
  }
  sum[0] += sum[1] + sum[2] + sum[3];
  atomic_fetch_add_explicit(&limit_sink, sum[0][0], memory_order_relaxed);
}

// `from` is 64-byte aligned; long stretches, as the products read their weights (chunks.h).
static void limit_read_loop(device *d, const uint8_t *from, size_t bytes, size_t ahead) {
  const size_t chunks = (size_t)d->threads * 16;
  reading r = {from, bytes, (bytes / chunks / 4096 + 1) * 4096, ahead};
  parallel(d, (int32_t)((bytes + r.chunk_bytes - 1) / r.chunk_bytes), read_chunk, &r);
}
