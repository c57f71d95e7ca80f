// A processor that has every instruction set that was compiled (emulate.ts), in place of kernels/cpu/cpuid.c.
#include "../../kernels/cpu/cpuid.h"

uint32_t cpu_isas(void) { return (1u << N_ISAS) - 1; }
