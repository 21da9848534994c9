#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "apr/convert/synth.h"
#include "apr/core/error.h"
#include "apr/core/file.h"
#include "apr/core/hash.h"
#include "apr/format/model_file.h"
#include "apr/kernels/dispatch.h"
#include "src/convert/synth_output.h"

namespace apr::convert {
namespace {

namespace fs = std::filesystem;
using format::Format;

class SynthFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("apr_synth_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override {
    interrupted = false;
    fs::remove_all(folder_);
  }
  SynthOptions options(const std::string& name, std::string preset = "tiny", std::string quant = "q4_k_m") const {
    SynthOptions o;
    o.path = (folder_ / name).string();
    o.preset = std::move(preset);
    o.quant = std::move(quant);
    o.n_threads = 2;
    return o;
  }
  std::string digest(const std::string& name) const { return sha256(MappedFile((folder_ / name).string()).bytes()); }
  std::size_t n_files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator{}));
  }
  fs::path folder_;
};

// The error that `work` throws; fails the test when it throws none.
template <class Work>
Error error_of(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorCode::Internal, "nothing was thrown");
}

TEST_F(SynthFile, SameSeedSameBytesWithAnyNumberOfThreads) {
  for (const char* preset : {"tiny", "tiny-gemma3"}) {
    std::string first;
    for (const unsigned n_threads : {1U, 2U, 3U}) {
      SynthOptions o = options("threads.gguf", preset);
      o.n_threads = n_threads;
      o.force = true;
      synth(o);
      const std::string now = digest("threads.gguf");
      if (first.empty()) first = now;
      EXPECT_EQ(now, first) << n_threads;
    }
  }
}

TEST_F(SynthFile, SameSeedSameBytesOnEveryInstructionSet) {
  const std::string_view active = kernels::active().isa;
  for (const char* quant : {"q4_k_m", "q5_k_m", "q8_0", "q4_0", "q5_1", "bf16"}) {
    std::string first;
    std::size_t compared = 0;
    for (const kernels::IsaVariant& variant : kernels::isa_variants()) {
      if (!variant.runs_here) continue;
      kernels::force_isa(variant.name);
      SynthOptions o = options("isa.gguf", "tiny", quant);
      o.force = true;
      synth(o);
      const std::string now = digest("isa.gguf");
      if (first.empty()) first = now;
      EXPECT_EQ(now, first) << variant.name << " " << quant;
      ++compared;
    }
    EXPECT_GE(compared, 1U);
  }
  kernels::force_isa(active);
}

TEST_F(SynthFile, AnotherSeedGivesOtherBytes) {
  SynthOptions o = options("one.gguf");
  synth(o);
  o = options("two.gguf");
  o.seed = 2;
  synth(o);
  EXPECT_NE(digest("one.gguf"), digest("two.gguf"));
}

// Drawn weights in types that round by definition, so that a better quantiser does not change these.
TEST_F(SynthFile, GoldenDigestsOfTiny) {
  synth(options("tiny.gguf", "tiny", "f16"));
  EXPECT_EQ(digest("tiny.gguf"), "22c8f50eee7c3a26c6b146303621cd45f7d64ef48a4197f20b8ac51df1a60ccd");
  SynthOptions o = options("tiny.safetensors", "tiny", "bf16");
  o.format = Format::SafeTensors;
  synth(o);
  EXPECT_EQ(digest("tiny.safetensors"), "303a107042bbb78e91f2308e0286be2254747569c2d0979004cb5f6b299afbb7");
  o = options("tiny.apr", "tiny", "f16");
  o.format = Format::Apr;
  synth(o);
  EXPECT_EQ(digest("tiny.apr"), "296a1e60dfed56e407c1325d66ba9b8c695ebadb489e6c5d574e9326742a54cf");
}

