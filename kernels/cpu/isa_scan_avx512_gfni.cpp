// The scan kernels compiled for AVX-512 with GFNI, VBMI and BITALG. Only this file and what it includes get these
// flags.
#define APR_ISA_NAME scan_avx512_gfni
#include "kernels/cpu/ops/scan.inl"
