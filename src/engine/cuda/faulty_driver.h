// A driver that fails one call, to prove that every failure is one clean error and leaves nothing behind.
#pragma once
#include <cstdint>
#include <string>

#include "driver.h"

namespace apr::engine::cuda {

/// What fails and how.
struct Fault {
  std::uint64_t call = 0;      // the how manyth call fails, from 1; 0: none
  Result code = kOutOfMemory;  // what it returns
  bool lost = false;           // and so does every call after it: the device is gone
};

/// Hands every call on to `inner`, except those that the fault takes. Something is given back even where the call that
/// does so fails, as the driver forgets everything of a lost device, too: `inner` can then count what is left.
class FaultyDriver final : public Driver {
 public:
  FaultyDriver(Driver& inner, Fault fault) : inner_(inner), fault_(fault) {}
  [[nodiscard]] std::uint64_t n_calls() const noexcept { return n_calls_; }
  /// The method that failed first; empty: none did.
  [[nodiscard]] const std::string& failed() const noexcept { return failed_; }
  [[nodiscard]] bool is_hardware() const noexcept override { return inner_.is_hardware(); }

#define APR_DRIVER_CALL(method, symbol, parameters, arguments) \
  [[nodiscard]] Result method parameters override { return fails(#method) ? fault_.code : inner_.method arguments; }
#define APR_DRIVER_RELEASE(method, symbol, parameters, arguments) \
  [[nodiscard]] Result method parameters override {               \
    const Result result = inner_.method arguments;                \
    return fails(#method) ? fault_.code : result;                 \
  }
#include "driver_calls.def"
#undef APR_DRIVER_RELEASE
#undef APR_DRIVER_CALL

 private:
  bool fails(const char* method) {
    const bool now = ++n_calls_ == fault_.call || (fault_.lost && fault_.call != 0 && n_calls_ > fault_.call);
    if (now && failed_.empty()) failed_ = method;
    return now;
  }
  Driver& inner_;
  Fault fault_;
  std::uint64_t n_calls_ = 0;
  std::string failed_;
};

}  // namespace apr::engine::cuda
