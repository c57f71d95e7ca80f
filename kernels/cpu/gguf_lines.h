// Eight rows of GGUF's blocks (gguf.h) turned into lines as T16 has them of sixteen (t16.h), four values of each
// row: what products are summed from, a lane for each row. Only where there is AVX2.
#ifndef HADAL_GGUF_LINES_H
#define HADAL_GGUF_LINES_H
#include "gguf.h"

#ifdef __AVX2__
#define HAS_GGUF_LINES 1

// Pointers to the rows from `first` on; those past `valid` are the last one.
INLINE void eight_rows(const uint8_t **row, const weight *w, int32_t first, int valid) {
  const size_t row_bytes = gguf_row_bytes(w->format, w->width);
  for (int i = 0; i < 8; i++) row[i] = w->data + (size_t)(first + (i < valid ? i : valid - 1)) * row_bytes;
}

// f16 at the same place of eight blocks.
INLINE __m256 f16_of_eight(const uint8_t *const *block, size_t at) {
  __m128i halves = _mm_setzero_si128();
#define PUT(i)                                              \
  {                                                         \
    uint16_t half;                                          \
    memcpy(&half, block[i] + at, sizeof half);              \
    halves = _mm_insert_epi16(halves, (short)half, i);      \
  }
  PUT(0) PUT(1) PUT(2) PUT(3) PUT(4) PUT(5) PUT(6) PUT(7)
#undef PUT
  return _mm256_cvtph_ps(halves);
}

// Four dwords of four rows in each half: columns for rows.
INLINE void turn_four(__m256i *part, const __m256i *a) {
  const __m256i b = _mm256_unpacklo_epi32(a[0], a[1]), c = _mm256_unpacklo_epi32(a[2], a[3]);
  const __m256i d = _mm256_unpackhi_epi32(a[0], a[1]), e = _mm256_unpackhi_epi32(a[2], a[3]);
  part[0] = _mm256_unpacklo_epi64(b, c), part[1] = _mm256_unpackhi_epi64(b, c);
  part[2] = _mm256_unpacklo_epi64(d, e), part[3] = _mm256_unpackhi_epi64(d, e);
}

// Sixteen bytes at the same place of rows i and i + 4.
INLINE __m256i two_rows(const uint8_t *const *row, int i, size_t at) {
  const __m128i low = _mm_loadu_si128((const __m128i *)(row[i] + at));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(low), _mm_loadu_si128((const __m128i *)(row[i + 4] + at)), 1);
}
// Of all eight: dword i of each in part[i].
INLINE void sixteen_of_eight(__m256i *part, const uint8_t *const *row, size_t at) {
  __m256i a[4];
  UNROLL for (int i = 0; i < 4; i++) a[i] = two_rows(row, i, at);
  turn_four(part, a);
}
// Sixteen bytes of rows `first` to first + 3, dword i of all of them in both halves of part[i].
INLINE void sixteen_of_four(__m256i *part, const uint8_t *const *block, size_t at, int first) {
  __m256i a[4];
  UNROLL for (int i = 0; i < 4; i++) a[i] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(block[first + i] + at)));
  turn_four(part, a);
}

// What eight blocks say of their groups' scales.
typedef struct {
  __m256 d, less;  // less: what minima are multiplied by, its sign turned; in Q5_1 what is added
  __m256i scales[4], minima[2];  // bytes, those of group 4i + j in byte j of each lane
  __m256i later[4];  // Q6_K: scales[i] those of the first four rows in both halves, of 16 values each; later[i] those of the last four
} gguf_heads;

