// simd.h on four vectors of four, in the vector extensions of GCC and Clang: SSE2, NEON and whatever else
// has 16-byte vectors. NEON instructions are named only where the language has no word for them.
#if defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#define HAS_NEON 1
#else
#define HAS_NEON 0
#endif

typedef float f32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef struct { f32x4 v[4]; } f32x16;
typedef struct { i32x4 v[4]; } i32x16;

#define EACH4(r) UNROLL for (int r = 0; r < 4; r++)
// mask is all ones or all zeros in each lane
INLINE f32x4 select4(i32x4 mask, f32x4 yes, f32x4 no) { return (f32x4)((mask & (i32x4)yes) | (~mask & (i32x4)no)); }

INLINE f32x16 splat16(float x) { return (f32x16){{{x, x, x, x}, {x, x, x, x}, {x, x, x, x}, {x, x, x, x}}}; }
INLINE f32x16 zero16(void) { return splat16(0); }
INLINE f32x16 load16(const void *from) {
  f32x16 a;
  EACH4(r) memcpy(&a.v[r], (const char *)from + 16 * r, 16);
  return a;
}
INLINE void store16(void *to, f32x16 a) { EACH4(r) memcpy((char *)to + 16 * r, &a.v[r], 16); }
INLINE f32x16 add16(f32x16 a, f32x16 b) { EACH4(r) a.v[r] += b.v[r]; return a; }
INLINE f32x16 sub16(f32x16 a, f32x16 b) { EACH4(r) a.v[r] -= b.v[r]; return a; }
INLINE f32x16 mul16(f32x16 a, f32x16 b) { EACH4(r) a.v[r] *= b.v[r]; return a; }
INLINE f32x16 div16(f32x16 a, f32x16 b) { EACH4(r) a.v[r] /= b.v[r]; return a; }
INLINE f32x16 min16(f32x16 a, f32x16 b) { EACH4(r) b.v[r] = select4(a.v[r] < b.v[r], a.v[r], b.v[r]); return b; }
INLINE f32x16 max16(f32x16 a, f32x16 b) { EACH4(r) b.v[r] = select4(a.v[r] > b.v[r], a.v[r], b.v[r]); return b; }
INLINE f32x16 fma16(f32x16 a, f32x16 b, f32x16 c) {
#if HAS_NEON
  EACH4(r) c.v[r] = (f32x4)vfmaq_f32((float32x4_t)c.v[r], (float32x4_t)a.v[r], (float32x4_t)b.v[r]);
#else
  EACH4(r) c.v[r] += a.v[r] * b.v[r];
#endif
  return c;
}
// For |a| < 2^22: adding 1.5 * 2^23 leaves no bit for a fraction.
INLINE f32x16 round16(f32x16 a) {
  const f32x16 magic = splat16(12582912);
  f32x16 shifted = add16(a, magic);
  __asm__("" : "+m"(shifted)); // the two must not cancel, whatever the flags
  return sub16(shifted, magic);
}
INLINE i32x4 to_i32x4(f32x4 a) { return (i32x4){(int32_t)a[0], (int32_t)a[1], (int32_t)a[2], (int32_t)a[3]}; }
// In two factors, because 2^n alone leaves the range of f32 where the product does not; the first is exact.
INLINE f32x16 pow2_scale16(f32x16 a, f32x16 n) {
  EACH4(r) {
    const f32x4 known = (f32x4)((i32x4)n.v[r] & (n.v[r] == n.v[r]));  // where n is NaN, so is a
    const i32x4 whole = to_i32x4(known), half = whole >> 1;
    a.v[r] *= (f32x4)((half + 127) << 23);
    a.v[r] *= (f32x4)((whole - half + 127) << 23);
  }
  return a;
}
enum { LANE_PARTS = 1 };
INLINE f32x16 take_part16(int part, f32x16 a, f32x16 b) { return (void)part, (void)b, a; }
INLINE f32x16 blend16(int n, f32x16 a, f32x16 b) {
  const f32x16 mask = load16(first_lanes + 16 - n);
  EACH4(r) b.v[r] = select4((i32x4)mask.v[r], a.v[r], b.v[r]);
  return b;
}
INLINE f32x16 in_register16(f32x16 a) { return a; }
// Sums of a tile (tile.h): what leaves room for its operands in 32 registers or 16.
enum { TILE_ROWS = HAS_NEON ? 3 : 2, TILE_COLUMNS = HAS_NEON ? 2 : 1, STRIP_COLUMNS = HAS_NEON ? 4 : 1, STRIP_WIDTH = 1024 };
enum { PREFETCH_ONE = 6144, PREFETCH_EACH = 2048 };

