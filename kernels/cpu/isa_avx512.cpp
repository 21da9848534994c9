// The kernels compiled for avx512. Only this file and what it includes get these flags.
#define APR_ISA_NAME avx512
#include "kernels/cpu/isa_table.inl"
