// Colour by meaning. A Style that is off returns its text unchanged, so printers never ask.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace apr::cli {

enum class Role { Plain, Title, Heading, Dim, Offset, Bytes, Name, Type, Number, Text, Good, Warning, Bad };

class Style {
 public:
  explicit Style(bool on) noexcept : on_(on) {}
  [[nodiscard]] bool on() const noexcept { return on_; }
  /// `text` in the colour of its role.
  [[nodiscard]] std::string operator()(Role role, std::string_view text) const;
  void append(std::string& out, Role role, std::string_view text) const;

 private:
  bool on_;
};

/// Columns that UTF-8 text takes on a terminal: code points, of which combining marks take none and East Asian wide
/// characters two.
[[nodiscard]] std::size_t display_width(std::string_view text);

}  // namespace apr::cli
