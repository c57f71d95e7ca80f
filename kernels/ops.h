// The border between TypeScript and a kernel library: every function that crosses it, and nothing else.
// ffi/symbols.ts is the same list for the caller; a test holds the two against each other.
//
// Numbers only. A handle names an object of the library (device, buffer, weight, experts, cache, batch);
// 0 is none. Sizes and offsets are doubles, whole and at most 2^53. Every handle, shape and index is
// checked here before a kernel sees it. Functions that make an object return its handle, others 0; a
// negative value is an error, and last_error has its text.
#ifndef HADAL_OPS_H
#define HADAL_OPS_H
#include <stdint.h>

#define HADAL_ABI 7
#if defined(_WIN32)
#define HADAL_API __declspec(dllexport)
#else
#define HADAL_API __attribute__((visibility("default")))
#endif

typedef int32_t handle;
typedef int32_t status;

// ---- library: checked before any other call
HADAL_API int32_t abi_version(void);
// Writes the SHA-256 (hex) of the sources that this library was built from; returns its length.
HADAL_API int32_t build_hash(uint8_t *to, int32_t size);
// Writes the text of this thread's last error; returns its length.
HADAL_API int32_t last_error(uint8_t *to, int32_t size);

// ---- devices. isa: 0 portable, 1 AVX2+FMA, 2 AVX2 + AVX-VNNI, 3 AVX-512 (F, BW, VL, DQ), 4 AVX-512 + VNNI,
// 5 NEON, 6 NEON + dotprod, 7 NEON + dotprod + i8mm. isa_has says whether this CPU and build can run one.
HADAL_API int32_t isa_best(void);
HADAL_API int32_t isa_has(int32_t isa);
// threads >= 1, the caller's included; arena_bytes is reserved for the activations of a step.
HADAL_API handle device_open(int32_t isa, int32_t threads, double arena_bytes);
// Frees everything that the device holds.
HADAL_API status device_close(handle device);
// what: 0 allocated bytes, 1 mapped bytes, 2 most arena bytes a step has used; of the mapped ones, 3 those that
// were moved into huge pages, 4 those that may still be.
HADAL_API double device_bytes(handle device, int32_t what);
// 1: packed weights meet exact f32 activations; 0: activations are rounded to int8 in groups of 32.
HADAL_API status device_exact(handle device, int32_t exact);
// Files mapped from now on may be copied into huge pages in the background, those that lie in small ones and as
// long as they come to no more than `bytes` in all.
HADAL_API status device_movable(handle device, double bytes);

// ---- memory
HADAL_API handle buffer_create(handle device, double bytes);
// Maps a file read-only; path is UTF-8. file_bytes is what the caller saw: another size is an error.
HADAL_API handle file_map(handle device, const uint8_t *path, int32_t path_bytes, double file_bytes);
HADAL_API status handle_free(handle object);
HADAL_API status buffer_write(handle to, double offset, const uint8_t *from, double size);
HADAL_API status buffer_read(uint8_t *to, handle from, double offset, double size);
// Ends the last step: its buffers are gone.
HADAL_API status step_begin(handle device);
// A buffer of this step, 64-byte aligned, not cleared.
HADAL_API handle step_buffer(handle device, double bytes);
// The arena's fill; step_release(mark) ends the life of every step buffer made since, so that each layer
// of a step reuses the (cache-warm) memory of the one before.
HADAL_API double step_mark(handle device);
HADAL_API status step_release(handle device, double mark);

// ---- weights. format: 0 f32, 1 bf16, 2 f16, 3 fp8 (scale: f32 per 128x128 block), then the packed ones:
// 4 int8, 5 int4, 6 int4a (asymmetric), 7 int3, 8 nf4; then blocks of GGUF files: 9 q8_0, 10 q4_0,
// 11 q5_0, 12 q5_1, 13 q4_k, 14 q5_k, 15 q6_k.
// Row-major (rows, width) at `offset` of `data`, or packed blocks (kernels/cpu/t16.h) at a multiple of 64, used
// as they lie; scale is 0 where the format has none. Rows of GGUF's blocks are whole blocks.
HADAL_API handle weight_create(handle data, double offset, handle scale, double scale_offset, int32_t format, int32_t rows, int32_t width);
// A weight that is not packed as format 1, 3 or a packed one; the source may be freed afterwards.
HADAL_API handle weight_pack(handle weight, int32_t format);
HADAL_API double weight_bytes(handle weight);
// Copies `size` bytes from `offset` on. Those of fp8 are the data, then, from the next multiple of 64 on, the scales.
HADAL_API status weight_read(uint8_t *to, handle weight, double offset, double size);
// n_experts gated feed-forward networks; all must be set before use.
HADAL_API handle experts_create(handle device, int32_t n_experts, int32_t hidden, int32_t intermediate);
HADAL_API status experts_set(handle experts, int32_t expert, handle gate, handle up, handle down);