// The larger of |a| and |b|; as bit patterns, so that infinity and NaN count as the largest.
INLINE f32x16 max_magnitude16(f32x16 a, f32x16 b) {
  EACH4(r) {
    const i32x4 x = (i32x4)a.v[r] & 0x7fffffff, y = (i32x4)b.v[r] & 0x7fffffff;
    a.v[r] = select4(x > y, (f32x4)x, (f32x4)y);
  }
  return a;
}

INLINE float reduce_add16(f32x16 a) {
  const f32x4 four = (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]);
  return (four[0] + four[2]) + (four[1] + four[3]);
}
INLINE float reduce_max16(f32x16 a) {
  float most = a.v[0][0];
  EACH4(r) UNROLL for (int i = 0; i < 4; i++) most = most > a.v[r][i] ? most : a.v[r][i];
  return most;
}
INLINE float reduce_max_magnitude16(f32x16 a) {
  a = max_magnitude16(a, a);
  const f32x16 halves = {{a.v[2], a.v[3], a.v[2], a.v[3]}};
  a = max_magnitude16(a, halves);
  int32_t most = 0;
  UNROLL for (int i = 0; i < 8; i++) {
    const int32_t bits = ((i32x4)a.v[i / 4])[i % 4];
    most = most > bits ? most : bits;
  }
  float magnitude;
  memcpy(&magnitude, &most, 4);
  return magnitude;
}
// to[0..3] = or += reduce_add16 of each
INLINE void store_sums4(float *to, f32x16 a, f32x16 b, f32x16 c, f32x16 d) {
  to[0] = reduce_add16(a), to[1] = reduce_add16(b), to[2] = reduce_add16(c), to[3] = reduce_add16(d);
}
INLINE void add_sums4(float *to, f32x16 a, f32x16 b, f32x16 c, f32x16 d) {
  to[0] += reduce_add16(a), to[1] += reduce_add16(b), to[2] += reduce_add16(c), to[3] += reduce_add16(d);
}

INLINE i32x4 widen4_u16(const void *from) {
  uint16_t x[4];
  memcpy(x, from, 8);
  return (i32x4){x[0], x[1], x[2], x[3]};
}
INLINE i32x4 widen4_i8(const void *from) {
  int8_t x[4];
  memcpy(x, from, 4);
  return (i32x4){x[0], x[1], x[2], x[3]};
}
INLINE f32x16 load16_bf16(const void *from) {
  f32x16 a;
  EACH4(r) a.v[r] = (f32x4)(widen4_u16((const char *)from + 8 * r) << 16);
  return a;
}
// Exponent and fraction move to where f32 has them, and 2^112 makes up for the other bias, subnormals too.
INLINE f32x16 load16_f16(const void *from) {
  f32x16 a;
  EACH4(r) {
    const i32x4 half = widen4_u16((const char *)from + 8 * r), magnitude = half & 0x7fff;
    const i32x4 finite = (i32x4)((f32x4)(magnitude << 13) * 0x1p112f), special = 0x7f800000 | magnitude << 13;
    const i32x4 is_special = magnitude >= 0x7c00;
    a.v[r] = (f32x4)((half & 0x8000) << 16 | (special & is_special) | (finite & ~is_special));
  }
  return a;
}
INLINE f32x16 load16_fp8_scaled(const void *from, f32x16 scale256) {
  EACH4(r) {
    const i32x4 byte = widen4_i8((const char *)from + 4 * r), magnitude = byte & 0x7f;
    const f32x4 value = (f32x4)((byte & (int32_t)0x80000000) | magnitude << 20) * 0x1p112f; // e4m3 / 256
    scale256.v[r] = (f32x4)((i32x4)(value * scale256.v[r]) | ((magnitude == 0x7f) & 0x7fffffff));
  }
  return scale256;
}
INLINE f32x16 load16_i8(const void *from) {
  f32x16 a;
  EACH4(r) {
    const i32x4 x = widen4_i8((const char *)from + 4 * r);
    a.v[r] = (f32x4){(float)x[0], (float)x[1], (float)x[2], (float)x[3]};
  }
  return a;
}

