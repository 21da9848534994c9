// The kernels compiled for scalar. Only this file and what it includes get these flags.
#define APR_ISA_NAME scalar
#include "kernels/cpu/isa_table.inl"
