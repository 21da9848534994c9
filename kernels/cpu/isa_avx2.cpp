// The kernels compiled for avx2. Only this file and what it includes get these flags.
#define APR_ISA_NAME avx2
#include "kernels/cpu/isa_table.inl"