// The first `n` (0..15) of sixteen elements, the others zero; nothing past them is touched.
INLINE f32x16 load16_part(const void *from, int n) {
  float padded[16] = {0};
  memcpy(padded, from, (size_t)n * 4);
  return load16(padded);
}
INLINE f32x16 load16_bf16_part(const void *from, int n) {
  uint16_t padded[16] = {0};
  memcpy(padded, from, (size_t)n * 2);
  return load16_bf16(padded);
}
INLINE f32x16 load16_f16_part(const void *from, int n) {
  uint16_t padded[16] = {0};
  memcpy(padded, from, (size_t)n * 2);
  return load16_f16(padded);
}
INLINE f32x16 load16_fp8_scaled_part(const void *from, f32x16 scale256, int n) {
  uint8_t padded[16] = {0};
  memcpy(padded, from, (size_t)n);
  return load16_fp8_scaled(padded, scale256);
}

INLINE void store16_bf16(void *to, f32x16 a) {
  uint16_t out[16];
  EACH4(r) UNROLL for (int i = 0; i < 4; i++) out[4 * r + i] = bf16_from_f32(a.v[r][i]);
  memcpy(to, out, sizeof out);
}
INLINE uint16_t round_to_f16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  const uint32_t sign = bits >> 16 & 0x8000;
  bits &= 0x7fffffff;
  if (bits > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (bits >> 13 & 0x3ff));
  if (bits >= 0x477ff000) return (uint16_t)(sign | 0x7c00); // 65520 and above round to infinity
  if (bits >= 0x38800000) { // normal: move the exponent's bias from 127 to 15, round off 13 bits
    bits -= 112u << 23;
    return (uint16_t)(sign | ((bits + 0xfff + (bits >> 13 & 1)) >> 13));
  }
  float magnitude; // subnormal: units of 2^-24; adding 0.5 leaves no finer bits in f32
  memcpy(&magnitude, &bits, 4);
  magnitude += 0.5f;
  memcpy(&bits, &magnitude, 4);
  return (uint16_t)(sign | (bits - 0x3f000000));
}
INLINE void store16_f16(void *to, f32x16 a) {
  uint16_t out[16];
  EACH4(r) UNROLL for (int i = 0; i < 4; i++) out[4 * r + i] = round_to_f16(a.v[r][i]);
  memcpy(to, out, sizeof out);
}
// For values in -128..127.
INLINE void store16_i8(void *to, f32x16 a) {
  const f32x16 whole = round16(a);
  int8_t out[16];
  EACH4(r) UNROLL for (int i = 0; i < 4; i++) out[4 * r + i] = (int8_t)whole.v[r][i];
  memcpy(to, out, sizeof out);
}

// dot16: each lane of `sum` gains the product of its four int8 weights (-127..127) with the four int8 of `x`,
// exactly (line_128.h).
INLINE f32x16 to_f32x16(i32x16 a) {
  f32x16 b;
  EACH4(r) b.v[r] = (f32x4){(float)a.v[r][0], (float)a.v[r][1], (float)a.v[r][2], (float)a.v[r][3]};
  return b;
}
INLINE i32x16 dot16(i32x16 sum, const void *weights, int32_t x) {
#if HAS_NEON
  const int8_t *w = weights;
  const int8x16_t x4 = vreinterpretq_s8_s32(vdupq_n_s32(x));
  EACH4(r) {
    const int8x16_t line = vld1q_s8(w + 16 * r);
#ifdef __ARM_FEATURE_DOTPROD
    sum.v[r] = (i32x4)vdotq_s32((int32x4_t)sum.v[r], line, x4);
#else
    const int16x8_t low = vmull_s8(vget_low_s8(line), vget_low_s8(x4)), high = vmull_high_s8(line, x4);
    sum.v[r] += (i32x4)vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high));
#endif
  }
