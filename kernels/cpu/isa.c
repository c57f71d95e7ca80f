// All kernels of one instruction set: compiled once for each, with -DISA=… and the flags of build.json.
// They are static; the one symbol is the table.
#include "device.h"
#include "simd.h"

#include "argmax.c"
#include "attention.c"
#include "experts.c"
#include "limit_loops.c"
#include "linear.c"
#include "pack.c"
#include "route.c"
#include "rows.c"

#define JOIN_TOKENS(a, b) a##b
#define JOIN(a, b) JOIN_TOKENS(a, b)
#define QUOTE_TOKENS(a) #a
#define QUOTE(a) QUOTE_TOKENS(a)

extern const kernels JOIN(kernels_, ISA);
const kernels JOIN(kernels_, ISA) = {
    .name = QUOTE(ISA),
    .linear = linear_kernel,
    .weight_pack = weight_pack_kernel,
    .mlp = mlp_kernel,
    .experts = experts_kernel,
    .append_latent = append_latent_kernel,
    .move_latents = move_latents_kernel,
    .latent_attention = latent_attention_kernel,
    .embed = embed_kernel,
    .rms_norm = rms_norm_kernel,
    .add_rms_norm = add_rms_norm_kernel,
    .add = add_kernel,
    .rope = rope_kernel,
    .argmax = argmax_kernel,
    .route = route_kernel,
    .limit_read = limit_read_loop,
    .limit_int8 = limit_int8_loop,
    .limit_f32 = limit_f32_loop,
};
