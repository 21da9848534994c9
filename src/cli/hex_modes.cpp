#include "src/cli/hex_modes.h"

#include <fmt/format.h>

#include <algorithm>

#include <CLI/CLI.hpp>

namespace apr::cli {
namespace {

constexpr HexMode kModes[] = {
#define APR_HEX_MODE(symbol, flag, value, kind, uses, help) \
  {#symbol, flag, value, HexKind::kind, uses, help, setup_hex_##symbol},
#include "src/cli/hex_modes.def"
#undef APR_HEX_MODE
};

Error usage(std::string message, std::string hint) {
  return Error(ErrorCode::Usage, std::move(message)).help(std::move(hint));
}

/// "--raw", "--raw or --header", "--raw, --tensor or --header"
std::string any_of(const std::vector<std::size_t>& modes) {
  std::string out;
  for (std::size_t i = 0; i < modes.size(); ++i)
    out += fmt::format("{}{}", i == 0 ? "" : i + 1 == modes.size() ? " or " : ", ", hex_mode_shown(modes[i]));
  return out;
}

}  // namespace

void HexFlags::own(CLI::Option* option) {
  option->group(group_);
  owned_.push_back(option);
}

std::uint64_t HexShared::limit_or(std::uint64_t fallback, std::uint64_t most) const {
  if (limit && *limit > most)
    throw Error(ErrorCode::Usage, "number out of range")
        .in("--limit")
        .want(fmt::format("a number from 1 to {}", most))
        .got(fmt::format("{}", *limit));
  return all ? most : limit.value_or(fallback);
}

bool HexMode::takes(std::string_view shared_flag) const {
  for (std::string_view rest = uses; !rest.empty();) {
    const std::size_t end = std::min(rest.find(' '), rest.size());
    if (rest.substr(0, end) == shared_flag) return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

std::span<const HexMode> hex_modes() { return kModes; }

std::string_view hex_mode_shown(std::size_t mode) {
  const HexMode& row = kModes[mode];
  return row.name == "tensor" ? "--tensor" : row.flag;
}

std::size_t hex_mode_index(std::string_view name) {
  const auto row = std::find_if(std::begin(kModes), std::end(kModes), [&](const HexMode& m) { return m.name == name; });
  APR_CHECK(row != std::end(kModes));
  return static_cast<std::size_t>(row - std::begin(kModes));
}

void check_hex_modes(std::span<const std::size_t> chosen, std::span<const HexModifier> given) {
  if (chosen.size() > 1)
    for (const std::size_t mode : chosen) {
      if (kModes[mode].kind == HexKind::Report) continue;
      const std::size_t other = mode == chosen[0] ? chosen[1] : chosen[0];
      throw usage(fmt::format("{} and {} exclude each other", hex_mode_shown(std::min(mode, other)),
                              hex_mode_shown(std::max(mode, other))),
                  "choose one mode");
    }
  for (const HexModifier& modifier : given) {
    const auto meant = [&](std::size_t mode) {
      return std::find(modifier.modes.begin(), modifier.modes.end(), mode) != modifier.modes.end();
    };
    if (std::any_of(chosen.begin(), chosen.end(), meant)) continue;
    // What also goes without a mode's flag cannot be said to need one.
    const bool by_itself = std::any_of(modifier.modes.begin(), modifier.modes.end(), [](std::size_t mode) {
      return kModes[mode].flag.empty() && hex_mode_shown(mode).empty();
    });
    if (by_itself || modifier.flag == "--tensor")
      throw usage(fmt::format("{} and {} exclude each other", hex_mode_shown(chosen.front()), modifier.flag),
                  "apr hex --help says what goes with what");
    throw usage(fmt::format("{} needs {}", modifier.flag, any_of(modifier.modes)), "see apr hex --help");
  }
}

}  // namespace apr::cli
