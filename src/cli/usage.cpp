#include "src/cli/usage.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "src/cli/commands.h"
#include "src/cli/options.h"

namespace apr::cli {
namespace {

constexpr std::size_t kColumns = 100;

struct ExitLine {
  ErrorCode code;
  std::string_view meaning;
};
constexpr ExitLine kExitLines[] = {
    {ErrorCode::Internal, "internal error: a bug in apr"},
    {ErrorCode::Usage, "the command line is wrong"},
    {ErrorCode::NotFound, "file not found, or not a regular readable file"},
    {ErrorCode::InvalidFormat, "the bytes break the rules of their format"},
    {ErrorCode::ValidationFailed, "a check failed, or there was nothing to check"},
    {ErrorCode::ModelLoad, "a sound file that cannot be loaded as a model"},
    {ErrorCode::Io, "reading or writing failed"},
    {ErrorCode::Inference, "running the model failed"},
    {ErrorCode::Unsupported, "not in this build, or not on this machine"},
    {ErrorCode::Network, "a transfer failed"},
    {ErrorCode::Interrupted, "interrupted"},
};

/// Appends `text` wrapped at kColumns, continuation lines indented by `indent`; the first line starts at column `used`.
void append_wrapped(std::string& out, std::string_view text, std::size_t indent, std::size_t used) {
  std::size_t column = used;
  bool first = true;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    if (!first && column + 1 + word.size() > kColumns) {
      out += '\n' + std::string(indent, ' ');
      column = indent;
    } else if (!first) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    first = false;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  out += '\n';
}

void append_entry(std::string& out, const Style& style, std::string_view label, std::string_view text,
                  std::size_t column) {
  out += "  ";
  style.append(out, Role::Name, label);
  std::size_t used = 2 + label.size();
  if (used + 2 > column) {
    out += '\n';
    used = 0;
  }
  out += std::string(column - used, ' ');
  append_wrapped(out, text, column, column);
}

/// Choices that are too many for the label stand behind the description.
bool has_long_choices(const CLI::Option& option) {
  constexpr std::size_t kLongest = 32;
  return option.get_type_name().size() > kLongest && option.get_type_name().find('|') != std::string::npos;
}

std::string option_label(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const auto& s : option.get_snames()) names.push_back("-" + s);
  for (const auto& l : option.get_lnames()) names.push_back("--" + l);
  std::string label = names.empty() ? option.get_name(true) : fmt::format("{}", fmt::join(names, ", "));
  const bool takes_value = option.get_items_expected_max() > 0;
  if (!names.empty() && takes_value && !option.get_type_name().empty())
    label += ' ' + (has_long_choices(option) ? "NAME" : option.get_type_name());
  return label;
}

std::string option_text(const CLI::Option& option) {
  if (!has_long_choices(option)) return option.get_description();
  std::string choices = option.get_type_name();
  for (std::size_t at = 0; (at = choices.find('|', at)) != std::string::npos; at += 2) choices.replace(at, 1, ", ");
  return fmt::format("{}: {}", option.get_description(), choices);
}

bool is_inherited_help(const CLI::App& app, const CLI::Option* option) {
  return app.get_parent() != nullptr && option == app.get_help_ptr();
}

void append_option_group(std::string& out, const Style& style, std::string_view title,
                         const std::vector<const CLI::Option*>& options) {
  constexpr std::size_t kColumn = 30;
  if (options.empty()) return;
  style.append(out, Role::Heading, title);
  out += '\n';
  for (const CLI::Option* option : options)
    append_entry(out, style, option_label(*option), option_text(*option), kColumn);
  out += '\n';
}

/// Options of one app: positionals, then named groups in the order of their first option, then the others.
void append_options(std::string& out, const Style& style, const CLI::App& app, std::string_view other_title) {
  std::vector<const CLI::Option*> positionals;
  std::vector<const CLI::Option*> others;
  std::vector<std::pair<std::string, std::vector<const CLI::Option*>>> groups;
  for (const CLI::Option* option : app.get_options()) {
    if (is_inherited_help(app, option)) continue;
    if (option->get_positional()) {
      positionals.push_back(option);
    } else if (option->get_group() == "Options") {
      others.push_back(option);
    } else {
      auto group =
          std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.first == option->get_group(); });
      if (group == groups.end()) group = groups.insert(groups.end(), {option->get_group(), {}});
      group->second.push_back(option);
    }
  }
  append_option_group(out, style, "Arguments", positionals);
  for (const auto& [title, options] : groups) append_option_group(out, style, title, options);
  append_option_group(out, style, other_title, others);
}

std::vector<std::string> long_options(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const auto& l : option->get_lnames()) names.push_back("--" + l);
  return names;
}

