#include "src/model/tokenizer/unicode.h"

#include <utf8proc.h>

#include <cstdlib>

#include "apr/core/error.h"

namespace apr::model::tok {
namespace {

bool continues(std::string_view text, std::size_t at, std::size_t count) noexcept {
  if (at + count > text.size()) return false;
  for (std::size_t i = 0; i < count; ++i) {
    if ((static_cast<unsigned char>(text[at + i]) & 0xC0) != 0x80) return false;
  }
  return true;
}

/// Unicode 15.1 assigned these; utf8proc 2.8 (Debian 12) carries 15.0.
utf8proc_category_t category_15_1(std::uint32_t c) noexcept {
  if ((c >= 0x2FFC && c <= 0x2FFF) || c == 0x31EF) return UTF8PROC_CATEGORY_SO;
  if (c >= 0x2EBF0 && c <= 0x2EE5D) return UTF8PROC_CATEGORY_LO;
  return UTF8PROC_CATEGORY_CN;
}

/// The CJK blocks that tokenizers take for Han script: unified ideographs, extensions A to F, compatibility ideographs.
bool in_han_block(std::uint32_t c) noexcept {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2EBEF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

}  // namespace

std::uint32_t next_code_point(std::string_view text, std::size_t& at) noexcept {
  const auto first = static_cast<unsigned char>(text[at]);
  const auto low = [&](std::size_t i) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(text[at + i]) & 0x3F);
  };
  std::uint32_t value = kReplacement;
  std::size_t length = 1;
  if (first < 0x80) {
    value = first;
  } else if ((first & 0xE0) == 0xC0 && continues(text, at + 1, 1)) {
    length = 2;
    value = (std::uint32_t{first} & 0x1F) << 6 | low(1);
  } else if ((first & 0xF0) == 0xE0 && continues(text, at + 1, 2)) {
    length = 3;
    value = (std::uint32_t{first} & 0x0F) << 12 | low(1) << 6 | low(2);
  } else if ((first & 0xF8) == 0xF0 && continues(text, at + 1, 3)) {
    const auto wide = (std::uint32_t{first} & 0x07) << 18 | low(1) << 12 | low(2) << 6 | low(3);
    if (wide <= 0x10FFFF) {
      length = 4;
      value = wide;
    }
  }
  at += length;
  return value;
}

void append_utf8(std::string& out, std::uint32_t c) {
  const auto put = [&](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6));
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

std::size_t announced_length(char first) noexcept {
  const auto byte = static_cast<unsigned char>(first);
  if (byte < 0xC0) return 1;
  if (byte < 0xE0) return 2;
  return byte < 0xF0 ? 3 : 4;
}

bool is_space(std::uint32_t c) noexcept {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

CharClass category(std::uint32_t c) noexcept {
  auto found = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  if (found == UTF8PROC_CATEGORY_CN) found = category_15_1(c);
  switch (found) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return kLetter;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return kMark;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return kNumber;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO: return kPunctuation;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO: return kSymbol;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return kSpace;
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO: return kControl;
    default: return kOther;
  }
}

bool is_nonspacing_mark(std::uint32_t c) noexcept {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_MN;
}

unsigned char class_byte(std::uint32_t c) noexcept {
  if (c < 0x80) return static_cast<unsigned char>(c);
  if (is_space(c)) return kSpace;
  const auto coarse = category(c);
  if (in_han_block(c)) return coarse == kLetter ? kHanLetter : kHanOther;
  return coarse;
}

std::uint32_t to_lower(std::uint32_t c) noexcept {
  return static_cast<std::uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

std::uint32_t base_of(std::uint32_t c) noexcept {
  if (c < 0x80) return c;
  utf8proc_int32_t parts[32];  // the longest canonical decomposition has 4 code points
  int boundary = 0;
  const auto n =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 32,
                              static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE), &boundary);
  return n >= 1 && n <= 32 ? static_cast<std::uint32_t>(parts[0]) : c;
}

std::string normalized(std::string_view text, NormalForm form) {
  std::string clean;
  clean.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto c = next_code_point(text, at);
    append_utf8(clean, c >= 0xD800 && c < 0xE000 ? kReplacement : c);
  }
  int options = UTF8PROC_STABLE;
  options |= form == NormalForm::Nfc || form == NormalForm::Nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == NormalForm::Nfkc || form == NormalForm::Nfkd) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* mapped = nullptr;
  const auto length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(clean.data()), static_cast<utf8proc_ssize_t>(clean.size()),
                   &mapped, static_cast<utf8proc_option_t>(options));
  if (length < 0) throw Error(ErrorCode::Inference, "the text cannot be normalised").got(utf8proc_errmsg(length));
  std::string out(reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(length));
  std::free(mapped);  // utf8proc allocates with malloc
  return out;
}

}  // namespace apr::model::tok
