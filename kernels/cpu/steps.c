// The life of a step: its buffers and batches lie in the arena and end together.
#include "arena.h"
#include "call.h"
#include "pool.h"

step_object *step_push(owner *o, const char *act, enum kind kind, size_t bytes) {
  arena *a = o->device.arena;
  size_t begin = arena_used(a), left = arena_left(a);
  step_object *made = arena_take(a, sizeof *made);
  uint8_t *at = made ? arena_take(a, bytes ? bytes : 1) : NULL;
  if (!at) fail(ERROR_MEMORY, "%s: not enough memory, %zu bytes needed, %zu left in the step", act, bytes, left);
  handle self = at ? handle_create(kind, o->number, made) : 0;
  if (!self) {
    arena_release(a, begin);
    return NULL;
  }
  *made = (step_object){.span = {at, bytes, true}, .begin = begin, .end = arena_used(a), .self = self, .before = o->step};
  o->step = made;
  return made;
}

void step_pop(owner *o, size_t mark) {
  while (o->step && o->step->begin >= mark) {
    handle_drop(o->step->self);
    o->step = o->step->before;
  }
  arena_release(o->device.arena, mark);
}

status step_begin(handle device) {
  ENTER(c, device);
  if (object_of(&c, "device", device, DEVICE)) {
    step_pop(c.owner, 0);
    pool_begin_step(c.device->pool);
  }
  return leave(&c);
}

handle step_buffer(handle device, double bytes) {
  ENTER(c, device);
  object_of(&c, "device", device, DEVICE);
  size_t size = size_in(&c, "bytes", bytes);
  step_object *made = ready(&c) ? step_push(c.owner, c.act, STEP_BUFFER, size) : NULL;
  if (ready(&c) && !made) c.status = ERROR_MEMORY;
  status left = leave(&c);
  return left ? left : made->self;
}

double step_mark(handle device) {
  ENTER(c, device);
  object_of(&c, "device", device, DEVICE);
  double mark = (double)c.mark;
  status left = leave(&c);
  return left ? left : mark;
}

status step_release(handle device, double mark) {
  ENTER(c, device);
  object_of(&c, "device", device, DEVICE);
  size_t fill = size_in(&c, "mark", mark);
  const step_object *kept = c.owner->step;
  while (kept && kept->begin >= fill) kept = kept->before;
  bool is_mark = fill <= c.mark && fill % LINE == 0 && (!kept || kept->end <= fill);
  check(&c, is_mark, "%g is no mark of this step, which is at %zu", mark, c.mark);
  if (ready(&c)) step_pop(c.owner, fill);
  return leave(&c);
}
