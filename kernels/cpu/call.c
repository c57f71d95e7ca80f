#include "call.h"
#include "fences.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool enter(call *c, const char *act, handle subject) {
  *c = (call){.act = act};
  named found = handle_lookup(subject);
  if (found.kind == NO_KIND) {
    c->status = fail(ERROR_ARGUMENT, "%s: handle %d names nothing that is alive", act, subject);
    return false;
  }
  owner *o = owner_at(found.owner);
  if (atomic_exchange_explicit(&o->is_entered, true, memory_order_acquire)) {
    c->status = fail(ERROR_ARGUMENT, "%s: the device is at work for another thread", act);
    return false;
  }
  // It may have been freed before we were inside; from here on it cannot be.
  found = handle_lookup(subject);
  if (found.kind == NO_KIND || found.owner != o->number) {
    atomic_store_explicit(&o->is_entered, false, memory_order_release);
    c->status = fail(ERROR_ARGUMENT, "%s: handle %d names nothing that is alive", act, subject);
    return false;
  }
  c->owner = o;
  c->device = &o->device;
  c->mark = scratch_mark(c->device);
  forget(c->device->thread_memory, (size_t)c->device->threads * THREAD_SCRATCH_BYTES);
  guard_push(&c->guard);
  return true;
}

status leave(call *c) {
  guard_pop(&c->guard);
  if (c->status) scratch_release(c->device, c->mark);
  atomic_store_explicit(&c->owner->is_entered, false, memory_order_release);
  return c->status;
}

status leave_after_fault(call *c) {
  c->status = fail(ERROR_FILE, "%s: the file of a mapped weight became shorter, its bytes are gone", c->act);
  return leave(c);
}

bool check(call *c, bool holds, const char *format, ...) {
  if (c->status != 0 || holds) return c->status == 0;
  char text[400];
  va_list values;
  va_start(values, format);
  vsnprintf(text, sizeof text, format, values);
  va_end(values);
  c->status = fail(ERROR_ARGUMENT, "%s: %s", c->act, text);
  return false;
}

static named lookup(call *c, const char *name, handle h) {
  named found = handle_lookup(h);
  check(c, found.kind != NO_KIND, "%s is handle %d, which names nothing that is alive", name, h);
  check(c, found.owner == c->owner->number, "%s is %s of another device", name, kind_names[found.kind]);
  return found;
}

void *object_of(call *c, const char *name, handle h, enum kind kind) {
  if (!ready(c)) return NULL;
  named found = lookup(c, name, h);
  bool fits = check(c, found.kind == kind, "%s is %s, %s is needed", name, kind_names[found.kind], kind_names[kind]);
  return fits ? found.object : NULL;
}

span *span_of(call *c, const char *name, handle h) {
  if (!ready(c)) return NULL;
  named found = lookup(c, name, h);
  bool fits = check(c, found.kind == BUFFER || found.kind == FILE_MAP || found.kind == STEP_BUFFER,
                    "%s is %s, a buffer is needed", name, kind_names[found.kind]);
  return fits ? (span *)found.object : NULL;  // each of the three begins with its span
}

// The bytes of (rows, width) values of 4 bytes, or NULL.
static void *values_of(call *c, const char *name, handle h, int64_t rows, int64_t width, bool in_memory) {
  check(c, rows >= 0 && rows <= MOST_DIMENSION && width >= 0, "%s: %lld x %lld is no shape", name, (long long)rows, (long long)width);
  span *s = span_of(c, name, h);
  if (!s) return NULL;
  uint64_t n;
  bool wraps = __builtin_mul_overflow((uint64_t)rows, (uint64_t)width, &n) || n > UINT64_MAX / 4;
  check(c, !wraps && n * 4 <= s->size, "%s holds %zu bytes, %lld x %lld values of 4 bytes are needed", name, s->size,
        (long long)rows, (long long)width);
  check(c, s->writable || !in_memory, "%s is a mapped file, a buffer is needed", name);
  return ready(c) ? s->bytes : NULL;
}

const float *floats_in(call *c, const char *name, handle h, int64_t rows, int64_t width) {
  return values_of(c, name, h, rows, width, false);
}
float *floats_out(call *c, const char *name, handle h, int64_t rows, int64_t width) {
  return values_of(c, name, h, rows, width, true);
}
const int32_t *ints_in(call *c, const char *name, handle h, int64_t rows, int64_t width) {
  return values_of(c, name, h, rows, width, true);  // a file could change after its indices were checked
}
int32_t *ints_out(call *c, const char *name, handle h, int64_t rows, int64_t width) {
  return values_of(c, name, h, rows, width, true);
}

const weight *weight_in(call *c, const char *name, handle h, int32_t rows, int32_t width) {
  weight_object *w = object_of(c, name, h, WEIGHT);
  if (!w) return NULL;
  check(c, (rows < 0 || w->weight.rows == rows) && (width < 0 || w->weight.width == width),
        "%s is (%d, %d), (%d, %d) is needed", name, w->weight.rows, w->weight.width, rows < 0 ? w->weight.rows : rows,
        width < 0 ? w->weight.width : width);
  return ready(c) ? &w->weight : NULL;
}

size_t size_in(call *c, const char *name, double value) {
  bool is_size = value >= 0 && value <= 9007199254740992.0 && value == floor(value);
  check(c, is_size && value <= (double)SIZE_MAX, "%s: %g is no size, a whole number from 0 to 2^53 is needed", name, value);
  return ready(c) ? (size_t)value : 0;
}

bool check_dimension(call *c, const char *name, int32_t value, int32_t least) {
  check(c, value >= least, "%s is %d, at least %d is needed", name, value, least);
  return check(c, value <= MOST_DIMENSION, "%s is %d, at most %d is possible", name, value, MOST_DIMENSION);
}