INLINE gguf_heads heads_of_eight(int format, const uint8_t *const *block, size_t at) {
  gguf_heads h = {.less = _mm256_setzero_ps()};
  if (gguf_width(format) == GROUP) {
    h.d = f16_of_eight(block, at);
    if (format == Q5_1) h.less = f16_of_eight(block, at + 2);
  } else if (format == Q6_K) {
    h.d = f16_of_eight(block, at + 208);
    sixteen_of_four(h.scales, block, at + 192, 0), sixteen_of_four(h.later, block, at + 192, 4);
  } else {
    __m256i part[4];
    sixteen_of_eight(part, block, at);
    const __m256i pairs = _mm256_packus_epi32(_mm256_and_si256(part[0], _mm256_set1_epi32(0xffff)), _mm256_srli_epi32(part[0], 16));
    const __m256i halves = _mm256_permute4x64_epi64(pairs, 0xd8);
    h.d = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
    h.less = _mm256_xor_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1)), _mm256_set1_ps(-0.0f));
    const __m256i six = _mm256_set1_epi8(63), four = _mm256_set1_epi8(15), top = _mm256_set1_epi8(48);
    h.scales[0] = _mm256_and_si256(part[1], six), h.minima[0] = _mm256_and_si256(part[2], six);
    h.scales[1] = _mm256_or_si256(_mm256_and_si256(part[3], four), _mm256_and_si256(_mm256_srli_epi16(part[1], 2), top));
    h.minima[1] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(part[3], 4), four), _mm256_and_si256(_mm256_srli_epi16(part[2], 2), top));
  }
  return h;
}

// Byte i of each lane.
INLINE __m256 unsigned_byte(__m256i bytes, int i) {
  const __m256i first = _mm256_setr_epi8(0, -1, -1, -1, 4, -1, -1, -1, 8, -1, -1, -1, 12, -1, -1, -1, 0, -1, -1, -1, 4, -1, -1, -1, 8, -1, -1, -1, 12, -1, -1, -1);
  return _mm256_cvtepi32_ps(_mm256_shuffle_epi8(bytes, _mm256_add_epi32(first, _mm256_set1_epi32(i))));
}
INLINE __m256 signed_byte(__m256i bytes, int i) { return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(bytes, 24 - 8 * i), 24)); }

// gguf_scales of a group, for eight rows.
typedef struct {
  __m256 scale, first, second;
} eight_scales;

INLINE eight_scales scales_of_eight(int format, const gguf_heads *h, int group) {
  eight_scales of = {.scale = h->d};
  if (format == Q5_1) {
    of.first = h->less;
  } else if (format == Q4_K || format == Q5_K) {
    of.scale = _mm256_mul_ps(h->d, unsigned_byte(h->scales[group / 4], group % 4));
    of.first = _mm256_mul_ps(h->less, unsigned_byte(h->minima[group / 4], group % 4));
  } else if (format == Q6_K) {
    const __m256i bytes = _mm256_blend_epi32(h->scales[group / 2], h->later[group / 2], 0xf0);
    of.first = signed_byte(bytes, group % 2 * 2), of.second = signed_byte(bytes, group % 2 * 2 + 1);
  }
  return of;
}

// Byte `low` of the first four lanes and `high` of the last four, in both halves of each.
INLINE __m256i signed_pairs(__m256i bytes, int low, int high) {
  const __m256i first = _mm256_setr_epi8(-1, 0, -1, 0, -1, 4, -1, 4, -1, 8, -1, 8, -1, 12, -1, 12, -1, 0, -1, 0, -1, 4, -1, 4, -1, 8, -1, 8, -1, 12, -1, 12);
  const __m256i place = _mm256_set_m128i(_mm_set1_epi16((short)(high << 8)), _mm_set1_epi16((short)(low << 8)));
  return _mm256_srai_epi16(_mm256_shuffle_epi8(bytes, _mm256_add_epi16(first, place)), 8);
}
// The scales of half a group of Q6_K, as pairs.
INLINE __m256i scales_of_half(const gguf_heads *h, int group, int half) {
  const int at = group % 2 * 2 + half;
  return signed_pairs(_mm256_blend_epi32(h->scales[group / 2], h->later[group / 2], 0xf0), at, at);
}

