// Drafts for speculation without a second model: what followed the last time that the text stood here before.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace apr::engine {

/// At most `n_most` tokens that followed the latest earlier occurrence of the text's last tokens; longer matches first,
/// from 4 tokens down to 2. Empty when there is none.
[[nodiscard]] std::span<const std::int32_t> ngram_draft(std::span<const std::int32_t> text,
                                                        std::size_t n_most) noexcept;

}  // namespace apr::engine
