// Typed options on top of CLI11. Every refusal is an apr::Error of code Usage that names the flag and the nearest
// value.
#pragma once
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace apr::cli {

/// An unsigned number, decimal or 0x hexadecimal, within [min, max].
CLI::Option* add_number(CLI::App& app, const std::string& flag, std::function<void(std::uint64_t)> set,
                        std::uint64_t min, std::uint64_t max, const std::string& description);

/// A flag without a value; `target` must outlive the parse.
CLI::Option* add_switch(CLI::App& app, const std::string& flag, bool& target, const std::string& description);

/// Any text, shown as `type_name` in the help.
CLI::Option* add_text(CLI::App& app, const std::string& flag, std::function<void(const std::string&)> set,
                      const std::string& type_name, const std::string& description);

/// A finite decimal number within [min, max].
CLI::Option* add_real(CLI::App& app, const std::string& flag, std::function<void(double)> set, double min, double max,
                      const std::string& description);

/// A word out of `choices`; unknown ones are refused with the nearest. `set` gets the index of the choice.
CLI::Option* add_choice(CLI::App& app, const std::string& flag, std::vector<std::string_view> choices,
                        std::function<void(std::size_t)> set, const std::string& description);

/// The same for an enum: each word with the value that it stands for.
template <class E>
CLI::Option* add_enum(CLI::App& app, const std::string& flag, E& target,
                      std::initializer_list<std::pair<std::string_view, E>> table, const std::string& description) {
  std::vector<std::string_view> words;
  std::vector<E> values;
  for (const auto& [word, value] : table) {
    words.push_back(word);
    values.push_back(value);
  }
  return add_choice(
      app, flag, std::move(words), [&target, values](std::size_t i) { target = values[i]; }, description);
}

/// " (did you mean X?)" in the form of a hint: "did you mean --header?", or empty when nothing is near.
[[nodiscard]] std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace apr::cli
