// The few things that operating systems name differently: memory, files, threads, time.
// os_posix.c and os_windows.c each hold all of them.
#ifndef HADAL_OS_H
#define HADAL_OS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Zeroed pages, at least 64-byte aligned, huge where the system offers them; NULL when refused.
// `lazily` reserves addresses only: a page counts once it is touched.
void *os_reserve(size_t bytes, bool lazily);
void os_release(void *at, size_t bytes);

enum os_file { OS_FILE_OPEN, OS_FILE_ABSENT, OS_FILE_IRREGULAR, OS_FILE_OTHER_SIZE, OS_FILE_UNMAPPABLE };
// Maps a whole file read-only, if it has `expected` bytes; *found is the size it has.
enum os_file os_map(const char *path, uint64_t expected, uint64_t *found, uint8_t **at);
void os_unmap(uint8_t *at, size_t bytes);

enum { OS_HUGE_PAGE = 2 << 20 };
// Whether a mapped range that was met lies in huge pages, all but an eighth; true where nobody can tell or change it.
bool os_lies_in_huge_pages(const uint8_t *at, size_t bytes);
// Puts memory from os_reserve in the place of a part of a map, to be read only, while others read there: both begin
// at a huge page and are whole ones. False when the system refuses; the memory is then still the caller's.
bool os_replace(uint8_t *at, uint8_t *memory, size_t bytes);
// Of the machine, in bytes; 0 where unknown.
uint64_t os_memory(void);

typedef struct os_thread os_thread;
typedef struct os_gate os_gate;  // a mutex and its condition

// Starts a thread that stays out of the way of the process's signals; NULL when refused.
os_thread *os_thread_start(void (*run)(void *), void *context);
void os_thread_join(os_thread *thread);
// The place of the caller's processor among those it may run on.
int32_t os_processor(void);
// Moves the calling thread to the index-th of them (counted round); it may wander off later.
void os_thread_settle(int32_t index);
// Lets the other threads of the machine go before the calling one, from now on.
void os_thread_retire(void);
void os_yield(void);
void os_nap(int32_t milliseconds);

os_gate *os_gate_create(void);
void os_gate_free(os_gate *gate);
void os_gate_lock(os_gate *gate);
void os_gate_unlock(os_gate *gate);
void os_gate_wait(os_gate *gate);
void os_gate_wake_all(os_gate *gate);

uint64_t os_nanoseconds(void);
// Keeps this library in memory: its threads and its signal handler must not outlive their code.
void os_pin_library(void);

static inline void os_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}
#endif
