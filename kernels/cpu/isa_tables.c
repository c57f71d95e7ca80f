// The instruction sets of this build: portable, and those that HAS_… says were compiled (build.json).
#include "cpuid.h"
#include "device.h"

extern const kernels kernels_portable, kernels_avx2, kernels_avxvnni, kernels_avx512, kernels_vnni, kernels_neon, kernels_dotprod, kernels_i8mm;

static const kernels *const tables[N_ISAS] = {
    [PORTABLE] = &kernels_portable,
#ifdef HAS_avx2
    [AVX2] = &kernels_avx2,
#endif
#ifdef HAS_avxvnni
    [AVX_VNNI] = &kernels_avxvnni,
#endif
#ifdef HAS_avx512
    [AVX512] = &kernels_avx512,
#endif
#ifdef HAS_vnni
    [AVX512_VNNI] = &kernels_vnni,
#endif
#ifdef HAS_neon
    [NEON] = &kernels_neon,
#endif
#ifdef HAS_dotprod
    [NEON_DOTPROD] = &kernels_dotprod,
#endif
#ifdef HAS_i8mm
    [NEON_I8MM] = &kernels_i8mm,
#endif
};

const kernels *isa_kernels(int32_t isa) { return tables[isa]; }
int32_t isa_has(int32_t isa) { return isa >= 0 && isa < N_ISAS && tables[isa] && cpu_isas() >> isa & 1; }

int32_t isa_best(void) {
  for (int32_t isa = N_ISAS - 1; isa > PORTABLE; isa--) {
    if (isa_has(isa)) return isa;
  }
  return PORTABLE;
}
