// What this machine can do at most with a device's threads, for whoever wants to know what part of it a model
// reaches. Each call is one short run; the best of several is the limit.
#include "call.h"
#include "os.h"
#include <string.h>

static double rate(double amount, uint64_t begin) {
  const uint64_t end = os_nanoseconds();
  return amount * 1e9 / (double)(end > begin ? end - begin : 1);
}

enum { PAGE = 4096, SMALLEST = 2 * PAGE };

typedef struct {
  uint8_t *to;
  const uint8_t *from;
  size_t bytes, chunk_bytes;
} stretch;

static stretch stretch_of(const device *d, uint8_t *to, const uint8_t *from, size_t bytes) {
  return (stretch){to, from, bytes, (bytes / ((size_t)d->threads * 16) / PAGE + 1) * PAGE};
}

static void each(device *d, stretch *s, chunk_fn fn) {
  parallel(d, (int32_t)((s->bytes + s->chunk_bytes - 1) / s->chunk_bytes), fn, s);
}

static size_t end_of(const stretch *s, size_t begin) {
  return s->bytes - begin < s->chunk_bytes ? s->bytes : begin + s->chunk_bytes;
}

// Pages that were never written are all one page of zeros, which a cache holds.
static void touch_chunk(void *context, int32_t chunk, int32_t thread) {
  const stretch *s = context;
  (void)thread;
  for (size_t begin = (size_t)chunk * s->chunk_bytes, i = begin; i < end_of(s, begin); i += PAGE) s->to[i] = 1;
}

static void copy_chunk(void *context, int32_t chunk, int32_t thread) {
  const stretch *s = context;
  const size_t begin = (size_t)chunk * s->chunk_bytes;
  (void)thread;
  memcpy(s->to + begin, s->from + begin, end_of(s, begin) - begin);
}

// A buffer to be read from memory, all its pages present; NULL after a failed check.
static span *present(call *c, handle buffer) {
  span *s = span_of(c, "buffer", buffer);
  if (!s) return NULL;
  check(c, s->writable, "buffer is a mapped file, which cannot be written");
  check(c, s->size >= SMALLEST, "buffer holds %zu bytes, %d are needed", s->size, SMALLEST);
  if (!ready(c)) return NULL;
  stretch all = stretch_of(c->device, s->bytes, NULL, s->size);
  each(c->device, &all, touch_chunk);
  return s;
}

// Some processors read fastest when lines are asked for far ahead (KERNELS.md section 0), others, which look ahead
// themselves, when that is near: the better one counts.
static const size_t AHEADS[] = {4096, 256};

double limit_read(handle buffer) {
  ENTER(c, buffer);
  const span *s = present(&c, buffer);
  double found = 0;
  for (size_t i = 0; s && i < sizeof AHEADS / sizeof *AHEADS; i++) {
    const uint64_t begin = os_nanoseconds();
    c.device->kernels->limit_read(c.device, s->bytes, s->size, AHEADS[i]);
    const double now = rate((double)s->size, begin);
    found = found > now ? found : now;
  }
  const status left = leave(&c);
  return left ? left : found;
}

double limit_copy(handle buffer) {
  ENTER(c, buffer);
  const span *s = present(&c, buffer);
  double found = 0;
  if (s) {
    const size_t half = s->size / 2;
    stretch all = stretch_of(c.device, s->bytes + half, s->bytes, half);
    const uint64_t begin = os_nanoseconds();
    each(c.device, &all, copy_chunk);
    found = rate((double)half, begin);
  }
  const status left = leave(&c);
  return left ? left : found;
}

double limit_int8(handle device) {
  ENTER(c, device);
  object_of(&c, "device", device, DEVICE);
  const uint64_t begin = os_nanoseconds();
  const double done = ready(&c) ? c.device->kernels->limit_int8(c.device) : 0;
  const double found = rate(done, begin);
  const status left = leave(&c);
  return left ? left : found;
}

double limit_f32(handle device) {
  ENTER(c, device);
  object_of(&c, "device", device, DEVICE);
  const uint64_t begin = os_nanoseconds();
  const double done = ready(&c) ? c.device->kernels->limit_f32(c.device) : 0;
  const double found = rate(done, begin);
  const status left = leave(&c);
  return left ? left : found;
}
