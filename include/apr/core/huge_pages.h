// Large memory that is read from end to end.
#pragma once
#include <cstddef>

namespace apr {

inline constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

/// Asks for huge pages behind memory that is not touched yet. A wish: no error.
void prefer_huge_pages(void* memory, std::size_t n_bytes) noexcept;

}  // namespace apr
