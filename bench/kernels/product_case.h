// The matrix products on a device without the border.
#include "../../kernels/cpu/experts.c"
#include "../../kernels/cpu/linear.c"
#include "../../kernels/cpu/pack.c"
#include "bare_device.h"

static const char *const format_names[N_FORMATS] = {"f32", "bf16", "f16", "fp8", "int8", "int4", "int4a", "int3", "nf4",
                                                     "q8_0", "q4_0", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k"};
static const kernels products = {.linear = linear_kernel, .weight_pack = weight_pack_kernel, .mlp = mlp_kernel, .experts = experts_kernel};
