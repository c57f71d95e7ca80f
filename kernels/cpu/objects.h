// What the handles name, as the border sees it: device.h's objects plus who owns and who uses them.
#ifndef HADAL_OBJECTS_H
#define HADAL_OBJECTS_H
#include "device.h"
#include "handles.h"
#include "pages.h"
#include <stdatomic.h>

// Bytes that ops may read, and write when `writable`: buffers, mapped files and buffers of a step.
typedef struct {
  uint8_t *bytes;
  size_t size;
  bool writable;
} span;

// Pages that the bytes of several weights share: slabs.c.
typedef struct {
  uint8_t *bytes;
  size_t filled;
  int32_t uses;  // of the weights in it, and of the device while it is being filled
} slab;

// A buffer, a mapped file or a part of a slab. Weights keep the memory they lie in alive, so freeing a handle
// cannot pull it from under them.
typedef struct {
  span span;
  int32_t uses;
  bool is_mapped;
  pages *pages;  // of a mapped file, or NULL
  slab *slab;    // of a part of one, or NULL
} memory;

// A buffer or a batch of this step. It lies in the arena itself, right before its bytes.
typedef struct step_object {
  span span;
  size_t begin, end;  // the arena's fill before and after it
  handle self;
  struct step_object *before;
  batch batch;
  int32_t last_block;  // of a batch: the largest block id
} step_object;

typedef struct {
  weight weight;
  memory *data, *scale;
  int32_t uses;
} weight_object;

typedef struct {
  expert_set set;
  int32_t n_set;
  weight_object **parts;  // gate, up, down of each expert; NULL until set
} experts_object;

typedef struct {
  latent_cache cache;
  size_t bytes;
} cache_object;

// A device and all that it holds. These places are never freed, so that a stale handle finds a closed
// owner rather than nothing.
typedef struct owner {
  device device;
  handle self;
  int32_t number;
  atomic_bool is_taken;
  atomic_bool is_entered;
  step_object *step;  // the newest
  slab *slab;         // that is being filled, or NULL
  double allocated_bytes, mapped_bytes;
  double movable_bytes;  // of files to come, into huge pages
  page_counts page_counts;
} owner;

owner *owner_at(int32_t number);
// A place for a device, or NULL with last_error set; and all that the device itself holds let go of.
owner *owner_take(void);
void owner_close(owner *o);

// The end of one use; the last one frees.
void memory_release(owner *o, memory *m);
void weight_release(owner *o, weight_object *w);
void experts_release(owner *o, experts_object *e);
void cache_release(owner *o, cache_object *c);

// A new buffer of zeros, or NULL with last_error set.
memory *memory_create(owner *o, const char *act, size_t bytes);
// The same for bytes of a weight, which may share huge pages with others; and the end of one use of such pages.
memory *memory_create_for_weight(owner *o, const char *act, size_t bytes);
void slab_release(slab *s);

// The newest object of the step, with room for `bytes` after it; NULL with last_error set.
step_object *step_push(owner *o, const char *act, enum kind kind, size_t bytes);
// Ends every object of the step that began at or after `mark`.
void step_pop(owner *o, size_t mark);
#endif
