// The scan kernels compiled for AVX-512 with BITALG. Only this file and what it includes get these flags.
#define APR_ISA_NAME scan_avx512_bitalg
#include "kernels/cpu/ops/scan.inl"
