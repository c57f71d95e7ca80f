// Weights and experts: what they name is checked once here and trusted by the ops.
#include "call.h"
#include <stdlib.h>
#include <string.h>

static const char *const format_names[N_FORMATS] = {"f32", "bf16", "f16", "fp8", "int8", "int4", "int4a", "int3", "nf4", "q8_0", "q4_0", "q5_0", "q5_1",
                                                     "q4_k", "q5_k", "q6_k"};

void weight_release(owner *o, weight_object *w) {
  if (!w || --w->uses > 0) return;
  memory_release(o, w->data);
  memory_release(o, w->scale);
  free(w);
}

// Takes over one use of `data` and `scale`, also where it fails.
static handle name_weight(call *c, weight shape, memory *data, memory *scale) {
  weight_object *w = malloc(sizeof *w);
  if (w) *w = (weight_object){.weight = shape, .data = data, .scale = scale, .uses = 1};
  else c->status = fail(ERROR_MEMORY, "%s: not enough memory, %zu bytes needed", c->act, sizeof *w);
  handle made = w ? handle_create(WEIGHT, c->owner->number, w) : 0;
  if (made) return made;
  c->status = ERROR_MEMORY;
  if (w) weight_release(c->owner, w);
  else memory_release(c->owner, data), memory_release(c->owner, scale);
  return 0;
}

// The memory behind a handle, of which bytes [offset, offset + bytes) are wanted; NULL after a failed check.
static memory *part_of(call *c, const char *name, handle h, double offset, size_t bytes, const uint8_t **at) {
  const span *s = span_of(c, name, h);
  size_t begin = size_in(c, "offset", offset);
  if (!ready(c)) return NULL;
  check(c, handle_lookup(h).kind != STEP_BUFFER, "%s is a buffer of a step, a weight lives longer", name);
  check(c, begin <= s->size && bytes <= s->size - begin, "%s needs %zu bytes from %zu on, there are %zu", name, bytes, begin,
        s->size);
  if (!ready(c)) return NULL;
  *at = s->bytes + begin;
  return (memory *)s;  // a buffer or a mapped file: its memory begins with the span
}

handle weight_create(handle data, double offset, handle scale, double scale_offset, int32_t format, int32_t rows, int32_t width) {
  ENTER(c, data);
  check(&c, format >= 0 && format < N_FORMATS, "there is no weight format %d", format);
  check_dimension(&c, "rows", rows, 1);
  check_dimension(&c, "width", width, 1);
  check(&c, (format == FP8) == (scale != 0), "fp8 needs a scale, other formats have none");
  check(&c, !ready(&c) || !is_gguf(format) || width % gguf_width(format) == 0, "rows of %d in %s, a multiple of %d is needed", width,
        ready(&c) ? format_names[format] : "", ready(&c) ? gguf_width(format) : 0);
  weight made = {.format = format, .rows = rows, .width = width};
  memory *bytes = NULL, *scales = NULL;
  if (ready(&c)) bytes = part_of(&c, "data", data, offset, weight_data_bytes(format, rows, width), &made.data);
  if (ready(&c) && scale) scales = part_of(&c, "scale", scale, scale_offset, weight_scale_bytes(format, rows, width), &made.scale);
  check(&c, !ready(&c) || !is_packed(format) || (uintptr_t)made.data % LINE == 0, "%s at offset %.0f, a multiple of %d is needed",
        ready(&c) ? format_names[format] : "", offset, LINE);
  handle named = 0;
  if (ready(&c)) {
    bytes->uses++;
    if (scales) scales->uses++;
    named = name_weight(&c, made, bytes, scales);
  }
  status left = leave(&c);
  return left ? left : named;
}

// In a function of its own, so that the ENTER of weight_pack keeps no local across a fault: what was
// allocated for the packed bytes is released through `*packed`.
static void pack(call *c, const weight *to, const weight *from, memory *packed) {
  guard inner;
  guard_push(&inner);
  if (guard_caught(&inner)) {  // the source was cut short: free the result before the call ends
    guard_pop(&inner);
    memory_release(c->owner, packed);
    guard_raise();
  }
  c->status = c->device->kernels->weight_pack(c->device, to, from);
  guard_pop(&inner);
}

// `from` in that format, in memory of its own.
static handle packed_weight(call *c, int32_t format, const weight *from) {
  const int32_t rows = from->rows, width = from->width;
  const size_t scale_at = weight_scale_offset(format, rows, width), scale_bytes = weight_scale_bytes(format, rows, width);
  memory *packed = memory_create_for_weight(c->owner, c->act, scale_at + scale_bytes);
  if (!packed) return c->status = ERROR_MEMORY, 0;
  const uint8_t *data = packed->span.bytes;
  const weight made = {data, scale_bytes ? data + scale_at : NULL, format, rows, width};
  pack(c, &made, from, packed);
  if (!ready(c)) return memory_release(c->owner, packed), 0;
  if (scale_bytes) packed->uses++;
  return name_weight(c, made, packed, scale_bytes ? packed : NULL);
}

