// line.h on AVX2, with AVX-VNNI where the compiler is told of it: rows 0..7 and 8..15.
typedef struct { __m256i lo, hi; } line;

INLINE line load_line(const uint8_t *from) {
  return (line){_mm256_loadu_si256((const __m256i *)from), _mm256_loadu_si256((const __m256i *)from + 1)};
}
INLINE line and_line(line a, int mask) {
  const __m256i each = _mm256_set1_epi8((char)mask);
  return (line){_mm256_and_si256(a.lo, each), _mm256_and_si256(a.hi, each)};
}
INLINE line or_line(line a, line b) { return (line){_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)}; }
INLINE line shift_line(line a, int n) { return (line){_mm256_srli_epi16(a.lo, n), _mm256_srli_epi16(a.hi, n)}; }
INLINE line less_line(line a, int n) {
  const __m256i each = _mm256_set1_epi8((char)n);
  return (line){_mm256_sub_epi8(a.lo, each), _mm256_sub_epi8(a.hi, each)};
}
INLINE line levels_of_line(line codes, const int8_t *table) {
  const __m256i levels = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)table));
  return (line){_mm256_shuffle_epi8(levels, codes.lo), _mm256_shuffle_epi8(levels, codes.hi)};
}
// In one instruction: a shift leaves the bytes below.
INLINE i32x16 top_byte16(line a, int c) {
  if (c == 3) {
    const __m256i top = _mm256_set1_epi32((int)0xff000000);
    return (i32x16){_mm256_and_si256(a.lo, top), _mm256_and_si256(a.hi, top)};
  }
  const int32_t from = c << 24 | 0x808080, next = 4 << 24;  // 0x80 puts a zero
  const __m256i places = _mm256_broadcastsi128_si256(_mm_setr_epi32(from, from + next, from + 2 * next, from + 3 * next));
  return (i32x16){_mm256_shuffle_epi8(a.lo, places), _mm256_shuffle_epi8(a.hi, places)};
}

#ifdef __AVXVNNI__
// As with AVX-512: vpdpbusd wants unsigned weights, and what 128 more of each adds is taken off beforehand.
INLINE i32x16 splat_sum(int32_t sum) { return (i32x16){_mm256_set1_epi32(sum), _mm256_set1_epi32(sum)}; }
INLINE i32x16 dot_line(i32x16 sum, line weights, int32_t x) {
  const __m256i x4 = _mm256_set1_epi32(x);
  return (i32x16){_mm256_dpbusd_avx_epi32(sum.lo, weights.lo, x4), _mm256_dpbusd_avx_epi32(sum.hi, weights.hi, x4)};
}
INLINE line look_up_line(line codes, const int8_t *table) {
  const __m256i levels = _mm256_broadcastsi128_si256(_mm_xor_si128(_mm_load_si128((const __m128i *)table), _mm_set1_epi8((char)0x80)));
  return (line){_mm256_shuffle_epi8(levels, codes.lo), _mm256_shuffle_epi8(levels, codes.hi)};
}

typedef i32x16 small_sum;
INLINE small_sum small_start(int zero, int32_t sum_x) { return splat_sum(-zero * sum_x); }
INLINE small_sum small_dot(small_sum sum, line codes, int32_t x) { return dot_line(sum, codes, x); }
INLINE i32x16 small_total(small_sum sum, int zero, int32_t sum_x) { return (void)zero, (void)sum_x, sum; }

typedef line wide_line;
INLINE wide_line wide_of(line values) {
  const __m256i bias = _mm256_set1_epi8((char)0x80);
  return (line){_mm256_xor_si256(values.lo, bias), _mm256_xor_si256(values.hi, bias)};
}
INLINE wide_line wide_of_codes(line codes, const int8_t *table) { return look_up_line(codes, table); }
INLINE i32x16 wide_start(int32_t sum_x) { return splat_sum(-128 * sum_x); }
INLINE i32x16 wide_dot(i32x16 sum, wide_line w, int32_t x) { return dot_line(sum, w, x); }
#else
// Pairs of products of small codes are added up in 16 bits, 8 lines of 2 * 15 * 127 each, and widened once.
typedef struct { __m256i lo, hi; } small_sum;
INLINE small_sum small_start(int zero, int32_t sum_x) {
  (void)zero, (void)sum_x;
  return (small_sum){_mm256_setzero_si256(), _mm256_setzero_si256()};
}
INLINE small_sum small_dot(small_sum sum, line codes, int32_t x) {
  const __m256i x4 = _mm256_set1_epi32(x);
  return (small_sum){in_order(_mm256_add_epi16(sum.lo, _mm256_maddubs_epi16(codes.lo, x4))),
                     in_order(_mm256_add_epi16(sum.hi, _mm256_maddubs_epi16(codes.hi, x4)))};
}
INLINE i32x16 small_total(small_sum sum, int zero, int32_t sum_x) {
  const __m256i one = _mm256_set1_epi16(1), lo = _mm256_madd_epi16(sum.lo, one), hi = _mm256_madd_epi16(sum.hi, one);
  if (zero == 0) return (i32x16){lo, hi};
  const __m256i less = _mm256_slli_epi32(_mm256_set1_epi32(sum_x), __builtin_ctz((unsigned)zero));  // zero: a power of two
  return (i32x16){_mm256_sub_epi32(lo, less), _mm256_sub_epi32(hi, less)};
}

#define LINE_PANELS  // packed_panel.h

// maddubs takes one side without signs: the weight's magnitude, its sign goes over to the activation.
typedef struct { line value, magnitude; } wide_line;
INLINE wide_line wide_of(line values) {
  return (wide_line){values, {_mm256_abs_epi8(values.lo), _mm256_abs_epi8(values.hi)}};
}
INLINE wide_line wide_of_codes(line codes, const int8_t *table) {
  const __m256i levels = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)table));
  return wide_of((line){_mm256_shuffle_epi8(levels, codes.lo), _mm256_shuffle_epi8(levels, codes.hi)});
}
INLINE i32x16 wide_start(int32_t sum_x) { return (void)sum_x, (i32x16){_mm256_setzero_si256(), _mm256_setzero_si256()}; }
INLINE __m256i wide_dot8(__m256i sum, __m256i value, __m256i magnitude, __m256i x) {
  const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(x, value));  // <= 2 * 127 * 127: no saturation
  return in_order(_mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
}
INLINE i32x16 wide_dot(i32x16 sum, wide_line w, int32_t x) {
  const __m256i x4 = _mm256_set1_epi32(x);
  return (i32x16){wide_dot8(sum.lo, w.value.lo, w.magnitude.lo, x4), wide_dot8(sum.hi, w.value.hi, w.magnitude.hi, x4)};
}
#endif

// Rows and groups of 16 weight rows of a tile: what leaves room for its operands in 16 registers.
enum { WIDE_ROWS = 4, SMALL_ROWS = 4, PACKED_COLUMNS = 1 };
// Places that one row reads weights from at a time: two are 7 to 10 % faster than one, four no more than that.
enum { PACKED_STREAMS = 2 };
// How far ahead a stream of blocks is fetched (simd_avx2.h says why so near): the farther, the longer a line takes. Beside
// 1 KB, 1.5 is some 4 % slower for int8 and int4, and no slower for int3 and nf4, whose blocks take longer.
// With several rows of activations: 2 KB is 3 to 6 % faster for int4, up to 6 for int8.
enum { PACKED_AHEAD = 1024, PACKED_AHEAD_OF_ROWS = 2048 };
INLINE int packed_ahead(int format) { return format == INT3 || format == NF4 ? 1536 : PACKED_AHEAD; }
