#include "apr/core/huge_pages.h"

#include <sys/mman.h>

namespace apr {

void prefer_huge_pages(void* memory, std::size_t n_bytes) noexcept {
#if defined(MADV_HUGEPAGE)
  madvise(memory, n_bytes, MADV_HUGEPAGE);  // fails where the kernel has none: small pages do
#else
  static_cast<void>(memory), static_cast<void>(n_bytes);
#endif
}

}  // namespace apr
