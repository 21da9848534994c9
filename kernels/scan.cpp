// The scan kernels of the instruction set in use. They are objects of their own: small, and without the panels' flags.
#include "apr/kernels/scan.h"

#include <string_view>

#include "apr/kernels/dispatch.h"

namespace apr::kernels {

extern const ScanKernels table_scan_scalar;
#ifdef APR_X86
extern const ScanKernels table_scan_avx2;
extern const ScanKernels table_scan_avx512;
extern const ScanKernels table_scan_avx512_bitalg;
#endif

const ScanKernels& active_scan() {
#ifdef APR_X86
  const std::string_view isa = active().isa;
  // AVX512 in use says that the system saves the registers; BITALG is one more bit of CPUID.
  static const bool bitalg = __builtin_cpu_supports("avx512bitalg") != 0;
  if (isa.starts_with("avx512")) return bitalg ? table_scan_avx512_bitalg : table_scan_avx512;
  if (isa == "avx2") return table_scan_avx2;
#endif
  return table_scan_scalar;
}

}  // namespace apr::kernels
