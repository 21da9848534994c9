// Reader of tests/golden/quant/*.txt (make_goldens.py says what stands in them).
#pragma once
#include <cstdint>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace apr::test {

struct GoldenBlock {
  std::size_t index = 0;
  std::vector<std::uint8_t> block;
  std::vector<std::uint32_t> floats;
};

struct GoldenType {
  std::string name;
  std::uint32_t id = 0, elements = 0, bytes = 0;
  std::vector<std::uint32_t> dequantize_crc, quantize_crc;  // one per 100 blocks
  std::vector<GoldenBlock> dequantized, quantized;
  std::optional<double> ggml_relative_rmse;
};

inline std::vector<std::uint8_t> from_hex(const std::string& text) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}
inline std::vector<std::uint32_t> hex_words(std::istream& line) {
  std::vector<std::uint32_t> words;
  for (std::string word; line >> word;) words.push_back(static_cast<std::uint32_t>(std::stoul(word, nullptr, 16)));
  return words;
}

/// Nothing when the file cannot be read or has a line that no rule knows.
inline std::optional<GoldenType> read_golden(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  GoldenType golden;
  std::vector<std::uint32_t>* crcs = nullptr;
  for (std::string text; std::getline(file, text);) {
    std::istringstream line(text);
    std::string key, hex;
    line >> key;
    if (key == "type") {
      line >> golden.name >> golden.id >> golden.elements >> golden.bytes;
    } else if (key == "dequantize_crc" || key == "quantize_crc") {
      crcs = key[0] == 'd' ? &golden.dequantize_crc : &golden.quantize_crc;
    } else if (key == "block") {
      line >> golden.dequantized.emplace_back().index >> hex;
      golden.dequantized.back().block = from_hex(hex);
    } else if (key == "floats") {
      golden.dequantized.back().floats = hex_words(line);
    } else if (key == "values") {
      line >> golden.quantized.emplace_back().index;
      golden.quantized.back().floats = hex_words(line);
    } else if (key == "quantized") {
      line >> hex;
      golden.quantized.back().block = from_hex(hex);
    } else if (key == "ggml_relative_rmse") {
      double value = 0;
      line >> value;
      golden.ggml_relative_rmse = value;
    } else if (crcs != nullptr && key.size() == 8) {
      std::istringstream whole(text);
      const std::vector<std::uint32_t> words = hex_words(whole);
      crcs->insert(crcs->end(), words.begin(), words.end());
    } else {
      return std::nullopt;
    }
  }
  return golden;
}

}  // namespace apr::test
