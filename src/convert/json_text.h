// JSON written piece by piece, for files of hundreds of thousands of members that no tree should hold.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace apr::convert {

class JsonText {
 public:
  /// `bracket` is '{' or '['; inside an object give the key.
  void open(char bracket) { begin_value(), text_ += bracket, first_ = true; }
  void open(std::string_view key, char bracket) { put_key(key), text_ += bracket, first_ = true; }
  void close(char bracket) { text_ += bracket, first_ = false; }

  /// One member of an object. Text is valid UTF-8 by contract.
  void member(std::string_view key, std::string_view value) { put_key(key), put_quoted(value); }
  void member(std::string_view key, const char* value) { member(key, std::string_view(value)); }
  void member(std::string_view key, std::uint64_t value) { raw_member(key, std::to_string(value)); }
  void member(std::string_view key, bool value) { raw_member(key, value ? "true" : "false"); }
  /// A number in a spelling of one's own, or null.
  void raw_member(std::string_view key, std::string_view json) { put_key(key), text_ += json; }
  /// One element of an array.
  void element(std::string_view value) { begin_value(), put_quoted(value); }

  [[nodiscard]] const std::string& text() const noexcept { return text_; }

 private:
  void begin_value() {
    if (!first_) text_ += ',';
    first_ = false;
  }
  void put_key(std::string_view key) {
    begin_value();
    put_quoted(key);
    text_ += ':';
  }
  void put_quoted(std::string_view value) {
    constexpr std::string_view hex = "0123456789abcdef";
    text_ += '"';
    for (const char c : value) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        text_ += '\\';
        text_ += c;
      } else if (c == '\n') {
        text_ += "\\n";
      } else if (byte < 0x20) {
        text_ += "\\u00";
        text_ += hex[byte >> 4];
        text_ += hex[byte & 15];
      } else {
        text_ += c;
      }
    }
    text_ += '"';
  }
  std::string text_;
  bool first_ = true;
};

}  // namespace apr::convert
