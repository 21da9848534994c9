// The scan kernels compiled for scalar. Only this file and what it includes get these flags.
#define APR_ISA_NAME scan_scalar
#include "kernels/cpu/ops/scan.inl"
