// The apr side of tokenizer_json.py. `tokenizer_json_ids texts N` prints N random texts as a JSON array;
// `tokenizer_json_ids ids TOKENIZER.json TEXTS.json` prints [{"ids", "special", "text"}] for each of them.
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "apr/core/text.h"
#include "apr/model/tokenizer.h"
#include "tests/conformance/tokenizer_strings.h"

namespace {

int print_texts(std::uint64_t n) {
  nlohmann::json out = nlohmann::json::array();
  for (std::uint64_t i = 0; i < n; ++i) out.push_back(apr::to_valid_utf8(tokenizer_strings::text(i)));
  std::puts(out.dump().c_str());
  return 0;
}

int print_ids(const std::string& path, const std::string& texts_path) {
  const auto tokenizer = apr::model::Tokenizer::from_json_file(path);
  std::ifstream in(texts_path);
  nlohmann::json out = nlohmann::json::array();
  for (const auto& text : nlohmann::json::parse(in)) {
    const auto plain = tokenizer.encode(text.get<std::string>(), {.add_special = false, .parse_special = true});
    const auto special = tokenizer.encode(text.get<std::string>(), {.add_special = true, .parse_special = true});
    out.push_back({{"ids", plain}, {"special", special}, {"text", apr::to_valid_utf8(tokenizer.decode(plain))}});
  }
  std::puts(out.dump().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 3 && std::string(argv[1]) == "texts") return print_texts(std::stoull(argv[2]));
    if (argc == 4 && std::string(argv[1]) == "ids") return print_ids(argv[2], argv[3]);
    std::fputs("usage: tokenizer_json_ids texts N | ids TOKENIZER.json TEXTS.json\n", stderr);
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
