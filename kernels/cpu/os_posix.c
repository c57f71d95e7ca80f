// Linux, macOS and the other systems with mmap and pthreads.
#ifndef _WIN32
#define _GNU_SOURCE
#include "fences.h"
#include "os.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif
#ifndef O_CLOEXEC
#define O_CLOEXEC 0
#endif

enum { HUGE_PAGE = OS_HUGE_PAGE, STACK_BYTES = 4 << 20 };

static size_t page_up(size_t bytes) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  return (bytes + page - 1) / page * page;
}

static void *map_pages(size_t bytes, int flags) {
  void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

void *os_reserve(size_t bytes, bool lazily) {
  size_t size = page_up(bytes);
  int flags = lazily ? MAP_NORESERVE : 0;
  if (size < bytes || size == 0 || size > SIZE_MAX - HUGE_PAGE) return NULL;
#ifdef MADV_HUGEPAGE
  if (size >= HUGE_PAGE) {  // huge pages need their own alignment: take more, give the ends back
    uint8_t *wide = map_pages(size + HUGE_PAGE, flags);
    if (!wide) return NULL;
    size_t head = (HUGE_PAGE - (uintptr_t)wide % HUGE_PAGE) % HUGE_PAGE;
    if (head) munmap(wide, head);
    if (head < HUGE_PAGE) munmap(wide + head + size, HUGE_PAGE - head);
    madvise(wide + head, size, MADV_HUGEPAGE);
    forbid(wide + head + bytes, size - bytes);
    return wide + head;
  }
#endif
  uint8_t *at = map_pages(size, flags);
  if (at) forbid(at + bytes, size - bytes);
  return at;
}

void os_release(void *at, size_t bytes) {
  fill_in((uint8_t *)at + bytes, page_up(bytes) - bytes);  // whoever maps this place next knows nothing of it
  munmap(at, page_up(bytes));
}

enum os_file os_map(const char *path, uint64_t expected, uint64_t *found, uint8_t **at) {
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a FIFO must not hang us
  if (file < 0) return OS_FILE_ABSENT;
  struct stat about;
  enum os_file result = OS_FILE_OPEN;
  if (fstat(file, &about) != 0 || !S_ISREG(about.st_mode)) result = OS_FILE_IRREGULAR;
  else if ((*found = (uint64_t)about.st_size) != expected) result = OS_FILE_OTHER_SIZE;
  else {
    void *map = mmap(NULL, (size_t)expected, PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED) result = OS_FILE_UNMAPPABLE;
    else {
      *at = map;
      forbid(*at + expected, page_up(expected) - expected);
#ifdef MADV_HUGEPAGE
      madvise(map, (size_t)expected, MADV_HUGEPAGE);  // file systems without huge pages ignore it
#endif
    }
  }
  close(file);
  return result;
}

void os_unmap(uint8_t *at, size_t bytes) {
  fill_in(at + bytes, page_up(bytes) - bytes);
  munmap(at, bytes);
}

#if defined(__linux__) && defined(MADV_HUGEPAGE)
// Linux says in /proc/self/smaps how much of each area is mapped in huge pages.
bool os_lies_in_huge_pages(const uint8_t *at, size_t bytes) {
  FILE *areas = fopen("/proc/self/smaps", "re");
  if (!areas) return true;
  char text[512];
  unsigned long long begin, end, kilobytes, found = 0;
  bool is_here = false;
  while (fgets(text, sizeof text, areas)) {
    if (sscanf(text, "%llx-%llx ", &begin, &end) == 2) is_here = begin < (uintptr_t)at + bytes && end > (uintptr_t)at;
    else if (is_here && sscanf(text, "FilePmdMapped: %llu kB", &kilobytes) == 1) found += kilobytes;
  }
  fclose(areas);
  return found * 1024 >= bytes - bytes / 8;
}

bool os_replace(uint8_t *at, uint8_t *memory, size_t bytes) {
  if (mprotect(memory, bytes, PROT_READ) != 0) return false;
  return mremap(memory, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at) != MAP_FAILED;
}
#else
bool os_lies_in_huge_pages(const uint8_t *at, size_t bytes) { return (void)at, (void)bytes, true; }
bool os_replace(uint8_t *at, uint8_t *memory, size_t bytes) { return (void)at, (void)memory, (void)bytes, false; }
#endif

uint64_t os_memory(void) {
  long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

struct os_thread {
  pthread_t id;
  void (*run)(void *);
  void *context;
};

static void *thread_main(void *argument) {
  os_thread *thread = argument;
  thread->run(thread->context);
  return NULL;
}

os_thread *os_thread_start(void (*run)(void *), void *context) {
  os_thread *thread = malloc(sizeof *thread);
  if (!thread) return NULL;
  *thread = (os_thread){.run = run, .context = context};
  // Signals sent to the process belong to the runtime's own threads; faults of this one stay its own.
  sigset_t all, before;
  sigfillset(&all);
  int faults[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&all, faults[i]);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int refused = pthread_create(&thread->id, &attributes, thread_main, thread);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  if (!refused) return thread;
  free(thread);
  return NULL;
}

void os_thread_join(os_thread *thread) {
  pthread_join(thread->id, NULL);
  free(thread);
}

#ifdef __linux__
int32_t os_processor(void) {
  cpu_set_t allowed;
  int here = sched_getcpu(), place = 0;
  if (here < 0 || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 0;
  for (int cpu = 0; cpu < here && cpu < CPU_SETSIZE; cpu++) place += CPU_ISSET(cpu, &allowed) != 0;
  return place;
}

void os_thread_settle(int32_t index) {
  cpu_set_t allowed, one;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) return;
  int left = index % CPU_COUNT(&allowed), cpu = 0;
  while (!CPU_ISSET(cpu, &allowed) || left-- > 0) cpu++;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  sched_setaffinity(0, sizeof one, &one);
  sched_setaffinity(0, sizeof allowed, &allowed);
}

void os_thread_retire(void) {
  setpriority(PRIO_PROCESS, 0, 10);  // of this thread alone, on Linux; lower, and who waits for its end might wait long
}
#else  // macOS has no say in where threads run
int32_t os_processor(void) { return 0; }
void os_thread_settle(int32_t index) { (void)index; }
void os_thread_retire(void) {
#ifdef __APPLE__
  pthread_set_qos_class_self_np(QOS_CLASS_UTILITY, 0);
#endif
}
#endif

void os_yield(void) { sched_yield(); }

void os_nap(int32_t milliseconds) {
  struct timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};
  nanosleep(&time, NULL);
}

struct os_gate {
  pthread_mutex_t mutex;
  pthread_cond_t condition;
};

os_gate *os_gate_create(void) {
  os_gate *gate = malloc(sizeof *gate);
  if (!gate) return NULL;
  pthread_mutex_init(&gate->mutex, NULL);
  pthread_cond_init(&gate->condition, NULL);
  return gate;
}

void os_gate_free(os_gate *gate) {
  if (!gate) return;
  pthread_cond_destroy(&gate->condition);
  pthread_mutex_destroy(&gate->mutex);
  free(gate);
}

void os_gate_lock(os_gate *gate) { pthread_mutex_lock(&gate->mutex); }
void os_gate_unlock(os_gate *gate) { pthread_mutex_unlock(&gate->mutex); }
void os_gate_wait(os_gate *gate) { pthread_cond_wait(&gate->condition, &gate->mutex); }
void os_gate_wake_all(os_gate *gate) { pthread_cond_broadcast(&gate->condition); }

uint64_t os_nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static const char pin_anchor;

void os_pin_library(void) {
#ifdef RTLD_NODELETE
  Dl_info here;  // never closed again, which is the point
  if (dladdr((const void *)&pin_anchor, &here) && here.dli_fname) {
    dlopen(here.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
  }
#endif
}
#endif
