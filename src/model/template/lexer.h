// Splits a template into text, tags and the tokens inside tags, with Jinja's whitespace control under trim_blocks and
// lstrip_blocks.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ast.h"

namespace apr::model::jinja {

enum class TokenType : std::uint8_t {
  Data,
  BlockBegin,
  BlockEnd,
  VariableBegin,
  VariableEnd,
  Name,
  String,
  Integer,
  Float,
  Operator,
  End
};

struct Token {
  TokenType type;
  std::uint32_t begin, end;  // in the source; of a String without its quotes
};

/// A refused template: InvalidFormat with the place in `field`.
[[noreturn]] void syntax_error(const Program& program, std::size_t offset, std::string message);

/// The source with \n line ends and without its last line end.
[[nodiscard]] std::string normalised(std::string_view source);
[[nodiscard]] std::vector<Token> tokenize(const Program& program);

/// The value of a string literal, escapes resolved.
[[nodiscard]] std::string unescaped(const Program& program, const Token& token);

}  // namespace apr::model::jinja
