// A mutator that knows how a GGUF file is built: without it nearly every mutation ends at the first length.
#pragma once
#include <cstdint>
#include <string>

namespace apr::fuzz {

/// A changed copy: a number replaced by an awkward one, an entry or info doubled, dropped or moved, a text grown with
/// its length, or plain bytes changed. `default_mutate`: what changes bytes without knowing them.
[[nodiscard]] std::string mutate_gguf(const std::string& file, std::uint32_t seed,
                                      std::size_t (*default_mutate)(std::uint8_t*, std::size_t, std::size_t));

}  // namespace apr::fuzz