TEST_F(SynthFile, EveryTinyModelReopensWithoutAnyFinding) {
  struct Case {
    const char* file;
    const char* preset;
    const char* quant;
    Format format;
  };
  std::size_t n_opened = 0;
  for (const Case& c : {Case{"a.gguf", "tiny", "q4_k_m", Format::Gguf},
                        {"b.gguf", "tiny-qwen2", "q5_k_s", Format::Gguf},
                        {"c.gguf", "tiny-qwen3", "f32", Format::Gguf},
                        {"d.gguf", "tiny-gemma3", "q4_k_m", Format::Gguf},
                        {"e.safetensors", "tiny", "f32", Format::SafeTensors},
                        {"f.safetensors", "tiny-gemma3", "bf16", Format::SafeTensors},
                        {"g.apr", "tiny", "q4_k_m", Format::Apr},
                        {"h.apr", "tiny-qwen3", "f16", Format::Apr},
                        {"i.apr", "tiny-gemma3", "f32", Format::Apr}}) {
    SCOPED_TRACE(c.file);
    SynthOptions o = options(c.file, c.preset, c.quant);
    o.format = c.format;
    const SynthReport report = synth(o);
    const format::ModelFile model = format::open_model(o.path, {.verify_data = true});
    for (const Finding& finding : model.findings) ADD_FAILURE() << finding.rule << ": " << finding.message;
    EXPECT_EQ(model.format, c.format);
    EXPECT_EQ(model.tensors.size(), report.n_tensors);
    EXPECT_EQ(model.n_parameters(), report.n_parameters);
    EXPECT_EQ(model.total_bytes(), report.model_bytes);
    for (const format::TensorInfo& t : model.tensors) EXPECT_TRUE(t.readable) << t.name;
    ++n_opened;
  }
  EXPECT_EQ(n_opened, 9U);
}

