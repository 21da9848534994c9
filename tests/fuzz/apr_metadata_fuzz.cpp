// The JSON metadata of an APR file, and the hyperparameters that are read from it.
#include "apr/model/hparams.h"
#include "apr/model/tokenizer.h"
#include "tests/fuzz/fuzz_support.h"
#include "tests/support/apr_builder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static apr::fuzz::MemoryFile file;
  apr::test::AprParts parts;
  parts.metadata.assign(reinterpret_cast<const char*>(data), size);
  parts.entries = {{"model.embed_tokens.weight", 0, {2, 3}, 0, 24}};
  parts.data.assign(24, 'a');
  const std::string bytes = parts.file();
  file.fill({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
  const auto model = apr::fuzz::open_and_check(file.path());
  if (!model) return 0;
  std::vector<apr::Finding> findings;
  (void)apr::model::parse_hparams(*model, findings);
  try {
    (void)apr::model::Tokenizer::from_model(*model).encode("a text");
  } catch (const apr::Error& error) {
    if (error.code != apr::ErrorCode::ModelLoad && error.code != apr::ErrorCode::Inference)
      apr::fuzz::broken(std::string("a vocabulary is refused as such: ") + error.what());
  }
  return 0;
}
