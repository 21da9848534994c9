#include "apr/core/cpu_info.h"

#include <array>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace apr {
namespace {

#if defined(__x86_64__)
struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) return {};
  return r;
}

/// XCR0: which register files the operating system saves. Only valid when CPUID.1:ECX.OSXSAVE is set.
std::uint64_t xcr0() {
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

constexpr bool bit(unsigned value, unsigned index) { return ((value >> index) & 1U) != 0; }

std::string brand_string() {
  if (cpuid(0x80000000U).eax < 0x80000004U) return "unknown x86-64";
  std::array<char, 49> text{};
  for (unsigned leaf = 0; leaf < 3; ++leaf) {
    const Registers r = cpuid(0x80000002U + leaf);
    const unsigned words[4] = {r.eax, r.ebx, r.ecx, r.edx};
    std::memcpy(text.data() + 16 * leaf, words, sizeof words);
  }
  std::string brand(text.data());
  while (!brand.empty() && brand.back() == ' ') brand.pop_back();
  return brand;
}

CpuInfo detect() {
  CpuInfo info;
  info.brand = brand_string();
  const Registers basic = cpuid(1);
  const Registers extended = cpuid(7, 0);
  if (bit(basic.ecx, 27)) {  // OSXSAVE
    const std::uint64_t saved = xcr0();
    info.os_saves_ymm = (saved & 0x06U) == 0x06U;  // SSE, AVX
    info.os_saves_zmm = (saved & 0xE6U) == 0xE6U;  // and opmask, upper ZMM, high 16 ZMM
  }
  info.fma = bit(basic.ecx, 12) && info.os_saves_ymm;
  info.f16c = bit(basic.ecx, 29) && info.os_saves_ymm;
  info.avx2 = bit(extended.ebx, 5) && info.os_saves_ymm;
  info.avx512f = bit(extended.ebx, 16) && info.os_saves_zmm;
  info.avx512dq = bit(extended.ebx, 17) && info.os_saves_zmm;
  info.avx512bw = bit(extended.ebx, 30) && info.os_saves_zmm;
  info.avx512vl = bit(extended.ebx, 31) && info.os_saves_zmm;
  info.avx512vnni = bit(extended.ecx, 11) && info.os_saves_zmm;
  return info;
}
#else
CpuInfo detect() { return {.brand = "not x86-64"}; }
#endif

}  // namespace

const CpuInfo& cpu_info() {
  static const CpuInfo info = detect();
  return info;
}

}  // namespace apr