// ---- cache. dtype: 0 f32, 1 bf16, 2 f16, 3 int8 (f32 scale for each 64 values). Blocks of 64 positions.
HADAL_API handle cache_create(handle device, int32_t dtype, int32_t layers, int32_t blocks, int32_t kv_lora_rank, int32_t rope_dim);
HADAL_API double cache_bytes(handle cache);
HADAL_API status cache_clear(handle cache, int32_t block);
// All layers of one block into another.
HADAL_API status cache_copy(handle cache, int32_t from, int32_t to);
// A block of all layers as bytes, cache_bytes / blocks of them: to be written into a cache of the same shape.
HADAL_API status cache_read(uint8_t *to, handle cache, int32_t block, double size);
// Refuses, and writes nothing, where a value is NaN or infinite.
HADAL_API status cache_write(handle cache, int32_t block, const uint8_t *from, double size);

// ---- batch. ints (an i32 buffer of this step): n_tokens, n_runs, then for each run {first row, count,
// first position, is_prompt, index of its first block in ints, number of blocks}, then the block ids.
// Checked once here, trusted by the ops below.
HADAL_API handle batch_create(handle ints, int32_t n_ints);

// ---- ops: shapes and meaning as in src/backend/backend.ts. Buffers hold f32 unless said otherwise.
HADAL_API status embed(handle out, handle embedding, handle tokens, int32_t n_tokens);
HADAL_API status rms_norm(handle out, handle x, handle weight, int32_t rows, int32_t width, float eps);
HADAL_API status add_rms_norm(handle out, handle x, handle delta, handle weight, int32_t rows, int32_t width, float eps);
HADAL_API status add(handle x, handle delta, int32_t rows, int32_t width);
HADAL_API status linear(handle out, handle x, handle weight, int32_t rows);
HADAL_API status gather_rows(handle out, handle x, handle rows, int32_t n_rows, int32_t x_rows, int32_t width);
HADAL_API status rope(handle x, handle angles, int32_t rows, int32_t n_heads, int32_t head_dim, int32_t rope_dim, int32_t interleaved);
HADAL_API status append_latent(handle cache, int32_t layer, handle batch, handle kv, handle norm, float eps, handle angles, int32_t interleaved);
// places: i32 (n, 2), from and to, block * 64 + position in the block; in order, in every layer. angles (rope_dim) may be 0.
HADAL_API status move_latents(handle cache, handle places, int32_t n, handle angles, int32_t interleaved);
HADAL_API status latent_attention(handle out, handle cache, int32_t layer, handle batch, handle query, handle kv_up, int32_t n_heads, int32_t nope_dim, int32_t v_dim, float softmax_scale);
HADAL_API status mlp(handle out, handle x, handle experts, int32_t rows);
// ids: i32 (rows, n_chosen), ascending; weights f32 (rows, n_chosen). bias may be 0.
// scoring: 0 softmax, 1 sigmoid. group_score: 0 max, 1 sum of the best two.
HADAL_API status route_experts(handle ids, handle weights, handle x, handle gate, handle bias, int32_t rows, int32_t n_chosen, int32_t scoring, int32_t n_groups, int32_t n_groups_chosen, int32_t group_score, int32_t normalise, float scale);
// shared may be 0.
HADAL_API status experts(handle out, handle x, handle ids, handle weights, handle experts, handle shared, int32_t rows, int32_t n_chosen);
// out: i32 (rows).
HADAL_API status argmax(handle out, handle x, int32_t rows, int32_t width);

// Several ops with one call, in order until one fails: its error is the result. list: i32s, op after op, each its
// number (the ops above in their order: 0 embed, 1 rms_norm, ...), then its arguments, an f32 as its bits.
HADAL_API status run_ops(const uint8_t *list, int32_t size);

// ---- limits: what this machine can do at most with the device's threads, as one short run finds it; the best
// of several is the limit. The buffer should be much larger than the caches; its contents are lost.
// Bytes a second read in order; copied from one half to the other.
HADAL_API double limit_read(handle buffer);
HADAL_API double limit_copy(handle buffer);
// Operations (two for each product that is summed) a second, in registers: int8 to int32 sums by the shortest way
// of the instruction set; f32.
HADAL_API double limit_int8(handle device);
HADAL_API double limit_f32(handle device);
#endif
