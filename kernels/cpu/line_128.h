// line.h on four vectors of sixteen bytes: NEON, SSE2 and whatever else has them.
typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef struct { u8x16 v[4]; } line;

INLINE line load_line(const uint8_t *from) {
  line a;
  memcpy(&a, from, sizeof a);
  return a;
}
INLINE line and_line(line a, int mask) { EACH4(r) a.v[r] &= (uint8_t)mask; return a; }
INLINE line or_line(line a, line b) { EACH4(r) a.v[r] |= b.v[r]; return a; }
typedef uint16_t u16x8 __attribute__((vector_size(16)));
INLINE line shift_line(line a, int n) { EACH4(r) a.v[r] = (u8x16)((u16x8)a.v[r] >> n); return a; }
INLINE line less_line(line a, int n) { EACH4(r) a.v[r] -= (uint8_t)n; return a; }
typedef uint32_t u32x4 __attribute__((vector_size(16)));
INLINE i32x16 top_byte16(line a, int c) {
  i32x16 top;
  EACH4(r) top.v[r] = (i32x4)((u32x4)a.v[r] << (24 - 8 * c) & 0xff000000u);
  return top;
}

// All weights are signed bytes here, and codes are small ones.
typedef i32x16 small_sum;
INLINE small_sum small_start(int zero, int32_t sum_x) {
  const int32_t start = -zero * sum_x;
  small_sum sum;
  EACH4(r) sum.v[r] = (i32x4){start, start, start, start};
  return sum;
}
INLINE small_sum small_dot(small_sum sum, line codes, int32_t x) { return dot16(sum, &codes, x); }
INLINE i32x16 small_total(small_sum sum, int zero, int32_t sum_x) { return (void)zero, (void)sum_x, sum; }

typedef line wide_line;
INLINE wide_line wide_of(line values) { return values; }
INLINE wide_line wide_of_codes(line codes, const int8_t *table) {
#if HAS_NEON
  const uint8x16_t levels = vld1q_u8((const uint8_t *)table);
  EACH4(r) codes.v[r] = (u8x16)vqtbl1q_u8(levels, (uint8x16_t)codes.v[r]);
#else
  uint8_t bytes[64];
  memcpy(bytes, &codes, sizeof bytes);
  for (int i = 0; i < 64; i++) bytes[i] = (uint8_t)table[bytes[i]];
  memcpy(&codes, bytes, sizeof bytes);
#endif
  return codes;
}
INLINE line levels_of_line(line codes, const int8_t *table) { return wide_of_codes(codes, table); }
INLINE i32x16 wide_start(int32_t sum_x) { return (void)sum_x, (i32x16){0}; }
INLINE i32x16 wide_dot(i32x16 sum, wide_line w, int32_t x) { return dot16(sum, &w, x); }

#ifdef __ARM_FEATURE_MATMUL_INT8
// Two activation rows at a time: smmla multiplies two rows of eight values with two others, of which two lines
// hold sixteen. v[i]: weight rows 2i and 2i + 1, each with both activation rows.
#define ROW_PAIRS
typedef struct { int32x4_t v[8]; } pair_sum;
INLINE pair_sum pair_start(int32_t first, int32_t second) {
  const int32x4_t both = {first, second, first, second};
  return (pair_sum){{both, both, both, both, both, both, both, both}};
}
typedef struct { int8x16_t v[8]; } line_pair;
INLINE line_pair pair_of_lines(line a, line b) {
  line_pair pair;
  EACH4(r) {
    pair.v[2 * r] = vreinterpretq_s8_s32(vzip1q_s32((int32x4_t)a.v[r], (int32x4_t)b.v[r]));
    pair.v[2 * r + 1] = vreinterpretq_s8_s32(vzip2q_s32((int32x4_t)a.v[r], (int32x4_t)b.v[r]));
  }
  return pair;
}
INLINE pair_sum pair_dot(pair_sum sum, line_pair weights, const uint8_t *first, const uint8_t *second) {
  const int8x16_t x = vcombine_s8(vld1_s8((const int8_t *)first), vld1_s8((const int8_t *)second));
  UNROLL for (int i = 0; i < 8; i++) sum.v[i] = vmmlaq_s32(sum.v[i], weights.v[i], x);
  return sum;
}
INLINE i32x16 pair_total(pair_sum sum, int row) {
  i32x16 total;
  EACH4(r) total.v[r] = (i32x4)(row == 0 ? vuzp1q_s32(sum.v[2 * r], sum.v[2 * r + 1]) : vuzp2q_s32(sum.v[2 * r], sum.v[2 * r + 1]));
  return total;
}

enum { WIDE_ROWS = 4, SMALL_ROWS = 4, PACKED_COLUMNS = 1 };
#else
// Rows and groups of 16 weight rows of a tile: each line is four registers already.
enum { WIDE_ROWS = HAS_NEON ? 3 : 2, SMALL_ROWS = HAS_NEON ? 3 : 2, PACKED_COLUMNS = 1 };
#endif
enum { PACKED_STREAMS = 1, PACKED_AHEAD = 4096, PACKED_AHEAD_OF_ROWS = PACKED_AHEAD };
INLINE int packed_ahead(int format) { return (void)format, PACKED_AHEAD; }
