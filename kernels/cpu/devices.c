// Devices: opening, closing and what they count, and the end of every object.
#include "arena.h"
#include "call.h"
#include "cpuid.h"
#include "os.h"
#include "pool.h"
#include <math.h>

handle device_open(int32_t isa, int32_t threads, double arena_bytes) {
  const double most = (double)(SIZE_MAX / 4);
  if (!isa_has(isa)) return fail(ERROR_UNSUPPORTED, "device_open: this machine or build has no instruction set %d", isa);
  if (threads < 1 || threads > MAX_THREADS) {
    return fail(ERROR_ARGUMENT, "device_open: %d threads, 1 to %d are possible", threads, MAX_THREADS);
  }
  if (!(arena_bytes >= 0 && arena_bytes <= most && arena_bytes == floor(arena_bytes))) {
    return fail(ERROR_ARGUMENT, "device_open: arena_bytes: %g is no size", arena_bytes);
  }
  owner *o = owner_take();
  if (!o) return ERROR_ARGUMENT;
  os_pin_library();
  device *d = &o->device;
  size_t thread_bytes = (size_t)threads * THREAD_SCRATCH_BYTES;
  *d = (device){.kernels = isa_kernels(isa), .threads = threads};
  d->arena = arena_create((size_t)arena_bytes);
  d->thread_memory = os_reserve(thread_bytes, true);
  d->pool = d->arena && d->thread_memory ? pool_create(threads) : NULL;
  status refused = 0;
  if (!d->arena) refused = fail(ERROR_MEMORY, "device_open: the system refuses %.0f bytes for the step", arena_bytes);
  else if (!d->thread_memory) refused = fail(ERROR_MEMORY, "device_open: the system refuses %zu bytes for threads", thread_bytes);
  else if (!d->pool) refused = fail(ERROR_MEMORY, "device_open: the system refuses %d threads", threads);
  else if (!(o->self = handle_create(DEVICE, o->number, o))) refused = ERROR_MEMORY;
  handle opened = o->self;
  if (refused) owner_close(o);
  return refused ? refused : opened;
}

static void release_object(owner *o, handle h) {
  named found = handle_lookup(h);
  handle_drop(h);
  switch (found.kind) {
    case BUFFER:
    case FILE_MAP: memory_release(o, found.object); break;
    case WEIGHT: weight_release(o, found.object); break;
    case EXPERTS: experts_release(o, found.object); break;
    case CACHE: cache_release(o, found.object); break;
    default: break;
  }
}

status handle_free(handle object) {
  ENTER(c, object);
  enum kind kind = handle_lookup(object).kind;
  check(&c, kind != DEVICE, "this is a device, which device_close ends");
  check(&c, kind != STEP_BUFFER && kind != BATCH, "this is %s, which ends with its step", kind_names[kind]);
  if (ready(&c)) release_object(c.owner, object);
  return leave(&c);
}

status device_close(handle device) {
  ENTER(c, device);
  if (!object_of(&c, "device", device, DEVICE)) return leave(&c);
  step_pop(c.owner, 0);
  int32_t from = 0;
  for (handle h; (h = handle_of_owner(c.owner->number, device, &from));) release_object(c.owner, h);
  handle_drop(device);
  status left = leave(&c);  // nothing names this place any more, so nobody else can enter
  owner_close(c.owner);
  return left;
}

double device_bytes(handle device, int32_t what) {
  ENTER(c, device);
  owner *o = object_of(&c, "device", device, DEVICE);
  check(&c, what >= 0 && what <= 4, "there is no count %d", what);
  double bytes = 0;
  if (ready(&c)) {
    switch (what) {
      case 0: bytes = o->allocated_bytes; break;
      case 1: bytes = o->mapped_bytes; break;
      case 2: bytes = (double)arena_peak(c.device->arena); break;
      case 3: bytes = (double)atomic_load(&o->page_counts.moved); break;
      case 4: bytes = (double)atomic_load(&o->page_counts.pending); break;
    }
  }
  status left = leave(&c);
  return left ? left : bytes;
}

status device_exact(handle device, int32_t exact) {
  ENTER(c, device);
  object_of(&c, "device", device, DEVICE);
  check(&c, exact == 0 || exact == 1, "exact is %d, 0 or 1 is needed", exact);
  if (ready(&c)) c.device->exact = exact;
  return leave(&c);
}

status device_movable(handle device, double bytes) {
  ENTER(c, device);
  object_of(&c, "device", device, DEVICE);
  size_t size = size_in(&c, "bytes", bytes);
  if (ready(&c)) c.owner->movable_bytes = (double)size;
  return leave(&c);
}
