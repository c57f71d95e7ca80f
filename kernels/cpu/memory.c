// Buffers and mapped files.
#include "call.h"
#include "fences.h"
#include "os.h"
#include <stdlib.h>
#include <string.h>

// From here on whole pages, which the system clears and may make huge; a memory checker sees less of those.
enum { LARGE = HAS_FENCES ? 1 << 30 : 1 << 20 };

static uint8_t *allocate(size_t bytes) {
  if (bytes >= LARGE) return os_reserve(bytes, false);
  // One line more, so that there is an aligned place inside; the byte before it tells how far it moved.
  uint8_t *wide = calloc(1, bytes + LINE);
  if (!wide) return NULL;
  size_t shift = LINE - (uintptr_t)wide % LINE;
  wide[shift - 1] = (uint8_t)shift;
  forbid(wide + shift + bytes, LINE - shift);
  return wide + shift;
}

static void release_bytes(uint8_t *at, size_t bytes) {
  if (bytes >= LARGE) os_release(at, bytes);
  else free(at - at[-1]);
}

memory *memory_create(owner *o, const char *act, size_t bytes) {
  memory *m = malloc(sizeof *m);
  uint8_t *at = m ? allocate(bytes) : NULL;
  if (!at) {
    free(m);
    fail(ERROR_MEMORY, "%s: not enough memory, the system refuses %zu bytes", act, bytes);
    return NULL;
  }
  *m = (memory){.span = {at, bytes, true}, .uses = 1};
  o->allocated_bytes += (double)bytes;
  return m;
}

void memory_release(owner *o, memory *m) {
  if (!m || --m->uses > 0) return;
  if (m->is_mapped) {
    pages_stop(m->pages);
    guard_forget(m->span.bytes);
    os_unmap(m->span.bytes, m->span.size);
    o->mapped_bytes -= (double)m->span.size;
  } else {
    if (m->slab) slab_release(m->slab);
    else release_bytes(m->span.bytes, m->span.size);
    o->allocated_bytes -= (double)m->span.size;
  }
  free(m);
}

// The handle of a new object, or a negative status after releasing it.
static handle named_memory(call *c, enum kind kind, memory *m) {
  handle made = m ? handle_create(kind, c->owner->number, m) : 0;
  if (made) return made;
  memory_release(c->owner, m);
  c->status = ERROR_MEMORY;
  return 0;
}

handle buffer_create(handle device, double bytes) {
  ENTER(c, device);
  object_of(&c, "device", device, DEVICE);
  size_t size = size_in(&c, "bytes", bytes);
  handle made = ready(&c) ? named_memory(&c, BUFFER, memory_create(c.owner, c.act, size)) : 0;
  status left = leave(&c);
  return left ? left : made;
}

static memory *map_file(call *c, const char *path, size_t size) {
  static const char *const problems[] = {
      [OS_FILE_ABSENT] = "cannot be opened",
      [OS_FILE_IRREGULAR] = "is no regular file",
      [OS_FILE_OTHER_SIZE] = "has changed",
      [OS_FILE_UNMAPPABLE] = "cannot be mapped",
  };
  memory *m = malloc(sizeof *m);
  uint64_t found = 0;
  uint8_t *at = NULL;
  enum os_file result = m ? os_map(path, size, &found, &at) : OS_FILE_UNMAPPABLE;
  if (result == OS_FILE_OPEN && guard_watch(at, size)) {
    *m = (memory){.span = {at, size, false}, .uses = 1, .is_mapped = true};
    c->owner->mapped_bytes += (double)size;
    // What does not fit beside everything else would push out pages that are needed sooner.
    owner *o = c->owner;
    bool may_move = (double)size <= o->movable_bytes;
    if (may_move) o->movable_bytes -= (double)size;
    if (o->mapped_bytes <= (double)os_memory() / 2) m->pages = pages_start(at, size, may_move, &o->page_counts);
    return m;
  }
  free(m);
  if (result == OS_FILE_OPEN) {
    os_unmap(at, size);
    c->status = fail(ERROR_FILE, "%s: %.300s: too many files are mapped", c->act, path);
  } else if (result == OS_FILE_OTHER_SIZE) {
    c->status = fail(ERROR_FILE, "%s: %.300s has %llu bytes, %zu were expected", c->act, path, (unsigned long long)found, size);
  } else {
    c->status = fail(ERROR_FILE, "%s: %.300s %s", c->act, path, problems[result]);
  }
  return NULL;
}

handle file_map(handle device, const uint8_t *path, int32_t path_bytes, double file_bytes) {
  ENTER(c, device);
  object_of(&c, "device", device, DEVICE);
  size_t size = size_in(&c, "file_bytes", file_bytes);
  char name[4096];
  check(&c, path && path_bytes > 0 && path_bytes < (int32_t)sizeof name, "a path of %d bytes, 1 to %zu are needed", path_bytes,
        sizeof name - 1);
  check(&c, !ready(&c) || !memchr(path, 0, (size_t)path_bytes), "the path holds a zero byte");
  check(&c, size > 0, "an empty file holds no weights");
  memory *m = NULL;
  if (ready(&c)) {
    memcpy(name, path, (size_t)path_bytes);
    name[path_bytes] = 0;
    m = map_file(&c, name, size);
  }
  handle made = ready(&c) ? named_memory(&c, FILE_MAP, m) : 0;
  status left = leave(&c);
  return left ? left : made;
}

// The place of (offset, size) in a span, or NULL.
static uint8_t *range_of(call *c, handle h, double offset, double size, const void *other) {
  span *s = span_of(c, "the buffer", h);
  size_t begin = size_in(c, "offset", offset), bytes = size_in(c, "size", size);
  if (!ready(c)) return NULL;
  check(c, begin <= s->size && bytes <= s->size - begin, "bytes %zu to %zu, the buffer holds %zu", begin, begin + bytes, s->size);
  check(c, other || bytes == 0, "no bytes were given");
  return ready(c) ? s->bytes + begin : NULL;
}

status buffer_write(handle to, double offset, const uint8_t *from, double size) {
  ENTER(c, to);
  uint8_t *at = range_of(&c, to, offset, size, from);
  check(&c, !at || span_of(&c, "to", to)->writable, "this is a mapped file, which cannot be written");
  if (ready(&c) && size > 0) memcpy(at, from, (size_t)size);
  return leave(&c);
}

status buffer_read(uint8_t *to, handle from, double offset, double size) {
  ENTER(c, from);
  const uint8_t *at = range_of(&c, from, offset, size, to);
  if (ready(&c) && size > 0) memcpy(to, at, (size_t)size);
  return leave(&c);
}
