// One call across the border: enters the device, collects checks, runs, leaves.
//
//   status add(handle x, handle delta, int32_t rows, int32_t width) {
//     ENTER(c, x);                                        // returns from `add` when x is no handle
//     float *to = floats_out(&c, "x", x, rows, width);    // NULL after a failed check, and so for the rest
//     const float *from = floats_in(&c, "delta", delta, rows, width);
//     if (ready(&c)) c.status = c.device->kernels->add(c.device, to, from, …);
//     return leave(&c);
//   }
//
// Checks are sticky: the first one that fails sets the status and the text, later ones do nothing. One
// call at a time is inside a device; another thread's is refused, never made to wait.
#ifndef HADAL_CALL_H
#define HADAL_CALL_H
#include "guard.h"
#include "objects.h"

typedef struct {
  const char *act;  // begins every message
  owner *owner;
  device *device;
  size_t mark;
  status status;
  guard guard;
} call;

// Enters the device that owns `subject`; then c.device is there until leave.
#define ENTER(c, subject)                                          \
  call c;                                                          \
  if (!enter(&(c), __func__, (subject))) return (c).status;        \
  if (guard_caught(&(c).guard)) return leave_after_fault(&(c))

bool enter(call *c, const char *act, handle subject);
// Returns the status. After a failure the arena is as it was on entering.
status leave(call *c);
status leave_after_fault(call *c);

static inline bool ready(const call *c) { return c->status == 0; }

// `act: message`, unless `holds` or an earlier check failed. Returns ready().
bool check(call *c, bool holds, const char *format, ...) __attribute__((format(printf, 3, 4)));

// The object of a handle of this device, or NULL.
void *object_of(call *c, const char *name, handle h, enum kind kind);
// A buffer, mapped file or step buffer, or NULL.
span *span_of(call *c, const char *name, handle h);

// The first rows * width values of a span, or NULL. Rows may be 0.
const float *floats_in(call *c, const char *name, handle h, int64_t rows, int64_t width);
float *floats_out(call *c, const char *name, handle h, int64_t rows, int64_t width);
const int32_t *ints_in(call *c, const char *name, handle h, int64_t rows, int64_t width);
int32_t *ints_out(call *c, const char *name, handle h, int64_t rows, int64_t width);

// A weight of that shape (-1: any), or NULL.
const weight *weight_in(call *c, const char *name, handle h, int32_t rows, int32_t width);

// A size that crossed as a double: whole, 0 to 2^53. 0 after a failed check.
size_t size_in(call *c, const char *name, double value);
// Dimensions: at least `least`, at most MOST_DIMENSION, so that kernels may count past an end by a tile or a block.
enum { MOST_DIMENSION = 1 << 30 };
bool check_dimension(call *c, const char *name, int32_t value, int32_t least);
#endif
