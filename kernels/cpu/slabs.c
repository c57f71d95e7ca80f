// Bytes of weights that are made here and are smaller than a huge page: side by side in huge pages, which are
// freed with the last of them. In pages of 4 KB a model of some megabytes takes more places than the processor's
// table of addresses has, and is read from its caches at half the speed.
#include "fences.h"
#include "objects.h"
#include "os.h"
#include <stdlib.h>

// Pages are only taken once they are written, so a slab costs what is in it.
enum { SLAB_BYTES = 32 << 20 };

void slab_release(slab *s) {
  if (!s || --s->uses > 0) return;
  os_release(s->bytes, SLAB_BYTES);
  free(s);
}

// Of the owner's slab, or of a new one where too little of that is left.
static slab *slab_with_room(owner *o, size_t bytes) {
  if (o->slab && SLAB_BYTES - o->slab->filled >= bytes) return o->slab;
  slab_release(o->slab);
  o->slab = malloc(sizeof *o->slab);
  if (!o->slab) return NULL;
  *o->slab = (slab){.bytes = os_reserve(SLAB_BYTES, true), .uses = 1};
  if (o->slab->bytes) return o->slab;
  free(o->slab);
  return o->slab = NULL;
}

memory *memory_create_for_weight(owner *o, const char *act, size_t bytes) {
  // A memory checker sees less of what lies side by side.
  if (HAS_FENCES || bytes >= OS_HUGE_PAGE) return memory_create(o, act, bytes);
  slab *s = slab_with_room(o, bytes);
  memory *m = s ? malloc(sizeof *m) : NULL;
  if (!m) return memory_create(o, act, bytes);  // in small pages, or with the reason
  *m = (memory){.span = {s->bytes + s->filled, bytes, true}, .uses = 1, .slab = s};
  s->uses++;
  s->filled += (bytes + LINE - 1) / LINE * LINE;
  o->allocated_bytes += (double)bytes;
  return m;
}