Error unknown_option(const CLI::App& app, const CLI::App* command, std::string_view given) {
  const std::string_view flag = given.substr(0, given.find('='));
  std::vector<std::string> names = command ? long_options(*command) : std::vector<std::string>{};
  for (auto& global : long_options(app)) names.push_back(std::move(global));
  const std::vector<std::string_view> views(names.begin(), names.end());
  std::string hint = flag.starts_with("--") ? did_you_mean(flag, views) : std::string{};
  if (hint.empty()) hint = command ? fmt::format("see apr {} --help", command->get_name()) : "see apr --help";
  return Error(ErrorCode::Usage, fmt::format("unknown option {}", flag)).help(std::move(hint));
}

Error needs_value(const std::string& option, const CLI::App* command) {
  return Error(ErrorCode::Usage, option + " takes exactly one value")
      .help(command ? fmt::format("see apr {} --help", command->get_name()) : "see apr --help");
}

Error unknown_command(std::string_view given) {
  std::vector<std::string_view> names;
  for (const Command& command : commands()) names.push_back(command.name);
  std::string hint = did_you_mean(given, names);
  if (hint.empty()) hint = "apr --help lists the commands";
  return Error(ErrorCode::Usage, fmt::format("unknown command {}", given)).help(std::move(hint));
}

}  // namespace

std::string program_help(const CLI::App& app, const Style& style) {
  std::string out = "apr: one program for the life of a model file (GGUF, APR, SafeTensors)\n\n";
  style.append(out, Role::Heading, "Usage");
  out += "\n  apr COMMAND [options] ...\n  apr COMMAND --help        what it does, its options, examples\n\n";
  std::vector<std::string_view> groups;
  for (const Command& command : commands())
    if (std::find(groups.begin(), groups.end(), command.group) == groups.end()) groups.push_back(command.group);
  for (const std::string_view group : groups) {
    style.append(out, Role::Heading, group);
    out += '\n';
    for (const Command& command : commands())
      if (command.group == group) append_entry(out, style, command.name, command.summary, 14);
    out += '\n';
  }
  append_options(out, style, app, "Global options, before or after the command");
  style.append(out, Role::Heading, "Exit status");
  out += "\n    0  ok\n";
  for (const ExitLine& line : kExitLines) out += fmt::format("  {:3}  {}\n", exit_status(line.code), line.meaning);
  return out;
}

std::string command_help(const CLI::App& command, const Style& style) {
  std::string out = fmt::format("apr {}: ", command.get_name());
  append_wrapped(out, command.get_description(), 0, out.size());
  out += '\n';
  style.append(out, Role::Heading, "Usage");
  out += fmt::format("\n  apr {}", command.get_name());
  for (const CLI::Option* option : command.get_options())
    if (option->get_positional()) out += ' ' + option->get_name(true);
  out += " [options]\n\n";
  append_options(out, style, command, "Options");
  append_options(out, style, *command.get_parent(), "Global options");
  style.append(out, Role::Heading, "Examples");
  out += '\n' + command.get_footer() + '\n';
  return out;
}

void append_help(Json& document, const std::string& text) {
  document["commands"] = Json::array();
  for (const Command& command : commands())
    document["commands"].push_back({{"name", command.name}, {"group", command.group}, {"summary", command.summary}});
  document["exit_status"] = {{"ok", 0}};
  for (const ExitLine& line : kExitLines)
    document["exit_status"][std::string(name(line.code))] = exit_status(line.code);
  document["text"] = text;
}

void check_option_values(const CLI::App& app, int argc, const char* const* argv) {
  const CLI::App* command = nullptr;
  const auto find = [&](const std::string& word) -> const CLI::Option* {
    if (word.size() < 2 || word[0] != '-') return nullptr;
    const CLI::Option* option = command ? command->get_option_no_throw(word) : nullptr;
    return option ? option : app.get_option_no_throw(word);
  };
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--") return;
    if (command == nullptr) {
      const auto named = app.get_subcommands([&](const CLI::App* sub) { return sub->get_name() == word; });
      if (!named.empty()) command = named.front();
    }
    const CLI::Option* option = find(word);
    if (option == nullptr || option->get_items_expected_max() == 0) continue;
    if (i + 1 == argc || find(argv[i + 1]) != nullptr) throw needs_value(word, command);
    ++i;  // the value
  }
}

Error usage_error(const CLI::App& app, const CLI::ParseError& refusal) {
  const auto chosen = app.get_subcommands();
  const CLI::App* command = chosen.empty() ? nullptr : chosen.front();
  const auto left = app.remaining(true);
  const auto flag = std::find_if(left.begin(), left.end(), [](const auto& s) { return s.size() > 1 && s[0] == '-'; });
  if (!command && !left.empty() && left.front()[0] != '-') return unknown_command(left.front());
  if (flag != left.end()) return unknown_option(app, command, *flag);
  const std::string words = refusal.what();
  if (refusal.get_name() == "ArgumentMismatch")  // given twice
    return needs_value(words.substr(0, words.find(':')), command);
  const std::string see = command ? fmt::format("see apr {} --help", command->get_name()) : "see apr --help";
  if (!left.empty()) return Error(ErrorCode::Usage, "unexpected argument").got(left.front()).help(see);
  return Error(ErrorCode::Usage, words).help(see);
}

}  // namespace apr::cli
