#include "src/cli/progress.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "apr/core/text.h"
#include "src/cli/output.h"

namespace apr::cli {
namespace {

constexpr double kQuietSeconds = 1.0;   // shorter work draws nothing
constexpr double kRedrawSeconds = 0.1;  // ten frames a second are enough for an eye
constexpr int kBarColumns = 24;

Progress::Clock real_clock() {
  return {[] {
            const auto now = std::chrono::steady_clock::now().time_since_epoch();
            return std::chrono::duration<double>(now).count();
          },
          [](std::string_view text) { write_stderr(text); }, isatty(STDERR_FILENO) == 1};
}

std::string duration_text(double seconds) {
  const auto s = static_cast<std::uint64_t>(seconds + 0.5);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s / 60 % 60);
}

}  // namespace

Progress::Progress(const Context& context, std::string label, Unit unit)
    : Progress(context, std::move(label), unit, real_clock()) {}

Progress::Progress(const Context& context, std::string label, Unit unit, Clock clock)
    : label_(std::move(label)),
      unit_(unit),
      clock_(std::move(clock)),
      enabled_(clock_.is_terminal && !context.globals.quiet) {
  if (enabled_) start_s_ = last_s_ = clock_.seconds();
}

Progress::~Progress() {
  if (drawn_) clock_.print("\r\033[K");
}

void Progress::update(std::uint64_t done, std::uint64_t total) {
  if (!enabled_) return;
  const double now = clock_.seconds();
  const double elapsed = now - start_s_;
  if (elapsed < kQuietSeconds || (drawn_ && now - last_s_ < kRedrawSeconds)) return;
  last_s_ = now;
  drawn_ = true;
  const double rate = static_cast<double>(done) / elapsed;
  const auto whole_rate = static_cast<std::uint64_t>(rate);
  std::string line = fmt::format("\r\033[K{}  ", label_);
  if (total > 0) {
    const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
    const int filled = static_cast<int>(share * kBarColumns);
    line += fmt::format("{:3.0f}% [{}{}]  ", share * 100, std::string(static_cast<std::size_t>(filled), '#'),
                        std::string(static_cast<std::size_t>(kBarColumns - filled), ' '));
  } else {
    line += unit_ == Unit::Bytes ? human_bytes(done) + "  " : grouped(done) + "  ";
  }
  line += unit_ == Unit::Bytes ? human_bytes(whole_rate) + "/s" : grouped(whole_rate) + "/s";
  if (total > done && rate > 0) line += "  ETA " + duration_text(static_cast<double>(total - done) / rate);
  clock_.print(line);
}

}  // namespace apr::cli
