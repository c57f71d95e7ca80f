// The objects behind the handles, the arena and the thread pool, as the kernels see them.
// Meaning of every op: src/backend/reference/. The border itself: kernels/ops.h.
#ifndef HADAL_DEVICE_H
#define HADAL_DEVICE_H
#include "../ops.h"
#include <stdbool.h>
#include <stddef.h>

enum { MAX_THREADS = 256, BLOCK_TOKENS = 64, FP8_BLOCK = 128, LINE = 64 };
enum format { F32, BF16, F16, FP8, INT8, INT4, INT4A, INT3, NF4, Q8_0, Q4_0, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, N_FORMATS };

typedef struct {
  const uint8_t *data;   // row-major (rows, width), maybe unaligned; or T16 blocks for the packed formats, aligned
  const uint8_t *scale;  // FP8: f32 (ceil(rows/128), ceil(width/128)), maybe unaligned; else NULL
  int32_t format, rows, width;
} weight;

typedef struct { weight gate, up, down; } mlp_weights;
typedef struct { int32_t n_experts, hidden, intermediate; mlp_weights *expert; } expert_set;

typedef struct {
  uint8_t *data;
  int32_t dtype, layers, blocks, kv_lora_rank, rope_dim;
  size_t block_bytes;  // of one block of one layer; layer-major: data + ((size_t)layer * blocks + block) * block_bytes
} latent_cache;

typedef struct { int32_t first_row, count, first_position, is_prompt; const int32_t *blocks; int32_t n_blocks; } run;
typedef struct { int32_t n_tokens, n_runs; const run *runs; } batch;

typedef struct { int32_t n_chosen, scoring, n_groups, n_groups_chosen, group_score, normalise; float scale; } routing;

// T16 (t16.h): the packed formats lie in blocks of 16 rows x 64 inputs, row group by row group. A block is
// whole lines: those of the values, then one of scales, and for INT4A one of minima.
enum { T16_ROWS = 16, T16_WIDTH = 64 };
static inline bool is_packed(int32_t format) { return format >= INT8 && format <= NF4; }
static inline int t16_value_lines(int32_t format) { return format == INT8 ? 16 : format == INT3 ? 6 : 8; }
static inline size_t t16_block_bytes(int32_t format) {
  return ((size_t)t16_value_lines(format) + (format == INT4A ? 2 : 1)) * LINE;
}
static inline size_t packed_bytes(int32_t format, int32_t rows, int32_t width) {
  return ((size_t)rows + T16_ROWS - 1) / T16_ROWS * (((size_t)width + T16_WIDTH - 1) / T16_WIDTH) * t16_block_bytes(format);
}

// GGUF (gguf.h): formats of GGUF files, row after row of whole blocks, maybe unaligned.
static inline bool is_gguf(int32_t format) { return format >= Q8_0; }
static inline int gguf_width(int32_t format) { return format >= Q4_K ? 256 : 32; }
static inline bool has_least(int32_t format) { return format == Q5_1 || format == Q4_K || format == Q5_K; }
static inline int gguf_bytes(int32_t format) {
  static const int bytes[] = {34, 18, 22, 24, 144, 176, 210};
  return bytes[format - Q8_0];
}
static inline size_t gguf_row_bytes(int32_t format, int32_t width) {
  return (size_t)(width / gguf_width(format)) * (size_t)gguf_bytes(format);
}

// Bytes of the values of a weight, and of the scales of FP8.
static inline size_t weight_data_bytes(int32_t format, int32_t rows, int32_t width) {
  if (is_packed(format)) return packed_bytes(format, rows, width);
  if (is_gguf(format)) return (size_t)rows * gguf_row_bytes(format, width);
  return (size_t)rows * (size_t)width * (format == F32 ? 4 : format == FP8 ? 1 : 2);
}
static inline size_t weight_scale_bytes(int32_t format, int32_t rows, int32_t width) {
  if (format != FP8) return 0;
  return ((size_t)rows + FP8_BLOCK - 1) / FP8_BLOCK * (((size_t)width + FP8_BLOCK - 1) / FP8_BLOCK) * sizeof(float);
}
// Where weight_pack puts the scales of FP8: behind the values, aligned.
static inline size_t weight_scale_offset(int32_t format, int32_t rows, int32_t width) {
  return (weight_data_bytes(format, rows, width) + LINE - 1) / LINE * LINE;
}

