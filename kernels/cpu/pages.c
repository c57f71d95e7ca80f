// A page that is met for the first time costs a fault, even where the file is cached: 2 to 3 ms for the weights of
// one expert of V2-Lite, in the middle of a token. A thread of low priority meets them first, where a core is free.
//
// It reads a byte of every STRIDE: a fault of Linux brings its whole neighbourhood of 64 KB, and 2 MB where the file
// lies in the page cache in pieces of that size (ext4, xfs and others since Linux 6.16, if it was written or read in
// long stretches). That takes half the time of MADV_POPULATE_READ, which looks at every page of 4 KB: 10 to 35 ms a
// GB against 30 to 65 (one core of an AMD Zen 3, 89 % and 34 % of the files in large pieces).
//
// Files that lie there in small pieces are read up to a fifth slower, as each page wants a place in the processor's
// table of addresses. Where memory allows, the thread goes on to copy such a file into huge pages and puts those
// in the file's place, a chunk at a time; who reads there meanwhile sees the same bytes before and after.
#include "pages.h"
#include "guard.h"
#include "os.h"
#include <stdlib.h>
#include <string.h>

// A chunk is one area of the system's book-keeping, of which a process may have 65,530.
enum { STRIDE = 64 << 10, CHUNK = 32 << 20, PIECE = 1 << 20 };
// A program that answers once and ends would gain nothing: moving begins after a while.
enum { PATIENCE_MS = 1000, NAP_MS = 20, TURN_MS = 2 };

struct pages {
  uint8_t *at;
  size_t bytes;
  uint8_t *copy;  // of the chunk at hand
  size_t copy_bytes;
  page_counts *counts;
  size_t pending;  // this file's share of counts->pending
  atomic_bool is_stopped;
  os_thread *thread;
};

static bool is_stopped(pages *p) { return atomic_load_explicit(&p->is_stopped, memory_order_relaxed); }

// One file after the other: a model of many would otherwise have as many threads, which take the processors away
// from whoever opens it.
static atomic_bool is_meeting;

static void meet(pages *p) {
  while (atomic_exchange(&is_meeting, true)) {
    if (is_stopped(p)) return;
    os_nap(TURN_MS);
  }
  guard g;
  guard_push(&g);
  if (!guard_caught(&g)) {  // the file became shorter: whoever needs those bytes will say so
    for (size_t done = 0; done < p->bytes && !is_stopped(p); done += STRIDE) {
      (void)*(const volatile uint8_t *)(p->at + done);
    }
  }
  guard_pop(&g);
  atomic_store(&is_meeting, false);
}

static void settle(pages *p, size_t bytes) {
  p->pending -= bytes;
  atomic_fetch_sub_explicit(&p->counts->pending, bytes, memory_order_relaxed);
}

// Copies a chunk and puts the copy in its place. False when the system refuses or the caller does not want it any more.
static bool move_chunk(pages *p, size_t begin, size_t size) {
  p->copy_bytes = size;
  p->copy = os_reserve(size, false);
  if (!p->copy) return false;
  for (size_t done = 0; done < size; done += PIECE) {
    if (is_stopped(p)) return false;
    memcpy(p->copy + done, p->at + begin + done, size - done < PIECE ? size - done : PIECE);
  }
  if (!os_replace(p->at + begin, p->copy, size)) return false;
  p->copy = NULL;
  atomic_fetch_add_explicit(&p->counts->moved, size, memory_order_relaxed);
  settle(p, size);
  return true;
}

static void move(pages *p) {
  for (int waited = 0; waited < PATIENCE_MS && !is_stopped(p); waited += NAP_MS) os_nap(NAP_MS);
  if (is_stopped(p) || os_lies_in_huge_pages(p->at, p->bytes)) return;
  size_t begin = (OS_HUGE_PAGE - (uintptr_t)p->at % OS_HUGE_PAGE) % OS_HUGE_PAGE;
  while (begin < p->bytes && p->bytes - begin >= OS_HUGE_PAGE) {
    size_t left = (p->bytes - begin) / OS_HUGE_PAGE * OS_HUGE_PAGE, size = left < CHUNK ? left : CHUNK;
    if (!move_chunk(p, begin, size)) return;
    begin += size;
  }
}

static void run(void *context) {
  pages *p = context;
  os_thread_retire();
  meet(p);
  guard g;
  guard_push(&g);
  if (!guard_caught(&g) && p->pending > 0) move(p);  // as above
  guard_pop(&g);
  if (p->copy) os_release(p->copy, p->copy_bytes);
  settle(p, p->pending);  // the ends that are less than a page, and what could not be moved
}

pages *pages_start(uint8_t *at, size_t bytes, bool may_move, page_counts *counts) {
  pages *p = malloc(sizeof *p);
  if (!p) return NULL;
  *p = (pages){.at = at, .bytes = bytes, .counts = counts, .pending = may_move ? bytes : 0};
  atomic_fetch_add(&counts->pending, p->pending);
  p->thread = os_thread_start(run, p);
  if (p->thread) return p;
  settle(p, p->pending);
  free(p);
  return NULL;
}

void pages_stop(pages *p) {
  if (!p) return;
  atomic_store(&p->is_stopped, true);
  os_thread_join(p->thread);
  free(p);
}
