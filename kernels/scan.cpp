// The scan kernels of the instruction set in use. They are objects of their own: small, and without the panels' flags.
#include "apr/kernels/scan.h"

#include <string_view>

#include "apr/kernels/dispatch.h"

namespace apr::kernels {

extern const ScanKernels table_scan_scalar;
#ifdef APR_X86
extern const ScanKernels table_scan_avx2;
extern const ScanKernels table_scan_avx512;
extern const ScanKernels table_scan_avx512_gfni;
#endif

#ifdef APR_X86
namespace {
/// AVX512 in use says that the system saves the registers; the rest are bits of CPUID.
bool has_gfni() {
  static const bool has = __builtin_cpu_supports("gfni") != 0 && __builtin_cpu_supports("avx512vbmi") != 0 &&
                          __builtin_cpu_supports("avx512bitalg") != 0;
  return has;
}
}  // namespace
#endif

const ScanKernels& active_scan() {
#ifdef APR_X86
  const std::string_view isa = active().isa;
  if (isa.starts_with("avx512")) return has_gfni() ? table_scan_avx512_gfni : table_scan_avx512;
  if (isa == "avx2") return table_scan_avx2;
#endif
  return table_scan_scalar;
}

size_t scan_tables(const ScanKernels* tables[4]) {
  size_t n = 0;
  tables[n++] = &table_scan_scalar;
#ifdef APR_X86
  bool avx2 = false, avx512 = false;
  for (const IsaVariant& isa : isa_variants()) {
    avx2 = avx2 || (isa.runs_here && isa.name == "avx2");
    avx512 = avx512 || (isa.runs_here && isa.name == "avx512");
  }
  if (avx2) tables[n++] = &table_scan_avx2;
  if (avx512) tables[n++] = &table_scan_avx512;
  if (avx512 && has_gfni()) tables[n++] = &table_scan_avx512_gfni;
#endif
  return n;
}

}  // namespace apr::kernels
