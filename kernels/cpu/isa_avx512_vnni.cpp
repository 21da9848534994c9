// The kernels compiled for avx512_vnni. Only this file and what it includes get these flags.
#define APR_ISA_NAME avx512_vnni
#include "kernels/cpu/isa_table.inl"