struct kernels;
typedef struct device {
  const struct kernels *kernels;  // of the instruction set that this device was opened with
  int32_t threads;
  bool exact;
  struct pool *pool;
  struct arena *arena;
  uint8_t *thread_memory;  // THREAD_SCRATCH_BYTES for each thread
} device;

// ---- threads. An op is a number of chunks; each is computed whole by one thread, so that results do not
// depend on who computes it. Returns when all chunks are done (KERNELS.md section 5: chunks are claimed by
// compare-and-swap, a descheduled worker is never waited for). `thread` < device->threads picks scratch.
// Never from inside a chunk. When a chunk meets a truncated file, parallel() does not return: the op ends
// there with an error, and its scratch is released.
typedef void (*chunk_fn)(void *context, int32_t chunk, int32_t thread);
void parallel(device *d, int32_t chunks, chunk_fn fn, void *context);

// ---- scratch. Taken from the step's arena, 64-byte aligned, uninitialised; released with a mark.
// NULL when the arena is spent, with the text of last_error set: return error_memory().
size_t scratch_mark(device *d);
void *scratch(device *d, size_t bytes);
void scratch_release(device *d, size_t mark);
// A private, fixed, 64-byte aligned workspace of each thread (L2-sized panels).
enum { THREAD_SCRATCH_BYTES = 2 << 20 };
void *thread_scratch(device *d, int32_t thread);

// ---- errors: sets the text of last_error, returns the negative status.
enum { ERROR_ARGUMENT = -1, ERROR_MEMORY = -2, ERROR_FILE = -3, ERROR_UNSUPPORTED = -4 };
status fail(status code, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline status error_memory(void) { return ERROR_MEMORY; }  // after scratch(): it has told why

// ---- one table per instruction set, filled by kernels/cpu/isa.c, which is compiled once for each
// (-DISA=portable|avx2|avxvnni|avx512|vnni|neon|dotprod|i8mm with the matching -m flags) and includes the kernels below.
// Shapes have been checked by ops.c; pointers are valid for them. x and out are dense, 64-byte aligned f32.
typedef struct kernels {
  const char *name;
  // linear.c: out (rows, w->rows) = x (rows, w->width) wᵀ
  status (*linear)(device *d, float *out, const float *x, const weight *w, int32_t rows);
  // pack.c: `to` has the format wanted and zeros as data and scale, aligned
  status (*weight_pack)(device *d, const weight *to, const weight *from);
  // experts.c: mlp is expert 0 of `set` for every row
  status (*mlp)(device *d, float *out, const float *x, const expert_set *set, int32_t rows);
  status (*experts)(device *d, float *out, const float *x, const int32_t *ids, const float *weights,
                    const expert_set *set, const expert_set *shared, int32_t rows, int32_t n_chosen);
  // attention.c
  status (*append_latent)(device *d, latent_cache *c, int32_t layer, const batch *b, const float *kv, const float *norm,
                          float eps, const float *angles, int32_t interleaved);
  status (*move_latents)(device *d, latent_cache *c, const int32_t *places, int32_t n, const float *angles, int32_t interleaved);
  status (*latent_attention)(device *d, float *out, const latent_cache *c, int32_t layer, const batch *b, const float *query,
                             const weight *kv_up, int32_t n_heads, int32_t nope_dim, int32_t v_dim, float softmax_scale);
  // rows.c, argmax.c
  status (*embed)(device *d, float *out, const weight *w, const int32_t *tokens, int32_t n_tokens);
  status (*rms_norm)(device *d, float *out, const float *x, const float *weight, int32_t rows, int32_t width, float eps);
  status (*add_rms_norm)(device *d, float *out, float *x, const float *delta, const float *weight, int32_t rows, int32_t width, float eps);
  status (*add)(device *d, float *x, const float *delta, size_t n);
  status (*rope)(device *d, float *x, const float *angles, int32_t rows, int32_t n_heads, int32_t head_dim, int32_t rope_dim, int32_t interleaved);
  status (*argmax)(device *d, int32_t *out, const float *x, int32_t rows, int32_t width);
  // route.c
  status (*route)(device *d, int32_t *ids, float *weights, const float *x, const weight *gate, const float *bias, int32_t rows,
                  const routing *how);
  // limit_loops.c: one short run of nothing but that; the last two return the operations done
  void (*limit_read)(device *d, const uint8_t *from, size_t bytes, size_t ahead);
  double (*limit_int8)(device *d);
  double (*limit_f32)(device *d);
} kernels;
const kernels *isa_kernels(int32_t isa);  // of an instruction set that isa_has
#endif
