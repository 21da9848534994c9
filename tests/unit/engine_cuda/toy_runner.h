// A kernel that needs no emulator: adds a number to each 32-bit word of a buffer.
#pragma once
#include <cstring>

#include "apr/core/error.h"
#include "src/engine/cuda/emulated_driver.h"

namespace apr::engine::cuda {

struct AddParameters {
  DevicePtr words;
  std::uint64_t n;
  std::uint32_t addend;
  std::uint32_t fails;
};

class ToyRunner final : public KernelRunner {
 public:
  [[nodiscard]] const void* find(std::string_view name) const override { return name == "add" ? &kAdd : nullptr; }
  [[nodiscard]] std::size_t parameter_bytes(const void*) const override { return sizeof(AddParameters); }
  void run(const void*, const LaunchConfig&, const std::byte* bytes) override {
    AddParameters p;
    std::memcpy(&p, bytes, sizeof p);
    if (p.fails != 0) throw Error(ErrorCode::Inference, "a word outside the buffer");
    auto* words = reinterpret_cast<std::uint32_t*>(p.words);
    for (std::uint64_t i = 0; i < p.n; ++i) words[i] += p.addend;
  }

 private:
  static constexpr int kAdd = 0;
};

}  // namespace apr::engine::cuda
