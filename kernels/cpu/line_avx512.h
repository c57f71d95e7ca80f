// line.h on AVX-512, with VNNI where the compiler is told of it.
typedef __m512i line;

INLINE line load_line(const uint8_t *from) { return _mm512_loadu_si512(from); }
INLINE line and_line(line a, int mask) { return _mm512_and_si512(a, _mm512_set1_epi8((char)mask)); }
INLINE line or_line(line a, line b) { return _mm512_or_si512(a, b); }
INLINE line shift_line(line a, int n) { return _mm512_srli_epi16(a, (unsigned)n); }
INLINE line less_line(line a, int n) { return _mm512_sub_epi8(a, _mm512_set1_epi8((char)n)); }
INLINE i32x16 top_byte16(line a, int c) {
  return _mm512_and_si512(_mm512_slli_epi32(a, (unsigned)(24 - 8 * c)), _mm512_set1_epi32((int)0xff000000));
}
INLINE line look_up_line(line codes, const int8_t *table, int bias) {
  const __m128i levels = _mm_xor_si128(_mm_load_si128((const __m128i *)table), _mm_set1_epi8((char)bias));
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(levels), codes);
}
INLINE line levels_of_line(line codes, const int8_t *table) { return look_up_line(codes, table, 0); }

#ifdef __AVX512VNNI__
// vpdpbusd wants unsigned weights: codes as they are, others plus 128 (a flip of the top bit). What that adds is
// taken off the sum before it begins.
typedef __m512i small_sum;
INLINE small_sum small_start(int zero, int32_t sum_x) { return _mm512_set1_epi32(-zero * sum_x); }
INLINE small_sum small_dot(small_sum sum, line codes, int32_t x) { return _mm512_dpbusd_epi32(sum, codes, _mm512_set1_epi32(x)); }
INLINE i32x16 small_total(small_sum sum, int zero, int32_t sum_x) { return (void)zero, (void)sum_x, sum; }

typedef __m512i wide_line;
INLINE wide_line wide_of(line values) { return _mm512_xor_si512(values, _mm512_set1_epi8((char)0x80)); }
INLINE wide_line wide_of_codes(line codes, const int8_t *table) { return look_up_line(codes, table, 0x80); }
INLINE i32x16 wide_start(int32_t sum_x) { return _mm512_set1_epi32(-128 * sum_x); }
INLINE i32x16 wide_dot(i32x16 sum, wide_line w, int32_t x) { return _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi32(x)); }
#else
// Pairs of products of small codes are added up in 16 bits, 8 lines of 2 * 15 * 127 each, and widened once.
typedef __m512i small_sum;
INLINE small_sum small_start(int zero, int32_t sum_x) { return (void)zero, (void)sum_x, _mm512_setzero_si512(); }
INLINE small_sum small_dot(small_sum sum, line codes, int32_t x) {
  return _mm512_add_epi16(sum, _mm512_maddubs_epi16(codes, _mm512_set1_epi32(x)));
}
INLINE i32x16 small_total(small_sum sum, int zero, int32_t sum_x) {
  return _mm512_sub_epi32(_mm512_madd_epi16(sum, _mm512_set1_epi16(1)), _mm512_set1_epi32(zero * sum_x));
}

// maddubs takes one side without signs: the weight's magnitude, its sign goes over to the activation.
typedef struct {
  __m512i magnitude;
  __mmask64 is_negative;
} wide_line;
INLINE wide_line wide_of(line values) { return (wide_line){_mm512_abs_epi8(values), _mm512_movepi8_mask(values)}; }
INLINE wide_line wide_of_codes(line codes, const int8_t *table) { return wide_of(look_up_line(codes, table, 0)); }
INLINE i32x16 wide_start(int32_t sum_x) { return (void)sum_x, _mm512_setzero_si512(); }
INLINE i32x16 wide_dot(i32x16 sum, wide_line w, int32_t x) {
  const __m512i x4 = _mm512_set1_epi32(x), signed_x = _mm512_mask_sub_epi8(x4, w.is_negative, _mm512_setzero_si512(), x4);
  const __m512i pairs = _mm512_maddubs_epi16(w.magnitude, signed_x);  // <= 2 * 127 * 127: no saturation
  return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}
#endif

// Rows and groups of 16 weight rows of a tile: what leaves room for its operands in 32 registers.
enum { WIDE_ROWS = 6, SMALL_ROWS = 6, PACKED_COLUMNS = 2, PACKED_STREAMS = 1, PACKED_AHEAD = 4096, PACKED_AHEAD_OF_ROWS = PACKED_AHEAD };
INLINE int packed_ahead(int format) { return (void)format, PACKED_AHEAD; }
