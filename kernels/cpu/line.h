// Lines of T16 blocks (t16.h) in registers, and their products with int8 activations, exact in int32.
//
// A file line_*.h has, for its instruction set:
//   load_line and_line or_line shift_line      the last moves 16-bit lanes right: bits to be masked come in
//   less_line levels_of_line                   bytes less a number; what codes stand for in a table, signed bytes
//   top_byte16                                 signed byte c of each lane as its top one, times 2^24
//   small_start small_dot small_total          codes 0..15 less `zero`; sums of one group, 8 lines
//   wide_of wide_of_codes wide_start wide_dot  signed weights -127..127, or what codes stand for in a table
// The starts and totals are given the sum of all activations of the group; x is four of them.
#ifndef HADAL_LINE_H
#define HADAL_LINE_H
#include "t16.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#include "line_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "line_avx2.h"
#else
#include "line_128.h"
#endif

// Line j of a group, as it is stored: int8 values or codes.
INLINE line line_of(int format, const uint8_t *block, int half, int j) {
  if (format == INT8) return load_line(block + (GROUP_LINES * half + j) * LINE);
  const int mask = format == INT3 ? 7 : 15;
  if (format != INT3 || j < 6) {
    const line both = load_line(block + j * LINE);
    return and_line(half == 0 ? both : shift_line(both, 4), mask);
  }
  const uint8_t *from = block + 3 * (j - 6) * LINE;
  const line low = and_line(shift_line(load_line(from), 4 * half + 3), 1);
  const line middle = and_line(shift_line(load_line(from + LINE), 4 * half + 2), 2);
  return or_line(or_line(low, middle), and_line(shift_line(load_line(from + 2 * LINE), 4 * half + 1), 4));
}

// As signed bytes that are to be scaled, and for INT4A to be added to.
INLINE line signed_line_of(int format, const uint8_t *block, int half, int j) {
  const line codes = line_of(format, block, half, j);
  if (format == NF4) return levels_of_line(codes, nf4_levels);
  return code_zero(format) == 0 ? codes : less_line(codes, code_zero(format));
}
#endif