// Groups whose codes share bytes are turned together.
enum { MOST_TURNED = 24 };
INLINE int stretch_groups(int format) { return format == Q6_K ? 4 : format == Q4_K || format == Q5_K ? 2 : 1; }

INLINE __m256i dwords_of_eight(const uint8_t *const *row, size_t at) {
  int32_t all[8];
  UNROLL for (int i = 0; i < 8; i++) memcpy(all + i, row[i] + at, sizeof *all);
  return _mm256_loadu_si256((const __m256i *)all);
}
// Bits 16 * half + 4 * j to + 3 of each lane as 16 in its four bytes.
INLINE __m256i fifths_of_line(__m256i bits, int half, int j) {
  const __m256i byte = _mm256_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12, 0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
  const __m256i place = _mm256_add_epi8(byte, _mm256_set1_epi8((char)(2 * half + j / 2)));
  const __m256i each = _mm256_set1_epi32(j % 2 ? (int32_t)0x80402010 : 0x08040201);
  const __m256i found = _mm256_and_si256(_mm256_shuffle_epi8(bits, place), each);
  return _mm256_and_si256(_mm256_cmpeq_epi8(found, each), _mm256_set1_epi8(16));
}

// turned[4 * i + j]: dword j of the i-th sixteen bytes of each row.
INLINE void turn_bytes(__m256i *turned, const uint8_t *const *row, size_t from, int sixteens) {
  UNROLL for (int i = 0; i < sixteens; i++) sixteen_of_eight(turned + 4 * i, row, from + 16 * (size_t)i);
}
INLINE void turn_stretch(int format, __m256i *turned, const uint8_t *const *row, size_t at, int stretch) {
  const size_t which = (size_t)stretch;
  if (format == Q8_0) {
    turn_bytes(turned, row, at + 2, 2);
  } else if (format == Q6_K) {
    turn_bytes(turned, row, at + 64 * which, 4), turn_bytes(turned + 16, row, at + 128 + 32 * which, 2);
  } else if (gguf_width(format) == GROUP) {
    turn_bytes(turned, row, at + nibbles_at(format), 1);
    if (format != Q4_0) turned[4] = dwords_of_eight(row, at + fifths_at(format));
  } else {
    turn_bytes(turned, row, at + nibbles_at(format) + 32 * which, 2);
    if (format == Q4_K) return;
    turn_bytes(turned + 8, row, at + fifths_at(format), 2);
    UNROLL for (int i = 8; i < 16; i++) turned[i] = _mm256_srli_epi16(turned[i], 2 * stretch);  // its groups' bits first
  }
}

INLINE __m256i bits_of(__m256i bytes, int from, int mask) {
  return _mm256_and_si256(from ? _mm256_srli_epi16(bytes, from) : bytes, _mm256_set1_epi8((char)mask));
}
// Line j of half a group of a stretch: codes of gguf.h.
INLINE __m256i line_of_eight(int format, const __m256i *turned, int group, int half, int j) {
  if (format == Q8_0) return turned[4 * half + j];
  if (gguf_width(format) == GROUP) {
    const __m256i codes = bits_of(turned[j], 4 * half, 15);
    return format == Q4_0 ? codes : _mm256_or_si256(codes, fifths_of_line(turned[4], half, j));
  }
  if (format == Q4_K || format == Q5_K) {
    const __m256i codes = bits_of(turned[4 * half + j], 4 * group, 15);
    return format == Q4_K ? codes : _mm256_or_si256(codes, fifth_bit(turned[8 + 4 * half + j], group));
  }
  const __m256i low = bits_of(turned[8 * (group % 2) + 4 * half + j], group / 2 * 4, 15), high = turned[16 + 4 * half + j];
  const __m256i top = group < 2 ? _mm256_slli_epi16(high, 4 - 2 * group) : group == 2 ? high : _mm256_srli_epi16(high, 2);
  return _mm256_or_si256(low, _mm256_and_si256(top, _mm256_set1_epi8(48)));
}
#else
#define HAS_GGUF_LINES 0
#endif
#endif
