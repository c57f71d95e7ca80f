// Checks the matrix products: against f64 loops, each row alone against the same row in a batch (bit for
// bit), one thread against two, and prints a hash that is the same on every instruction set with fma.
#include "product_case.h"

static float *random_floats(size_t n) {
  float *x = allocate(n * sizeof *x);
  for (size_t i = 0; i < n; i++) x[i] = (float)random_unit();
  return x;
}

// ---- weights

typedef struct {
  weight w;
  uint8_t *memory, *scale_memory;
  double *values;  // (rows, width)
} random_weight;

static double fp8_value(uint8_t bits) {
  const int exponent = bits >> 3 & 15, fraction = bits & 7;
  const double magnitude = exponent ? ldexp(8 + fraction, exponent - 10) : ldexp(fraction, -9);
  return bits & 0x80 ? -magnitude : magnitude;
}

// The largest error of a value, in parts of its group's largest magnitude.
static const double most_errors[N_FORMATS] = {[INT8] = 0.51 / 127, [INT4] = 0.2, [INT4A] = 0.16, [INT3] = 0.4, [NF4] = 20.0 / 127};

// Random bytes, but for the f16 factors, which are small.
static random_weight make_blocks(int32_t format, int32_t rows, int32_t width) {
  const size_t bytes = weight_data_bytes(format, rows, width), block = (size_t)gguf_bytes(format);
  random_weight r = {.memory = allocate(bytes + LINE), .scale_memory = NULL, .values = allocate((size_t)rows * (size_t)width * sizeof(double))};
  uint8_t *data = r.memory + 3;
  for (size_t i = 0; i < bytes; i++) data[i] = (uint8_t)random_bits();
  for (size_t at = 0; at < bytes; at += block) {
    const uint16_t d = f16_from_f32((float)(random_unit() * 1e-3)), least = f16_from_f32((float)(random_unit() * 1e-3));
    memcpy(data + at + (format == Q6_K ? 208 : 0), &d, 2);
    if (has_least(format)) memcpy(data + at + 2, &least, 2);
  }
  r.w = (weight){data, NULL, format, rows, width};
  float *wide = allocate((size_t)width * sizeof *wide);
  for (int32_t row = 0; row < rows; row++) {
    widen_row(wide, &r.w, row);
    for (int32_t k = 0; k < width; k++) r.values[(size_t)row * (size_t)width + (size_t)k] = wide[k];
  }
  free(wide);
  return r;
}

// At an address that is a multiple of the element alone, as in a file.
static random_weight make_weight(device *d, int32_t format, int32_t rows, int32_t width) {
  if (is_gguf(format)) return make_blocks(format, rows, width);
  const size_t n = (size_t)rows * (size_t)width;
  const int32_t stored = is_packed(format) ? F32 : format;
  const size_t bytes = (size_t)format_bytes(stored), blocks = (size_t)(width + 127) / 128, n_scales = (size_t)(rows + 127) / 128 * blocks;
  random_weight r = {.memory = allocate(n * bytes + LINE), .scale_memory = allocate(n_scales * 4 + 1), .values = allocate(n * sizeof(double))};
  uint8_t *data = r.memory + 3 * bytes;
  r.w = (weight){data, format == FP8 ? r.scale_memory + 1 : NULL, stored, rows, width};
  for (size_t i = 0; format == FP8 && i < n_scales; i++) {
    const float scale = (float)(0.001 * (2 + random_unit()));
    memcpy(r.scale_memory + 1 + 4 * i, &scale, 4);
  }
  for (size_t i = 0; i < n; i++) {
    const float value = (float)(random_unit() * 0.1);
    const uint16_t brain = bf16_from_f32(value), half = f16_from_f32(value);
    const uint32_t brain_bits = (uint32_t)brain << 16;
    float widened = value;
    if (stored == F32) memcpy(data + 4 * i, &value, 4);
    if (stored == BF16) memcpy(data + 2 * i, &brain, 2), memcpy(&widened, &brain_bits, 4);
    if (stored == F16) memcpy(data + 2 * i, &half, 2), widened = f32_from_f16(half);
    if (stored == FP8) {
      uint8_t code = (uint8_t)random_bits();
      if ((code & 0x7f) == 0x7f) code ^= 1;
      float scale;
      memcpy(&scale, r.w.scale + 4 * (i / (size_t)width / 128 * blocks + i % (size_t)width / 128), 4);
      data[i] = code, widened = (float)fp8_value(code) * scale;
    }
    r.values[i] = widened;
  }
  if (!is_packed(format)) return r;
  uint8_t *packed = allocate(packed_bytes(format, rows, width));
  const weight made = {packed, NULL, format, rows, width};
  weight_pack_kernel(d, &made, &r.w);
  free(r.memory), r.memory = packed;
  r.w = made;
  float *wide = allocate(padded_width(width) * sizeof *wide);
  for (int32_t row = 0; row < rows; row++) {
    widen_row(wide, &r.w, row);
    for (int32_t k = 0; k < width; k++) {
      double *value = r.values + (size_t)row * (size_t)width + (size_t)k;
      if (fabs(*value - wide[k]) > 0.1 * most_errors[format]) printf("pack: %g became %g\n", *value, wide[k]), exit(1);
      *value = wide[k];
    }
  }
  free(wide);
  return r;
}
static void free_weight(random_weight *r) { free(r->memory), free(r->scale_memory), free(r->values); }

