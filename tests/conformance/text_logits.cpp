// Logits of every position of a text, as raw float32 rows: what divergence.py compares.
// usage: text_logits MODEL exact|fast|fast-q8_0 TEXT N_TOKENS IDS_OUT LOGITS_OUT [N_THREADS]
// The text's first N_TOKENS tokens (BOS where the model wants it) are run from position 0 in one context; IDS_OUT gets
// them as int32, so that others run the same ones.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "apr/core/error.h"
#include "apr/engine/executor.h"
#include "apr/model/architecture.h"
#include "apr/model/tokenizer.h"

namespace {

std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw apr::Error(apr::ErrorCode::NotFound, "cannot be read").at(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

template <class T>
void put(std::ofstream& out, std::span<const T> values) {
  out.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size_bytes()));
}

int run(char** argv, unsigned n_threads) {
  const apr::model::Model model = apr::model::load_model(argv[1]);
  const auto tokenizer = apr::model::Tokenizer::from_model(*model.file);
  const auto n_tokens = static_cast<std::size_t>(std::atoll(argv[4]));
  auto ids = tokenizer.encode(contents(argv[3]), {.add_special = true, .parse_special = false});
  if (n_tokens < 2 || ids.size() < n_tokens) {
    std::fprintf(stderr, "the text has %zu tokens, %zu are asked for\n", ids.size(), n_tokens);
    return 1;
  }
  ids.resize(n_tokens);
  const apr::engine::ExecutorOptions options{
      .n_ctx = static_cast<std::uint32_t>(n_tokens),
      .n_batch = 256,
      .n_threads = n_threads,
      .kv_type = std::string(argv[2]) == "fast-q8_0" ? apr::TensorType::Q8_0 : apr::TensorType::F16};
  const auto executor = std::string(argv[2]) == "exact" ? apr::engine::make_exact_executor(model.plan, options)
                                                        : apr::engine::make_fast_executor(model.plan, options);
  std::ofstream ids_out(argv[5], std::ios::binary), logits_out(argv[6], std::ios::binary);
  put(ids_out, std::span<const std::int32_t>(ids));
  std::vector<float> logits;
  for (std::size_t at = 0; at < ids.size(); at += options.n_batch) {
    const auto batch = std::span(ids).subspan(at, std::min<std::size_t>(options.n_batch, ids.size() - at));
    logits.assign(batch.size() * model.plan.hparams.n_vocab, 0);
    executor->forward(batch, static_cast<std::uint32_t>(at), apr::engine::LogitsRequest::All, logits);
    put(logits_out, std::span<const float>(logits));
  }
  std::printf("%s: %zu tokens, %u logits each\n", std::string(executor->name()).c_str(), ids.size(),
              model.plan.hparams.n_vocab);
  return ids_out && logits_out ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string kind = argc > 2 ? argv[2] : "";
  if (argc < 7 || argc > 8 || (kind != "exact" && kind != "fast" && kind != "fast-q8_0")) {
    std::fprintf(stderr,
                 "usage: text_logits MODEL exact|fast|fast-q8_0 TEXT N_TOKENS IDS_OUT LOGITS_OUT [N_THREADS]\n");
    return 2;
  }
  try {
    return run(argv, argc == 8 ? static_cast<unsigned>(std::atoi(argv[7])) : 0);
  } catch (const apr::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
