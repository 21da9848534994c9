// Progress of long work: "label  42% [#####     ]  1.2 GiB/s  ETA 12 s" on stderr.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "src/cli/context.h"

namespace apr::cli {

/// Draws only when stderr is a terminal, -q is absent, and the work has run for more than a second; never on stdout.
/// Usable from one thread at a time. The destructor wipes the line.
class Progress {
 public:
  enum class Unit { Bytes, Items };
  struct Clock {  // what a test replaces
    std::function<double()> seconds;
    std::function<void(std::string_view)> print;
    bool is_terminal = false;
  };
  Progress(const Context& context, std::string label, Unit unit);
  Progress(const Context& context, std::string label, Unit unit, Clock clock);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `total` 0: unknown, no percentage and no ETA.
  void update(std::uint64_t done, std::uint64_t total);
  /// The form that the layers below take.
  [[nodiscard]] std::function<void(std::uint64_t done, std::uint64_t total)> callback() {
    return [this](std::uint64_t done, std::uint64_t total) { update(done, total); };
  }

 private:
  std::string label_;
  Unit unit_;
  Clock clock_;
  bool enabled_;
  bool drawn_ = false;
  double start_s_ = 0, last_s_ = 0;
};

}  // namespace apr::cli
