// Asks llama.cpp for the ids and texts that tests/conformance/tokenizer_cases.cpp compares with: one 32-bit digest a
// text. Built and run by make_llama_cpp.sh. Usage: make_llama_cpp VOCAB_DIR OUT.bin < list of "VOCAB N_TEXTS" and
// "split N_TEXTS PRE"
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>

#include "llama-model.h"
#include "llama-vocab.cpp"  // its class of BPE rules is visible nowhere else
#include "llama.h"
#include "tests/conformance/tokenizer_strings.h"

namespace {

std::vector<std::int32_t> encode(const llama_vocab* vocab, const std::string& text, bool add_special,
                                 bool parse_special) {
  std::vector<std::int32_t> ids(4 * text.size() + 16);
  const auto n = llama_tokenize(vocab, text.data(), static_cast<int>(text.size()), ids.data(),
                                static_cast<int>(ids.size()), add_special, parse_special);
  if (n < 0) std::abort();
  ids.resize(static_cast<std::size_t>(n));
  return ids;
}

std::string decode(const llama_vocab* vocab, const std::vector<std::int32_t>& ids, bool keep_special) {
  std::string out(64 * ids.size() + 4096, '\0');
  const auto n = llama_detokenize(vocab, ids.data(), static_cast<int>(ids.size()), out.data(),
                                  static_cast<int>(out.size()), false, keep_special);
  if (n < 0) std::abort();
  out.resize(static_cast<std::size_t>(n));
  return out;
}

void put_number(std::ofstream& out, std::uint32_t n) {
  for (int i = 0; i < 4; ++i) out.put(static_cast<char>(n >> (8 * i)));
}

std::uint32_t ids_digest(const llama_vocab* vocab, const std::string& text) {
  const auto plain = encode(vocab, text, false, false);
  const auto special = encode(vocab, text, true, true);
  tokenizer_strings::Digest digest;
  digest.add(plain);
  digest.add(special);
  digest.add(decode(vocab, plain, false));
  digest.add(decode(vocab, special, true));
  return digest.value();
}

/// The words that the rule of the vocabulary's pre-tokenizer cuts a text into.
std::uint32_t words_digest(const llm_tokenizer_bpe& rule, const std::string& text) {
  tokenizer_strings::Digest digest;
  for (const auto& word : unicode_regex_split(text, rule.regex_exprs, false)) {
    if (!word.empty()) digest.add(word);
  }
  return digest.value();
}

llama_model* open(const std::string& path, const std::string& pre) {
  auto params = llama_model_default_params();
  params.vocab_only = true;
  llama_model_kv_override overrides[2] = {};
  if (!pre.empty()) {
    overrides[0].tag = LLAMA_KV_OVERRIDE_TYPE_STR;
    std::strncpy(overrides[0].key, "tokenizer.ggml.pre", sizeof overrides[0].key - 1);
    std::strncpy(overrides[0].val_str, pre.c_str(), sizeof overrides[0].val_str - 1);
    params.kv_overrides = overrides;
  }
  return llama_model_load_from_file(path.c_str(), params);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  llama_log_set(
      [](ggml_log_level level, const char* text, void*) {
        if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
      },
      nullptr);
  llama_backend_init();
  std::ofstream out(argv[2], std::ios::binary);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string name, pre;
    std::uint32_t n_texts = 0;
    words >> name >> n_texts >> pre;
    const bool split = name == "split";
    auto* model = open(std::string(argv[1]) + "/ggml-vocab-" + (split ? "gpt-2" : name) + ".gguf", pre);
    if (model == nullptr) return 1;
    if (split) name += " " + pre;
    put_number(out, static_cast<std::uint32_t>(name.size()));
    out << name;
    put_number(out, n_texts);
    const auto rule = split ? std::make_unique<llm_tokenizer_bpe>(model->vocab) : nullptr;
    for (std::uint32_t i = 0; i < n_texts; ++i) {
      const auto text = tokenizer_strings::text(i);
      put_number(out, split ? words_digest(*rule, text) : ids_digest(llama_model_get_vocab(model), text));
    }
    std::fprintf(stderr, "%s: %u texts\n", name.c_str(), n_texts);
    llama_model_free(model);
  }
  return out.good() ? 0 : 1;
}
