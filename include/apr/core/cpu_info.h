// What this CPU can do, from CPUID and XCR0 (the operating system must save the registers, too).
#pragma once
#include <string>

namespace apr {

struct CpuInfo {
  std::string brand;
  bool avx2 = false, fma = false, f16c = false;
  bool avx512f = false, avx512bw = false, avx512vl = false, avx512dq = false, avx512vnni = false;
  bool os_saves_ymm = false, os_saves_zmm = false;
};
/// Detected once.
[[nodiscard]] const CpuInfo& cpu_info();

}  // namespace apr