handle weight_pack(handle weight_handle, int32_t format) {
  ENTER(c, weight_handle);
  const weight *from = weight_in(&c, "weight", weight_handle, -1, -1);
  check(&c, format == BF16 || format == FP8 || is_packed(format),
        "weights are not packed into format %d, but into %d, %d and %d to %d", format, BF16, FP8, INT8, NF4);
  check(&c, !ready(&c) || !is_packed(from->format), "the weight is %s already, which is rounded once only",
        ready(&c) ? format_names[from->format] : "");
  const handle made = ready(&c) ? packed_weight(&c, format, from) : 0;
  status left = leave(&c);
  return left ? left : made;
}

double weight_bytes(handle weight_handle) {
  ENTER(c, weight_handle);
  const weight *w = weight_in(&c, "weight", weight_handle, -1, -1);
  double bytes = 0;
  if (w) bytes = (double)(weight_data_bytes(w->format, w->rows, w->width) + weight_scale_bytes(w->format, w->rows, w->width));
  status left = leave(&c);
  return left ? left : bytes;
}

// Of the bytes [begin, begin + bytes) those that `part` has, which lies from `at` on.
static void copy_part(uint8_t *to, size_t begin, size_t bytes, const uint8_t *part, size_t at, size_t part_bytes) {
  const size_t first = begin > at ? begin : at;
  const size_t end = begin + bytes < at + part_bytes ? begin + bytes : at + part_bytes;
  if (first < end) memcpy(to + (first - begin), part + (first - at), end - first);
}

status weight_read(uint8_t *to, handle weight_handle, double offset, double size) {
  ENTER(c, weight_handle);
  const weight *w = weight_in(&c, "weight", weight_handle, -1, -1);
  const size_t begin = size_in(&c, "offset", offset), bytes = size_in(&c, "size", size);
  if (!ready(&c)) return leave(&c);
  const size_t data_bytes = weight_data_bytes(w->format, w->rows, w->width);
  const size_t scale_at = weight_scale_offset(w->format, w->rows, w->width), scale_bytes = weight_scale_bytes(w->format, w->rows, w->width);
  const size_t held = scale_bytes ? scale_at + scale_bytes : data_bytes;
  check(&c, begin <= held && bytes <= held - begin, "bytes %zu to %zu, the weight has %zu", begin, begin + bytes, held);
  check(&c, to || bytes == 0, "no bytes were given");
  if (ready(&c) && bytes > 0) {
    memset(to, 0, bytes);
    copy_part(to, begin, bytes, w->data, 0, data_bytes);
    copy_part(to, begin, bytes, w->scale, scale_at, scale_bytes);
  }
  return leave(&c);
}

// ---- experts

enum { MAX_EXPERTS = 1 << 16 };

void experts_release(owner *o, experts_object *e) {
  for (size_t i = 0; i < (size_t)e->set.n_experts * 3; i++) weight_release(o, e->parts[i]);
  free(e->set.expert);
  free(e->parts);
  free(e);
}

handle experts_create(handle device, int32_t n_experts, int32_t hidden, int32_t intermediate) {
  ENTER(c, device);
  object_of(&c, "device", device, DEVICE);
  check(&c, n_experts >= 1 && n_experts <= MAX_EXPERTS, "%d experts, 1 to %d are possible", n_experts, MAX_EXPERTS);
  check_dimension(&c, "hidden", hidden, 1);
  check_dimension(&c, "intermediate", intermediate, 1);
  handle made = 0;
  if (ready(&c)) {
    experts_object *e = calloc(1, sizeof *e);
    mlp_weights *expert = calloc((size_t)n_experts, sizeof *expert);
    weight_object **parts = calloc((size_t)n_experts * 3, sizeof *parts);
    if (e && expert && parts) {
      *e = (experts_object){.set = {n_experts, hidden, intermediate, expert}, .parts = parts};
      made = handle_create(EXPERTS, c.owner->number, e);
    } else {
      fail(ERROR_MEMORY, "%s: not enough memory for the names of %d experts", c.act, n_experts);
    }
    if (!made) {
      free(e), free(expert), free(parts);
      c.status = ERROR_MEMORY;
    }
  }
  status left = leave(&c);
  return left ? left : made;
}

static const weight *expert_part(call *c, const char *name, handle h, int32_t rows, int32_t width, weight_object **part) {
  const weight *w = weight_in(c, name, h, rows, width);
  if (w) *part = handle_lookup(h).object;
  return w;
}

status experts_set(handle experts_handle, int32_t expert, handle gate, handle up, handle down) {
  ENTER(c, experts_handle);
  experts_object *e = object_of(&c, "experts", experts_handle, EXPERTS);
  if (!e) return leave(&c);
  check(&c, expert >= 0 && expert < e->set.n_experts, "expert %d of %d", expert, e->set.n_experts);
  const int32_t hidden = e->set.hidden, intermediate = e->set.intermediate;
  weight_object *parts[3];
  const weight *g = expert_part(&c, "gate", gate, intermediate, hidden, &parts[0]);
  const weight *u = expert_part(&c, "up", up, intermediate, hidden, &parts[1]);
  const weight *d = expert_part(&c, "down", down, hidden, intermediate, &parts[2]);
  if (ready(&c)) {
    weight_object **old = e->parts + (size_t)expert * 3;
    if (!old[0]) e->n_set++;
    for (int i = 0; i < 3; i++) {
      parts[i]->uses++;
      weight_release(c.owner, old[i]);
      old[i] = parts[i];
    }
    e->set.expert[expert] = (mlp_weights){*g, *u, *d};
  }
  return leave(&c);
}
