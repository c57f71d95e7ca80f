// A device without the border, for checks and benches; random numbers for them.
#include "../../kernels/cpu/arena.h"
#include "../../kernels/cpu/pool.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t random_state = 88172645463325252u;
static uint64_t random_bits(void) {
  random_state ^= random_state << 13, random_state ^= random_state >> 7;
  return random_state ^= random_state << 17;
}
static double random_unit(void) { return (double)(random_bits() >> 11) * 0x1p-52 - 1; }  // [-1, 1)
static int32_t random_below(int32_t n) { return (int32_t)(random_bits() % (uint64_t)n); }

static void *allocate(size_t bytes) {
  void *at = aligned_alloc(LINE, (bytes + LINE) / LINE * LINE);
  if (!at) abort();
  memset(at, 0, (bytes + LINE) / LINE * LINE);
  return at;
}

void *thread_scratch(device *d, int32_t thread) { return d->thread_memory + (size_t)thread * THREAD_SCRATCH_BYTES; }

// `table`: what products call each other by, or NULL
static device open_device(const kernels *table, int32_t threads, size_t arena_bytes) {
  device d = {.kernels = table, .threads = threads, .pool = pool_create(threads), .arena = arena_create(arena_bytes)};
  d.thread_memory = allocate((size_t)threads * THREAD_SCRATCH_BYTES);
  if (!d.pool || !d.arena) abort();
  return d;
}
static void close_device(device *d) {
  pool_free(d->pool);
  arena_free(d->arena);
  free(d->thread_memory);
}
