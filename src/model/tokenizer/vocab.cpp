#include "src/model/tokenizer/vocab.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "src/model/tokenizer/unicode.h"

namespace apr::model::tok {
namespace {

/// GPT-2's table (openai/gpt-2, encoder.py): printable Latin-1 stands for itself, the rest is moved up from U+0100.
struct ByteAlphabet {
  ByteAlphabet() {
    of_code_point.fill(-1);
    std::uint32_t next = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      const auto c = printable ? static_cast<std::uint32_t>(byte) : next++;
      append_utf8(letter[static_cast<std::size_t>(byte)], c);
      of_code_point[c] = static_cast<std::int16_t>(byte);
    }
  }
  std::array<std::string, 256> letter;
  std::array<std::int16_t, 512> of_code_point{};
};

const ByteAlphabet& alphabet() {
  static const ByteAlphabet table;
  return table;
}

}  // namespace

void Vocab::add(std::string_view spelling, std::uint16_t attr_bits) {
  const auto id = size();
  if (spelling.size() > kMaxTokenBytes) {
    throw Error(ErrorCode::ModelLoad, "a token is too long")
        .at(path)
        .in(fmt::format("tokens[{}]", id))
        .want(fmt::format("at most {} bytes", kMaxTokenBytes))
        .got(std::to_string(spelling.size()));
  }
  const auto number = index.insert(spelling);
  if (number == id_of_number.size()) {
    id_of_number.push_back(id);
  } else {
    id_of_number[number] = id;
  }
  number_of_id.push_back(number);
  attrs.push_back(attr_bits);
  max_token_bytes = std::max(max_token_bytes, spelling.size());
}

void Vocab::warn(std::string rule, std::string message, std::string field, std::string found) {
  Finding finding;
  finding.rule = std::move(rule);
  finding.severity = Severity::Warning;
  finding.message = std::move(message);
  finding.file = path;
  finding.field = std::move(field);
  finding.found = std::move(found);
  findings.push_back(std::move(finding));
}

std::string byte_token_text(unsigned char byte) { return fmt::format("<0x{:02X}>", byte); }

int byte_of_token_text(std::string_view text) noexcept {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  int value = 0;
  for (const char c : text.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

std::string_view byte_letter(unsigned char byte) noexcept { return alphabet().letter[byte]; }

std::string bytes_of_letters(std::string_view spelling, bool& exact) {
  const auto& table = alphabet();
  std::string out;
  exact = true;
  for (std::size_t at = 0; at < spelling.size();) {
    const auto begin = at;
    const auto c = next_code_point(spelling, at);
    const int byte = c < table.of_code_point.size() ? table.of_code_point[c] : -1;
    if (byte >= 0) {
      out.push_back(static_cast<char>(byte));
    } else {
      out.append(spelling.substr(begin, at - begin));
      exact = false;
    }
  }
  return out;
}

}  // namespace apr::model::tok