#else
  int8_t b[4];
  memcpy(b, &x, 4);
  EACH4(r) {
    i32x4 four;  // the bytes of each row, shifted up to the sign and down again
    memcpy(&four, (const char *)weights + 16 * r, 16);
    sum.v[r] += (four << 24 >> 24) * b[0] + (four << 16 >> 24) * b[1] + (four << 8 >> 24) * b[2] + (four >> 24) * b[3];
  }
#endif
  return sum;
}

// ---- attention over int8 (absorbed_int8.h)

INLINE i32x4 widen4_u8(const void *from) {
  uint8_t x[4];
  memcpy(x, from, 4);
  return (i32x4){x[0], x[1], x[2], x[3]};
}
INLINE f32x16 load16_u8(const void *from) {
  f32x16 a;
  EACH4(r) {
    const i32x4 x = widen4_u8((const char *)from + 4 * r);
    a.v[r] = (f32x4){(float)x[0], (float)x[1], (float)x[2], (float)x[3]};
  }
  return a;
}

enum { RUN_SUMS = 4 };  // of dot_runs16

INLINE void dot_runs16(i32x16 *sums, const int n, const void *lines, const int runs, const uint8_t *fours, size_t of_four_sums,
                       size_t of_line, size_t of_run) {
  const int8_t *from = lines;
#if HAS_NEON  // u * w = (u - 128) * w + 128 * w, and the second part is the same for all sums
  i32x16 biased = {0};
  for (int line = 0; line < 4 * runs; line++)
    EACH4(r) biased.v[r] += (i32x4)vpaddlq_s16(vpaddlq_s8(vld1q_s8(from + 64 * line + 16 * r)));
  UNROLL for (int i = 0; i < n; i++) EACH4(r) sums[i].v[r] += biased.v[r] << 7;
  for (int line = 0; line < 4 * runs; line++, from += 64) {
    const uint8_t *at = fours + (size_t)(line / 4) * of_run + (size_t)(line % 4) * of_line;
    UNROLL for (int i = 0; i < n; i++) {
      int32_t four;
      memcpy(&four, at + (size_t)(i / 4) * of_four_sums + (size_t)(i % 4) * 4, 4);
      sums[i] = dot16(sums[i], from, (int32_t)((uint32_t)four ^ 0x80808080u));
    }
  }
#else
  for (int line = 0; line < 4 * runs; line++, from += 64) {
    const uint8_t *at = fours + (size_t)(line / 4) * of_run + (size_t)(line % 4) * of_line;
    EACH4(r) {
      i32x4 four;  // the bytes of each lane, shifted up to the sign and down again
      memcpy(&four, from + 16 * r, 16);
      const i32x4 a = four << 24 >> 24, b = four << 16 >> 24, c = four << 8 >> 24, d = four >> 24;
      UNROLL for (int i = 0; i < n; i++) {
        const uint8_t *u = at + (size_t)(i / 4) * of_four_sums + (size_t)(i % 4) * 4;
        sums[i].v[r] += a * u[0] + b * u[1] + c * u[2] + d * u[3];
      }
    }
  }
#endif
}

INLINE void turn_line16(void *to, const void *from) {
  uint8_t line[64], turned[64];
  memcpy(line, from, 64);
  for (int chunk = 0; chunk < 64; chunk += 16)
    UNROLL for (int i = 0; i < 16; i++) turned[chunk + i] = line[chunk + i % 4 * 4 + i / 4] ^ 0x80;
  memcpy(to, turned, 64);
}
INLINE void store_fours16(void *to, f32x16 a, f32x16 b, f32x16 c, f32x16 d) {
  const f32x16 most = splat16(255), all[4] = {a, b, c, d};
  uint8_t bytes[64];
  UNROLL for (int j = 0; j < 4; j++) {
    const f32x16 whole = min16(all[j], most);  // what is NaN has no byte: any will do
    UNROLL for (int i = 0; i < 16; i++) bytes[4 * i + j] = (uint8_t)whole.v[i / 4][i % 4];
  }
  memcpy(to, bytes, 64);
}
INLINE i32x16 load16_i32(const void *from) {
  i32x16 a;
  memcpy(&a, from, 64);
  return a;
}
