// Holds the tokenizers against llama.cpp: the .inp/.out pairs of its source package, and the digests of random texts in
// tests/golden/tokenizer/llama_cpp.bin. Usage: tokenizer_cases VOCAB_DIR GOLDEN
// Exit status: 0 all equal; 1 a difference, a missing file, or nothing compared.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "apr/core/text.h"
#include "apr/format/model_file.h"
#include "apr/model/tokenizer.h"
#include "src/model/tokenizer/pre_tokenizer.h"
#include "tests/conformance/tokenizer_strings.h"

namespace {

using apr::model::Tokenizer;

struct Counts {
  int n_files = 0, n_refused = 0, n_cases = 0, n_equal = 0;
};

std::string contents(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw apr::Error(apr::ErrorCode::NotFound, "cannot be read").at(path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string joined(const std::vector<std::int32_t>& ids) {
  std::string out;
  for (const auto id : ids) out += (out.empty() ? "" : " ") + std::to_string(id);
  return out;
}

/// One .inp file holds texts with a line "__ggml_vocab_test__" between them; one line of .out holds the ids of each.
void compare_pairs(const std::filesystem::path& vocab, const Tokenizer& tokenizer, Counts& counts) {
  const auto texts = contents(vocab.string() + ".inp");
  std::istringstream answers(contents(vocab.string() + ".out"));
  const std::string separator = "\n__ggml_vocab_test__\n";
  int n_cases = 0, n_equal = 0;
  for (std::size_t at = 0; at < texts.size();) {
    const auto end = std::min(texts.find(separator, at), texts.size());
    const auto text = texts.substr(at, end - at);
    at = std::min(end + separator.size(), texts.size());
    std::string line;
    if (!std::getline(answers, line))
      throw apr::Error(apr::ErrorCode::InvalidFormat, "fewer answers than texts").at(vocab.string());
    std::istringstream words(line);
    const std::vector<std::int32_t> expected{std::istream_iterator<std::int32_t>(words), {}};
    const auto ids = tokenizer.encode(text, {.add_special = false, .parse_special = false});
    ++n_cases;
    if (ids == expected) {
      ++n_equal;
    } else {
      std::printf("  DIFFERS %s \"%s\"\n    expected %s\n    got      %s\n", vocab.filename().c_str(),
                  apr::escaped(text, 120).c_str(), joined(expected).c_str(), joined(ids).c_str());
    }
  }
  std::printf("%-36s %3d cases, %3d equal\n", vocab.filename().c_str(), n_cases, n_equal);
  counts.n_cases += n_cases;
  counts.n_equal += n_equal;
}

/// Every vocabulary of the folder, as pairs or as a refusal that names the family.
Counts compare_folder(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> vocabs;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".gguf") vocabs.push_back(entry.path());
  }
  std::sort(vocabs.begin(), vocabs.end());
  Counts counts;
  for (const auto& vocab : vocabs) {
    const auto model = apr::format::open_model(vocab.string());
    ++counts.n_files;
    try {
      const auto tokenizer = Tokenizer::from_model(model);
      if (std::filesystem::exists(vocab.string() + ".inp")) compare_pairs(vocab, tokenizer, counts);
    } catch (const apr::Error& error) {
      const bool by_name = error.code == apr::ErrorCode::ModelLoad && error.field == "tokenizer.ggml.model";
      std::printf("%-36s %s: %s\n", vocab.filename().c_str(), by_name ? "refused by name" : "FAILED", error.what());
      by_name ? ++counts.n_refused : ++counts.n_cases;
    }
  }
  return counts;
}

std::uint32_t take_number(std::istream& in) {
  std::uint32_t n = 0;
  for (int i = 0; i < 4; ++i) n |= static_cast<std::uint32_t>(in.get()) << (8 * i);
  return n;
}

std::uint32_t ids_digest(const Tokenizer& tokenizer, const std::string& text) {
  const auto plain = tokenizer.encode(text, {.add_special = false, .parse_special = false});
  const auto special = tokenizer.encode(text, {.add_special = true, .parse_special = true});
  tokenizer_strings::Digest digest;
  digest.add(plain);
  digest.add(special);
  digest.add(tokenizer.decode(plain, {.keep_special = false}));
  digest.add(tokenizer.decode(special, {.keep_special = true}));
  return digest.value();
}

std::uint32_t words_digest(const apr::model::tok::PreTokenizer& rule, const std::string& text) {
  const apr::model::tok::SplitText split(text);
  tokenizer_strings::Digest digest;
  for (const auto& word : rule.split(split)) digest.add(split.bytes(word.begin, word.end));
  return digest.value();
}

/// What answers to the texts of one record: "VOCAB" by its ids, "split PRE" by the words of a rule.
std::function<std::uint32_t(const std::string&)> answer_of(const std::filesystem::path& folder,
                                                           const std::string& name) {
  if (name.starts_with("split ")) {
    const auto* row = apr::model::tok::find_pre_tokenizer(std::string_view(name).substr(6));
    if (row == nullptr) throw apr::Error(apr::ErrorCode::NotFound, "no such pre-tokenizer").got(name);
    return [rule = make_pre_tokenizer(*row)](const std::string& text) { return words_digest(rule, text); };
  }
  const auto model = apr::format::open_model((folder / ("ggml-vocab-" + name + ".gguf")).string());
  return [tokenizer = Tokenizer::from_model(model)](const std::string& text) { return ids_digest(tokenizer, text); };
}

/// Records: length and name, the number of texts, one digest for each text.
Counts compare_goldens(const std::filesystem::path& folder, const std::string& path) {
  std::istringstream in(contents(path));
  Counts counts;
  while (in.peek() != std::istringstream::traits_type::eof()) {
    std::string name(take_number(in), '\0');
    in.read(name.data(), static_cast<std::streamsize>(name.size()));
    const auto n_texts = take_number(in);
    if (!in) throw apr::Error(apr::ErrorCode::InvalidFormat, "ends within a record").at(path);
    const auto answer = answer_of(folder, name);
    int n_equal = 0, n_shown = 0;
    for (std::uint32_t i = 0; i < n_texts; ++i) {
      const auto text = tokenizer_strings::text(i);
      if (answer(text) == take_number(in)) {
        ++n_equal;
      } else if (n_shown++ < 3) {
        std::printf("  DIFFERS %s text %u \"%s\"\n", name.c_str(), i, apr::escaped(text, 400).c_str());
      }
    }
    std::printf("%-36s %4u random texts, %4d equal\n", name.c_str(), n_texts, n_equal);
    ++counts.n_files;
    counts.n_cases += static_cast<int>(n_texts);
    counts.n_equal += n_equal;
  }
  return counts;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: tokenizer_cases VOCAB_DIR GOLDEN\n");
    return 2;
  }
  try {
    const auto pairs = compare_folder(argv[1]);
    const auto random = compare_goldens(argv[1], argv[2]);
    std::printf("pairs:  %d files, %d refused by name, %d cases, %d equal\n", pairs.n_files, pairs.n_refused,
                pairs.n_cases, pairs.n_equal);
    std::printf("random: %d vocabularies and rules, %d texts, %d equal\n", random.n_files, random.n_cases,
                random.n_equal);
    const auto good = [](const Counts& counts) { return counts.n_cases > 0 && counts.n_equal == counts.n_cases; };
    if (pairs.n_cases == 0 || random.n_cases == 0) std::printf("nothing compared: that is a failure\n");
    return good(pairs) && good(random) ? 0 : 1;
  } catch (const std::exception& error) {
    std::printf("FAILED: %s\n", error.what());
    return 1;
  }
}