static uint64_t hash = 14695981039346656037u;
static void hash_in(const void *bytes, size_t n) {
  for (size_t i = 0; i < n; i++) hash = (hash ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
}
static void expect(bool claim, const char *what, const char *format, int32_t a, int32_t b, int32_t c) {
  if (claim) return;
  printf("%s: %s, rows %d width %d activations %d\n", what, format, a, b, c);
  exit(1);
}

// Rows of GGUF's blocks are whole ones.
static int32_t whole_blocks(int32_t format, int32_t width) {
  const int32_t block = is_gguf(format) ? gguf_width(format) : 1;
  return (width + block - 1) / block * block;
}

static void check_linear(device *one, device *two, int32_t format, bool exact, int32_t rows, int32_t width, int32_t n) {
  width = whole_blocks(format, width);
  const char *name = format_names[format];
  one->exact = two->exact = exact;
  random_weight r = make_weight(one, format, rows, width);
  float *x = random_floats((size_t)n * (size_t)width), *out = allocate((size_t)n * (size_t)rows * 4), *again = allocate((size_t)n * (size_t)rows * 4);
  linear_kernel(one, out, x, &r.w, n);
  for (int32_t i = 0; i < n; i++) {
    for (int32_t row = 0; row < rows; row++) {
      double sum = 0, magnitude = 0, weights = 0;
      for (int32_t k = 0; k < width; k++) {
        const double value = r.values[(size_t)row * width + k], product = x[(size_t)i * width + k] * value;
        sum += product, magnitude += fabs(product), weights += fabs(value);
      }
      // |x| <= 1, rounded in steps of 1/127 at most.
      const double tolerance = !exact ? weights / 127 + 1e-9 : magnitude * 1e-6 + 1e-12;
      expect(fabs(out[(size_t)i * rows + row] - sum) <= tolerance, "far from f64", name, rows, width, n);
    }
  }
  linear_kernel(two, again, x, &r.w, n);
  expect(memcmp(out, again, (size_t)n * rows * 4) == 0, "threads differ", name, rows, width, n);
  for (int32_t i = 0; i < n; i++) linear_kernel(two, again + (size_t)i * rows, x + (size_t)i * width, &r.w, 1);
  expect(memcmp(out, again, (size_t)n * rows * 4) == 0, "alone and in a batch differ", name, rows, width, n);
  hash_in(out, (size_t)n * rows * 4);
  // A row that is not finite says so, and leaves the others alone.
  const int32_t bad = random_below(n), at = random_below(width);
  x[(size_t)bad * width + at] = n % 2 ? NAN : INFINITY;
  linear_kernel(two, again, x, &r.w, n);
  for (int32_t i = 0; i < n; i++) {
    const float *a = out + (size_t)i * rows, *b = again + (size_t)i * rows;
    if (i != bad) expect(memcmp(a, b, (size_t)rows * 4) == 0, "another row's NaN", name, rows, width, n);
    else for (int32_t row = 0; row < rows; row++) expect(!isfinite(b[row]), "a NaN is lost", name, rows, width, n);
  }
  free_weight(&r), free(x), free(out), free(again);
}

typedef struct {
  expert_set set;
  random_weight *parts;  // gate, up, down of each
} random_experts;

static random_experts make_experts(device *d, int32_t format, int32_t n, int32_t hidden, int32_t intermediate) {
  random_experts e = {{n, hidden, intermediate, allocate((size_t)n * sizeof(mlp_weights))}, allocate((size_t)n * 3 * sizeof(random_weight))};
  for (int32_t i = 0; i < n; i++) {
    for (int part = 0; part < 3; part++)
      e.parts[3 * i + part] = make_weight(d, format, part < 2 ? intermediate : hidden, part < 2 ? hidden : intermediate);
    e.set.expert[i] = (mlp_weights){e.parts[3 * i].w, e.parts[3 * i + 1].w, e.parts[3 * i + 2].w};
  }
  return e;
}
static void free_experts(random_experts *e) {
  for (int32_t i = 0; i < 3 * e->set.n_experts; i++) free_weight(e->parts + i);
  free(e->parts), free(e->set.expert);
}

// out += factor * down(silu(gate x) * up x) in f64
static void add_mlp(double *out, const random_weight *w, const float *x, int32_t hidden, int32_t intermediate, double factor) {
  double *inner = allocate((size_t)intermediate * sizeof *inner);
  for (int32_t i = 0; i < intermediate; i++) {
    double gate = 0, up = 0;
    for (int32_t k = 0; k < hidden; k++) {
      gate += w[0].values[(size_t)i * hidden + k] * x[k];
      up += w[1].values[(size_t)i * hidden + k] * x[k];
    }
    inner[i] = gate / (1 + exp(-gate)) * up;
  }
  for (int32_t i = 0; i < hidden; i++)
    for (int32_t k = 0; k < intermediate; k++) out[i] += factor * w[2].values[(size_t)i * intermediate + k] * inner[k];
  free(inner);
}

static void check_experts(device *one, device *two, int32_t format, bool exact, int32_t n_experts, int32_t n_chosen, int32_t hidden,
                          int32_t intermediate, bool has_shared, int32_t n) {
  const char *name = format_names[format];
  hidden = whole_blocks(format, hidden), intermediate = whole_blocks(format, intermediate);
  one->exact = two->exact = exact;
  random_experts routed = make_experts(one, format, n_experts, hidden, intermediate), shared = make_experts(one, format, 1, hidden, 2 * intermediate);
  const expert_set *always = has_shared ? &shared.set : NULL;
  float *x = random_floats((size_t)n * hidden), *weights = random_floats((size_t)n * n_chosen);
  int32_t *ids = allocate((size_t)n * n_chosen * sizeof *ids);
  for (int32_t i = 0; i < n; i++)  // ascending, without repeats
    for (int32_t c = 0, id = 0; c < n_chosen; c++, id++) ids[i * n_chosen + c] = id += random_below(n_experts - n_chosen + c + 1 - id);
  const size_t bytes = (size_t)n * hidden * 4;
  float *out = allocate(bytes), *again = allocate(bytes);
  experts_kernel(one, out, x, ids, weights, &routed.set, always, n, n_chosen);
  double *sum = allocate((size_t)hidden * sizeof *sum);
  for (int32_t i = 0; i < n; i++) {
    memset(sum, 0, (size_t)hidden * sizeof *sum);
    for (int32_t c = 0; c < n_chosen; c++)
      add_mlp(sum, routed.parts + 3 * ids[i * n_chosen + c], x + (size_t)i * hidden, hidden, intermediate, weights[i * n_chosen + c]);
    if (always) add_mlp(sum, shared.parts, x + (size_t)i * hidden, hidden, 2 * intermediate, 1);
    double largest = 1e-9;
    for (int32_t k = 0; k < hidden; k++) largest = fmax(largest, fabs(sum[k]));
    for (int32_t k = 0; k < hidden; k++)
      expect(fabs(out[(size_t)i * hidden + k] - sum[k]) <= largest * (!exact ? 0.05 : 1e-5), "experts far from f64", name, hidden, intermediate, n);
  }
  experts_kernel(two, again, x, ids, weights, &routed.set, always, n, n_chosen);
  expect(memcmp(out, again, bytes) == 0, "experts: threads differ", name, hidden, intermediate, n);
  for (int32_t i = 0; i < n; i++)
    experts_kernel(two, again + (size_t)i * hidden, x + (size_t)i * hidden, ids + i * n_chosen, weights + i * n_chosen, &routed.set, always, 1, n_chosen);
  expect(memcmp(out, again, bytes) == 0, "experts: alone and in a batch differ", name, hidden, intermediate, n);
  mlp_kernel(one, out, x, &shared.set, n);
  for (int32_t i = 0; i < n; i++) mlp_kernel(two, again + (size_t)i * hidden, x + (size_t)i * hidden, &shared.set, 1);
  expect(memcmp(out, again, bytes) == 0, "mlp: alone and in a batch differ", name, hidden, intermediate, n);
  hash_in(again, bytes);
  free_experts(&routed), free_experts(&shared), free(x), free(weights), free(ids), free(out), free(again), free(sum);
}

int main(int argc, char **argv) {
  const int rounds = argc > 1 ? atoi(argv[1]) : 20;
  device one = open_device(&products, 1, 256 << 20), two = open_device(&products, 2, 256 << 20);
  for (int format = F32; format < N_FORMATS; format++) {
    for (int exact = format > FP8 ? 0 : 1; exact < 2; exact++) {
      check_linear(&one, &two, format, exact, 1, 1, 1);
      check_linear(&one, &two, format, exact, 129, 1300, 120);
      check_linear(&one, &two, format, exact, 300, 2100, 7);
      for (int i = 0; i < rounds; i++) {
        const int32_t rows = 1 + random_below(150), width = 1 + random_below(i % 4 ? 300 : 1500), n = 1 + random_below(i % 3 ? 9 : 80);
        check_linear(&one, &two, format, exact, rows, width, n);
      }
      for (int i = 0; i < rounds / 4; i++) {
        const int32_t hidden = 8 + random_below(300), intermediate = 1 + random_below(150), n = 1 + random_below(i % 3 ? 9 : 120);
        check_experts(&one, &two, format, exact, 4 + i % 5, 1 + i % 4, hidden, intermediate, i % 2, n);
      }
    }
    printf("%s: right, hash %016llx\n", format_names[format], (unsigned long long)hash);
  }
  close_device(&one), close_device(&two);
  return 0;
}
