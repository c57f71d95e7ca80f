// Lists of ops: a step of few tokens that is run again and again costs one call instead of a hundred, each of
// which finds its caller's code and objects pushed out of the caches by weights. Nothing in a list is trusted:
// every op checks its arguments each time, as if it had been called.
#include "device.h"
#include <string.h>

// By the number of an op: that of its arguments.
static const uint8_t n_arguments[] = {4, 6, 7, 4, 4, 6, 7, 8, 5, 10, 4, 13, 8, 4};
enum { N_OPS = sizeof n_arguments, MOST_ARGUMENTS = 13 };

static float real(int32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static status run_op(int32_t op, const int32_t *a) {
  switch (op) {
    case 0: return embed(a[0], a[1], a[2], a[3]);
    case 1: return rms_norm(a[0], a[1], a[2], a[3], a[4], real(a[5]));
    case 2: return add_rms_norm(a[0], a[1], a[2], a[3], a[4], a[5], real(a[6]));
    case 3: return add(a[0], a[1], a[2], a[3]);
    case 4: return linear(a[0], a[1], a[2], a[3]);
    case 5: return gather_rows(a[0], a[1], a[2], a[3], a[4], a[5]);
    case 6: return rope(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
    case 7: return append_latent(a[0], a[1], a[2], a[3], a[4], real(a[5]), a[6], a[7]);
    case 8: return move_latents(a[0], a[1], a[2], a[3], a[4]);
    case 9: return latent_attention(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], real(a[9]));
    case 10: return mlp(a[0], a[1], a[2], a[3]);
    case 11: return route_experts(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], real(a[12]));
    case 12: return experts(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
    default: return argmax(a[0], a[1], a[2], a[3]);
  }
}

status run_ops(const uint8_t *list, int32_t size) {
  if (size < 0 || size % 4 != 0 || (size > 0 && !list)) return fail(ERROR_ARGUMENT, "run_ops: %d bytes are no list of ops", size);
  const int32_t end = size / 4;
  for (int32_t at = 0; at < end;) {
    int32_t op, arguments[MOST_ARGUMENTS];
    memcpy(&op, list + (size_t)at * 4, sizeof op);
    if (op < 0 || op >= N_OPS) return fail(ERROR_ARGUMENT, "run_ops: there is no op %d", op);
    const int32_t n = n_arguments[op];
    if (n >= end - at) return fail(ERROR_ARGUMENT, "run_ops: op %d has %d arguments, %d are there", op, n, end - at - 1);
    memcpy(arguments, list + (size_t)(at + 1) * 4, (size_t)n * 4);
    const status failed = run_op(op, arguments);
    if (failed) return failed;
    at += 1 + n;
  }
  return 0;
}
