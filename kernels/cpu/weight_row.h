// One row of a weight matrix as f32, whatever its format: for kernels that use a row more than once.
#ifndef HADAL_WEIGHT_ROW_H
#define HADAL_WEIGHT_ROW_H
#include "device.h"
#include "gguf.h"
#include "simd.h"
#include "t16.h"

// The values that the codes of a group stand for (t16.h).
INLINE f32x16 values_of_codes(int format, const int8_t *codes, f32x16 scale, f32x16 min) {
  if (format == NF4) {
    int8_t levels[16];
    for (int i = 0; i < 16; i++) levels[i] = nf4_levels[codes[i]];
    return mul16(load16_i8(levels), scale);
  }
  const f32x16 code = load16_i8(codes);
  if (format == INT4A) return add16(mul16(code, scale), min);  // the product is exact
  return mul16(sub16(code, splat16((float)code_zero(format))), scale);
}

// Columns begin..end of a row; begin is a multiple of 128, of the width of all blocks of T16. Writes zeros up to a
// multiple of 16 values.
INLINE void widen_packed_part(float *to, int format, const weight *w, int32_t row, int32_t begin, int32_t end) {
  const size_t row_blocks = (size_t)(w->width + T16_WIDTH - 1) / T16_WIDTH, block_bytes = t16_block_bytes(format);
  const uint8_t *blocks = w->data + (size_t)(row / T16_ROWS) * row_blocks * block_bytes;
  const int lane = row % T16_ROWS;
  for (int32_t start = begin; start < end; start += GROUP) {
    const uint8_t *block = blocks + (size_t)(start / T16_WIDTH) * block_bytes;
    const int half = start / GROUP % 2;
    union {
      uint32_t words[GROUP_LINES];
      int8_t codes[GROUP];
    } read;
    uint16_t scale, min = 0;
    read_codes(read.words, format, block, half, lane);
    memcpy(&scale, block + t16_scale_at(format, half, lane), sizeof scale);
    if (format == INT4A) memcpy(&min, block + t16_scale_at(format, half, lane) + LINE, sizeof min);
    const f32x16 by = splat16(f32_from_f16(scale)), from = splat16(f32_from_f16(min));
    for (int32_t i = 0; i < GROUP && start + i < end; i += 16) {
      const int32_t left = end - start - i;
      const f32x16 values = values_of_codes(format, read.codes + i, by, from);
      store16(to + (start - begin) + i, left < 16 ? blend16(left, values, zero16()) : values);
    }
  }
}

// GGUF's blocks; both ends are multiples of 32. The products are exact, the sum is rounded once.
INLINE void widen_gguf_part(float *to, int format, const weight *w, int32_t row, int32_t begin, int32_t end) {
  const uint8_t *blocks = w->data + (size_t)row * gguf_row_bytes(format, w->width);
  const f32x16 zero = splat16((float)gguf_zero(format));
  for (int32_t start = begin; start < end; start += GROUP, to += GROUP) {
    const uint8_t *block = blocks + (size_t)(start / gguf_width(format)) * (size_t)gguf_bytes(format);
    const int group = start % gguf_width(format) / GROUP;
    int8_t codes[GROUP];
    gguf_codes(codes, format, block, group);
    const gguf_scales of = scales_of_gguf(format, block, group);
    for (int half = 0; half < 2; half++) {
      const float scale = format == Q6_K ? of.scale * (half ? of.second : of.first) : of.scale;
      const f32x16 values = mul16(sub16(load16_i8(codes + 16 * half), zero), splat16(scale));
      store16(to + 16 * half, has_least(format) ? add16(values, splat16(of.first)) : values);
    }
  }
}

INLINE void widen_part(float *to, const weight *w, int32_t row, int32_t begin, int32_t end) {
  const int32_t n = end - begin, whole = n / 16 * 16;
  const int rest = n % 16;
  const size_t start = (size_t)row * (size_t)w->width + (size_t)begin;
  switch (w->format) {
  case F32:
    for (int32_t i = 0; i < whole; i += 16) store16(to + i, load16(w->data + (start + (size_t)i) * 4));
    if (rest) store16(to + whole, load16_part(w->data + (start + (size_t)whole) * 4, rest));
    break;
  case BF16:
    for (int32_t i = 0; i < whole; i += 16) store16(to + i, load16_bf16(w->data + (start + (size_t)i) * 2));
    if (rest) store16(to + whole, load16_bf16_part(w->data + (start + (size_t)whole) * 2, rest));
    break;
  case F16:
    for (int32_t i = 0; i < whole; i += 16) store16(to + i, load16_f16(w->data + (start + (size_t)i) * 2));
    if (rest) store16(to + whole, load16_f16_part(w->data + (start + (size_t)whole) * 2, rest));
    break;
  case FP8: {
    const size_t row_blocks = (size_t)(w->width + FP8_BLOCK - 1) / FP8_BLOCK;
    const uint8_t *scales = w->scale + ((size_t)(row / FP8_BLOCK) * row_blocks + (size_t)(begin / FP8_BLOCK)) * sizeof(float);
    for (int32_t i = 0; i < n; i += 16) {
      float scale;
      memcpy(&scale, scales + i / FP8_BLOCK * sizeof scale, sizeof scale);
      const f32x16 scale256 = splat16(scale * 256);
      const uint8_t *from = w->data + start + (size_t)i;
      store16(to + i, i < whole ? load16_fp8_scaled(from, scale256) : load16_fp8_scaled_part(from, scale256, rest));
    }
    break;
  }
  case INT8: widen_packed_part(to, INT8, w, row, begin, end); break;
  case INT4: widen_packed_part(to, INT4, w, row, begin, end); break;
  case INT4A: widen_packed_part(to, INT4A, w, row, begin, end); break;
  case INT3: widen_packed_part(to, INT3, w, row, begin, end); break;
  case NF4: widen_packed_part(to, NF4, w, row, begin, end); break;
  case Q8_0: widen_gguf_part(to, Q8_0, w, row, begin, end); break;
  case Q4_0: widen_gguf_part(to, Q4_0, w, row, begin, end); break;
  case Q5_0: widen_gguf_part(to, Q5_0, w, row, begin, end); break;
  case Q5_1: widen_gguf_part(to, Q5_1, w, row, begin, end); break;
  case Q4_K: widen_gguf_part(to, Q4_K, w, row, begin, end); break;
  case Q5_K: widen_gguf_part(to, Q5_K, w, row, begin, end); break;
  default: widen_gguf_part(to, Q6_K, w, row, begin, end);
  }
}

INLINE void widen_row(float *to, const weight *w, int32_t row) { widen_part(to, w, row, 0, w->width); }
#endif
