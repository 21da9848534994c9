// The scan kernels compiled for avx512. Only this file and what it includes get these flags.
#define APR_ISA_NAME scan_avx512
#include "kernels/cpu/ops/scan.inl"
