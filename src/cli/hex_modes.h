// The modes of `apr hex`: hex_modes.def joined with the set-up function of each mode, and what a mode is given.
#pragma once
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apr/format/model_file.h"
#include "src/cli/context.h"
#include "src/cli/json_document.h"
#include "src/cli/options.h"

namespace apr::cli {

/// Flags that more than one mode takes. hex_modes.def says which mode takes which.
struct HexShared {
  std::string path;
  std::optional<std::string> tensor, role;
  std::optional<std::uint64_t> limit;
  bool verify = false;
  bool all = false;  // --all: nothing is cut

  /// --limit or its default; `most` with --all. Throws Usage above `most`.
  [[nodiscard]] std::uint64_t limit_or(std::uint64_t fallback, std::uint64_t most) const;
};

/// One run of one mode: what it is given, and where it puts its report.
struct HexRun {
  const HexShared& shared;
  Context& context;                          // findings that the mode adds are printed behind its report
  const format::ModelFile* model = nullptr;  // null for HexKind::Bytes
  std::string value;                         // of the mode's own flag
  bool first = true;                         // false: another report stands above this one
  std::string text;                          // the report, unless --json
  Json json = Json::object();                // the report's own members, with --json

  [[nodiscard]] bool wants_json() const noexcept { return context.globals.json; }
};

/// Fills `text` or `json`; returns the exit status (0, or what the report itself deserves, as a failed check).
/// A mode of HexKind::Bytes opens the file and writes to context.out by itself.
using HexModeRun = std::function<int(HexRun&)>;

/// Where a mode adds the flags that belong to it alone. Given without the mode, they are refused.
class HexFlags {
 public:
  HexFlags(CLI::App& command, std::string group) : app(command), group_(std::move(group)) {}
  CLI::App& app;
  /// Every flag is passed through here: flags.own(add_number(flags.app, "--width", ...)).
  void own(CLI::Option* option);
  [[nodiscard]] const std::vector<CLI::Option*>& owned() const noexcept { return owned_; }

 private:
  std::string group_;
  std::vector<CLI::Option*> owned_;
};

enum class HexKind { Report, Alone, Bytes };

#define APR_HEX_MODE(symbol, flag, value, kind, uses, help) HexModeRun setup_hex_##symbol(HexFlags& flags);
#include "src/cli/hex_modes.def"
#undef APR_HEX_MODE

struct HexMode {
  std::string_view name;  // also of its JSON Schema: "apr.hex.NAME/1"
  std::string_view flag, value;
  HexKind kind;
  std::string_view uses;
  std::string_view help;
  HexModeRun (*setup)(HexFlags& flags);

  [[nodiscard]] bool takes(std::string_view shared_flag) const;
};

/// Every row of hex_modes.def, in its order.
[[nodiscard]] std::span<const HexMode> hex_modes();
/// The flag that people know the mode by; empty for the summary.
[[nodiscard]] std::string_view hex_mode_shown(std::size_t mode);
/// The row of a name. It must exist.
[[nodiscard]] std::size_t hex_mode_index(std::string_view name);

/// A flag of the command line and the modes that it means something to.
struct HexModifier {
  std::string flag;
  std::vector<std::size_t> modes;
};
/// Refuses what does not go together: two modes of which one stands alone, and a modifier of none of the chosen modes.
void check_hex_modes(std::span<const std::size_t> chosen, std::span<const HexModifier> given);

}  // namespace apr::cli
