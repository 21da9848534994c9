// The scan kernels compiled for avx2. Only this file and what it includes get these flags.
#define APR_ISA_NAME scan_avx2
#include "kernels/cpu/ops/scan.inl"