std::vector<float> floats(const format::ModelFile& model, std::string_view name) {
  const format::TensorInfo* tensor = model.find_tensor(name);
  if (tensor == nullptr) {
    ADD_FAILURE() << name << " is missing";
    return {};
  }
  const std::span<const std::byte> bytes = model.data(*tensor);
  std::vector<float> values(bytes.size() / sizeof(float), NAN);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TEST_F(SynthFile, WeightsHaveTheSpreadOfTheirRole) {
  synth(options("f32.gguf", "tiny-qwen2", "f32"));
  const format::ModelFile model = format::open_model((folder_ / "f32.gguf").string());
  struct Case {
    const char* name;
    double mean, deviation;
  };
  // 256 inputs: 1 / 16 times the gain of the role; spreads and outliers widen it by a few percent.
  for (const Case& c : {Case{"token_embd.weight", 0, 0.02},
                        {"blk.1.attn_q.weight", 0, 1.2 / 16},
                        {"blk.1.attn_v.weight", 0, 1.0 / 16},
                        {"blk.2.ffn_up.weight", 0, 1.0 / 16},
                        {"blk.2.attn_output.weight", 0, 0.7 / 16},
                        {"blk.3.attn_norm.weight", 1, 0.15},
                        {"blk.3.attn_q.bias", 0, 0.5},
                        {"output_norm.weight", 1, 0.15}}) {
    const std::vector<float> values = floats(model, c.name);
    double mean = 0, square = 0;
    for (const float v : values) {
      ASSERT_TRUE(std::isfinite(v));
      mean += v / static_cast<double>(values.size());
    }
    for (const float v : values) square += (v - mean) * (v - mean) / static_cast<double>(values.size());
    EXPECT_LT(std::fabs(mean - c.mean), 0.25 * c.deviation) << c.name;
    EXPECT_GT(std::sqrt(square), 0.85 * c.deviation) << c.name;
    EXPECT_LT(std::sqrt(square), 1.25 * c.deviation) << c.name;
  }
}

TEST_F(SynthFile, AllFormatsHoldTheSameModel) {
  SynthOptions o = options("m.gguf", "tiny", "f32");
  synth(o);
  o = options("m.safetensors", "tiny", "f32");
  o.format = Format::SafeTensors;
  synth(o);
  o = options("m.apr", "tiny", "f32");
  o.format = Format::Apr;
  synth(o);
  const format::ModelFile gguf = format::open_model((folder_ / "m.gguf").string());
  const format::ModelFile hf = format::open_model((folder_ / "m.safetensors").string());
  const format::ModelFile apr = format::open_model((folder_ / "m.apr").string());
  EXPECT_EQ(floats(gguf, "blk.2.ffn_down.weight"), floats(hf, "model.layers.2.mlp.down_proj.weight"));
  EXPECT_EQ(gguf.tensors.size(), apr.tensors.size());
  EXPECT_EQ(gguf.n_parameters(), apr.n_parameters());
  // Head 1, first half, element 3 of the published query rows is row 6 of that head in the GGUF.
  const std::vector<float> q = floats(gguf, "blk.0.attn_q.weight");
  const std::vector<float> published = floats(hf, "model.layers.0.self_attn.q_proj.weight");
  ASSERT_EQ(q.size(), published.size());
  EXPECT_NE(q, published);
  EXPECT_TRUE(
      std::equal(published.begin() + (64 + 3) * 256, published.begin() + (64 + 4) * 256, q.begin() + (64 + 6) * 256));
}

TEST_F(SynthFile, ADirectoryGetsTheFilesOfAPublishedModel) {
  for (const char* preset : {"tiny", "tiny-qwen2", "tiny-gemma3"}) {
    SCOPED_TRACE(preset);
    SynthOptions o = options(std::string(preset) + "/", preset, "bf16");
    o.format = Format::SafeTensors;
    const SynthReport report = synth(o);
    ASSERT_EQ(report.files.size(), 4U);
    const format::ModelFile model = format::open_model(o.path);
    EXPECT_TRUE(model.findings.empty());
    EXPECT_GE(model.companions.size(), 2U);
    std::vector<nlohmann::json> parsed;
    for (std::size_t i = 1; i < 4; ++i) parsed.push_back(nlohmann::json::parse(std::ifstream(report.files[i])));
    EXPECT_EQ(parsed[0].at("vocab_size"), 1024);
    EXPECT_EQ(parsed[0].at("num_attention_heads"), 4);
    EXPECT_EQ(parsed[1].at("model").at("type"), "BPE");
    const std::string eos = parsed[2].at("eos_token");
    EXPECT_TRUE(
        std::ranges::any_of(parsed[1].at("added_tokens"), [&](const auto& t) { return t.at("content") == eos; }));
    for (const nlohmann::json& token : parsed[1].at("added_tokens")) {
      EXPECT_LT(token.at("id").get<unsigned>(), 1024U);
    }
  }
}

TEST_F(SynthFile, UnknownNamesAreRefusedWithTheNearest) {
  const Error preset = error_of([&] { synth(options("x.gguf", "qwen2.5-0.6b")); });
  EXPECT_EQ(preset.code, ErrorCode::Usage);
  EXPECT_NE(preset.hint.find("qwen2.5-0.5b"), std::string::npos);
  const Error quant = error_of([&] { synth(options("x.gguf", "tiny", "q4_k_n")); });
  EXPECT_EQ(quant.code, ErrorCode::Usage);
  EXPECT_NE(quant.hint.find("q4_k_"), std::string::npos);
  EXPECT_EQ(n_files(), 0U);
}

TEST_F(SynthFile, TypesThatAFormatCannotHoldAreRefusedByTensor) {
  struct Case {
    const char* preset;
    const char* quant;
    Format format;
    const char* found;
  };
  for (const Case& c : {Case{"tiny", "q8_0", Format::Apr, "Q8_0"},
                        {"tiny-gemma3", "q4_k_m", Format::Apr, "Q8_0"},
                        {"tiny", "q5_k_m", Format::Apr, "Q5_K"},
                        {"tiny", "q4_k_m", Format::SafeTensors, "Q4_K"}}) {
    SynthOptions o = options("x.bin", c.preset, c.quant);
    o.format = c.format;
    const Error error = error_of([&] { synth(o); });
    EXPECT_EQ(error.code, ErrorCode::Usage);
    EXPECT_NE(error.what(), nullptr);
    EXPECT_NE(error.field.find("tensor "), std::string::npos);
    EXPECT_NE((error.found + error.message).find(c.found), std::string::npos) << error.what();
    EXPECT_NE(error.hint.find("--quant"), std::string::npos) << error.hint;
  }
  EXPECT_EQ(n_files(), 0U);
}

TEST_F(SynthFile, AnExistingFileIsReplacedOnlyByForce) {
  std::ofstream(folder_ / "kept.gguf") << "precious";
  const Error error = error_of([&] { synth(options("kept.gguf")); });
  EXPECT_EQ(error.code, ErrorCode::Usage);
  EXPECT_NE(error.hint.find("--force"), std::string::npos);
  EXPECT_EQ(fs::file_size(folder_ / "kept.gguf"), 8U);
  SynthOptions o = options("kept.gguf");
  o.force = true;
  EXPECT_GT(synth(o).model_bytes, 1000000U);
  EXPECT_EQ(n_files(), 1U);
}

TEST_F(SynthFile, AMissingDirectoryIsNamed) {
  const Error error = error_of([&] { synth(options("nowhere/x.gguf")); });
  EXPECT_EQ(error.code, ErrorCode::NotFound);
  EXPECT_NE(error.file.find("nowhere"), std::string::npos);
}

TEST_F(SynthFile, TooLittleFreeSpaceIsRefusedWithBothNumbers) {
  const std::string path = (folder_ / "x.gguf").string();
  require_free_space(path, 1);
  const Error error = error_of([&] { require_free_space(path, std::uint64_t{1} << 62); });
  EXPECT_EQ(error.code, ErrorCode::Io);
  EXPECT_NE(error.expected.find("4,611,686,018,427,387,904"), std::string::npos) << error.expected;
  EXPECT_NE(error.found.find("free"), std::string::npos);
}

TEST_F(SynthFile, AFullDiskLeavesNoFile) {
  rlimit old_limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1 << 20, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Error error = error_of([&] { synth(options("full.gguf", "tiny", "f32")); });
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  signal(SIGXFSZ, old_handler);
  EXPECT_EQ(error.code, ErrorCode::Io);
  EXPECT_NE(std::string(error.what()).find("full.gguf"), std::string::npos);
  EXPECT_EQ(n_files(), 0U);
}

TEST_F(SynthFile, CtrlCLeavesNoFile) {
  SynthOptions o = options("stopped.gguf", "tiny", "f32");
  std::uint64_t last = 0;
  o.progress = [&](std::uint64_t done, std::uint64_t total) {
    ASSERT_GT(done, last);
    ASSERT_LE(done, total);
    last = done;
    if (done > total / 2) interrupted = true;
  };
  EXPECT_EQ(error_of([&] { synth(o); }).code, ErrorCode::Interrupted);
  EXPECT_GT(last, 0U);
  EXPECT_EQ(n_files(), 0U);
  interrupted = false;
  o.progress = nullptr;
  synth(o);
  EXPECT_EQ(n_files(), 1U);
}

TEST_F(SynthFile, MemoryIsBoundedByBuffersAndVocabularyNotByTheModel) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    try {
      _exit(synth(options("big.gguf", "gemma-3-270m", "f16")).model_bytes > 500000000 ? 0 : 1);
    } catch (...) {
      _exit(2);
    }
  }
  int status = -1;
  rusage usage{};
  ASSERT_EQ(wait4(child, &status, 0, &usage), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
#if defined(__SANITIZE_ADDRESS__)
  constexpr long kLimitKib = 1200 * 1024;  // shadow memory and quarantine come on top
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
  constexpr long kLimitKib = 1200 * 1024;
#else
  constexpr long kLimitKib = 250 * 1024;
#endif
#else
  constexpr long kLimitKib = 250 * 1024;
#endif
  EXPECT_LT(usage.ru_maxrss, kLimitKib);
  EXPECT_GT(usage.ru_maxrss, 1024);
}

}  // namespace
}  // namespace apr::convert
