// The places of devices. They are never freed, so that a stale handle finds a closed one.
#include "arena.h"
#include "objects.h"
#include "os.h"
#include "pool.h"

enum { MAX_DEVICES = 64 };
static owner owners[MAX_DEVICES];

owner *owner_at(int32_t number) { return &owners[number]; }
void *thread_scratch(device *d, int32_t thread) { return d->thread_memory + (size_t)thread * THREAD_SCRATCH_BYTES; }

owner *owner_take(void) {
  for (int32_t number = 0; number < MAX_DEVICES; number++) {
    bool taken = false;
    if (!atomic_compare_exchange_strong(&owners[number].is_taken, &taken, true)) continue;
    owners[number].number = number;
    return &owners[number];
  }
  fail(ERROR_ARGUMENT, "device_open: %d devices are open, which is the most", MAX_DEVICES);
  return NULL;
}

void owner_close(owner *o) {
  device *d = &o->device;
  pool_free(d->pool);
  arena_free(d->arena);
  if (d->thread_memory) os_release(d->thread_memory, (size_t)d->threads * THREAD_SCRATCH_BYTES);
  slab_release(o->slab);
  *d = (device){0};
  o->self = 0;
  o->step = NULL;
  o->slab = NULL;
  o->allocated_bytes = o->mapped_bytes = o->movable_bytes = 0;
  atomic_store(&o->page_counts.moved, 0);
  atomic_store(&o->is_taken, false);
}
