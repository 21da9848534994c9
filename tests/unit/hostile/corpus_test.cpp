// What the tables of this folder share: how a row is held against the program, and that none of the list is missing.
#include "tests/unit/hostile/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>

#include <filesystem>
#include <map>
#include <set>

#include "apr/core/checked.h"
#include "apr/diag/diag.h"
#include "apr/format/model_file.h"
#include "apr/model/chat_template.h"
#include "apr/model/hparams.h"
#include "apr/model/tokenizer.h"
#include "apr/qa/qa.h"

namespace apr::test {
namespace {

using ::testing::HasSubstr;

struct Seen {
  std::optional<Error> refusal;
  std::vector<Finding> findings;
  [[nodiscard]] std::string all() const {
    std::string text = refusal ? std::string("\n  refused: ") + refusal->what() : "";
    for (const Finding& f : findings)
      text += "\n  " + std::string(name(f.severity)) + " " + f.rule + " field " + f.field + ": " + to_error(f).what();
    return text.empty() ? "nothing was found" : text;
  }
};

/// Holds for any file that opens: tensors that are called readable can be read, regions do not leave their file.
void check_tables(const format::ModelFile& model) {
  for (const format::TensorInfo& tensor : model.tensors)
    if (tensor.readable) EXPECT_EQ(model.data(tensor).size(), tensor.size_bytes) << tensor.name;
  std::map<std::uint32_t, std::uint64_t> end;
  for (const format::Region& region : model.regions) {
    ASSERT_LT(region.file_index, model.files.size());
    EXPECT_TRUE(range_fits(region.offset, region.size_bytes, model.files[region.file_index]->size())) << region.name;
    EXPECT_GE(region.offset, end[region.file_index]) << region.name;
    end[region.file_index] = region.offset + region.size_bytes;
  }
  for (const Finding& finding : model.findings)
    if (finding.offset && !model.files.empty() && finding.file == model.files[0]->path())
      EXPECT_LE(*finding.offset, model.files[0]->size()) << finding.rule;
}

void render(const format::ModelFile& model) {
  const auto* entry = model.find_metadata("tokenizer.chat_template");
  ASSERT_TRUE(entry != nullptr && entry->value.as_string());
  const auto parsed = model::ChatTemplate::parse(*entry->value.as_string(), "tokenizer.chat_template");
  model::TemplateContext context;
  context.messages = {{"user", "hello"}};
  EXPECT_LT(parsed.render(context).size(), 1U << 20);
}

Seen take(const std::string& path, Stage stage) {
  Seen seen;
  try {
    const auto model = format::open_model(path, {.verify_data = stage == Stage::Verify});
    if (stage == Stage::Shrinks) std::filesystem::resize_file(path, 100);
    if (stage == Stage::Grows) std::filesystem::resize_file(path, std::filesystem::file_size(path) + 1);
    check_tables(model);
    if (stage == Stage::Shrinks || stage == Stage::Grows) {
      std::uint64_t sum = 0;
      for (const std::byte byte : model.data(model.tensors.at(0))) sum += std::to_integer<unsigned>(byte);
      EXPECT_TRUE(sum == 0 || stage == Stage::Grows) << "gone pages read as zero";
      model.check_intact();
    }
    seen.findings = model.findings;
    if (stage == Stage::Hparams) (void)model::parse_hparams(model, seen.findings);
    if (stage == Stage::Template) render(model);
    if (stage == Stage::Tokenizer) {
      const auto tokenizer = model::Tokenizer::from_model(model);
      seen.findings.insert(seen.findings.end(), tokenizer.findings().begin(), tokenizer.findings().end());
      for (std::int32_t id = 0; id < tokenizer.n_vocab(); ++id) EXPECT_LE(tokenizer.decode({&id, 1}).size(), 1U << 16);
      (void)tokenizer.encode("hello <0x-1> \xff\n");
    }
    if (stage == Stage::Values)
      for (Finding& finding : diag::diagnose(model, {}).findings) seen.findings.push_back(std::move(finding));
    if (stage == Stage::Gate) {
      qa::QaOptions options;
      options.only = {"values"};
      options.n_threads = 1;
      for (const qa::GateResult& gate : qa::run_gates(path, options).gates) {
        if (gate.gate != qa::Gate::Values) continue;
        EXPECT_EQ(gate.verdict, qa::Verdict::Fail) << gate.message;
        seen.findings.insert(seen.findings.end(), gate.findings.begin(), gate.findings.end());
      }
    }
  } catch (const Error& failure) {
    seen.refusal = failure;
  }
  return seen;
}

void check_refusal(const Made& made, const Seen& seen) {
  ASSERT_TRUE(seen.refusal) << "was not refused: " << seen.all();
  EXPECT_EQ(name(seen.refusal->code), name(made.code)) << seen.all();
  EXPECT_THAT(seen.refusal->message, HasSubstr(made.rule));
  EXPECT_EQ(seen.refusal->offset, made.offset) << seen.all();
  EXPECT_EQ(seen.refusal->field, made.field) << seen.all();
  EXPECT_THAT(seen.refusal->found, HasSubstr(made.found));
  EXPECT_TRUE(!seen.refusal->file.empty() || made.stage == Stage::Template || made.input.empty()) << seen.all();
}

void check_finding(const Made& made, const Seen& seen) {
  ASSERT_FALSE(seen.refusal) << seen.all();
  const Severity severity = made.outcome == Outcome::Error ? Severity::Error : Severity::Warning;
  bool has_errors = false;
  const Finding* match = nullptr;
  for (const Finding& finding : seen.findings) {
    has_errors |= finding.severity == Severity::Error;
    if (match == nullptr && finding.rule == made.rule && finding.severity == severity && finding.field == made.field &&
        finding.offset == made.offset && finding.found.find(made.found) != std::string::npos)
      match = &finding;
  }
  ASSERT_NE(match, nullptr) << "expected " << name(severity) << " " << made.rule << " in " << made.field << " at "
                            << (made.offset ? std::to_string(*made.offset) : "no offset") << "; there is" << seen.all();
  EXPECT_FALSE(match->file.empty());
  EXPECT_FALSE(match->message.empty());
  EXPECT_FALSE(match->field.empty() && match->tensor.empty());
  EXPECT_EQ(has_errors, made.outcome == Outcome::Error) << seen.all();
}

}  // namespace

void check_case(const Case& c) {
  const TempFolder folder;
  const Made made = c.make(folder);
  const Seen seen = take(made.is_path ? made.input : folder.write("model.bin", made.input), made.stage);
  switch (made.outcome) {
    case Outcome::Refused: return check_refusal(made, seen);
    case Outcome::Error:
    case Outcome::Warning: return check_finding(made, seen);
    case Outcome::Clean: EXPECT_TRUE(!seen.refusal && seen.findings.empty()) << seen.all();
  }
}

namespace {

TEST_P(GgufCorpus, Row) { check_case(GetParam()); }
TEST_P(SafeTensorsCorpus, Row) { check_case(GetParam()); }
TEST_P(AprCorpus, Row) { check_case(GetParam()); }

// The published list has 89 + 35 + 7 cases; a row that is lost must not go unnoticed.
TEST(Corpus, HasEveryCaseOfTheList) {
  std::set<std::string> expected, present, names;
  const auto count = [&expected](char letter, int n) {
    for (int i = 1; i <= n; ++i) expected.insert(letter + std::string(i < 10 ? "0" : "") + std::to_string(i));
  };
  count('G', 89);
  count('S', 35);
  count('A', 7);
  std::size_t n_rows = 0;
  for (const Cases& list :
       {gguf_header_cases(), gguf_metadata_cases(), gguf_tensor_cases(), gguf_layout_cases(), gguf_model_cases(),
        gguf_file_cases(), safetensors_header_cases(), safetensors_data_cases(), apr_cases()})
    for (const Case& c : list) {
      ++n_rows;
      present.insert(c.id);
      EXPECT_TRUE(names.insert(c.id + "_" + c.variant).second) << c.id << " " << c.variant << " stands twice";
      EXPECT_TRUE(expected.count(c.id) == 1 || c.id.starts_with("X")) << c.id << " is not of the list";
    }
  EXPECT_EQ(expected.size(), 131U);
  for (const std::string& id : expected) EXPECT_EQ(present.count(id), 1U) << id << " has no row";
  RecordProperty("rows", static_cast<int>(n_rows));
}

// A row with the wrong expectation must fail: each part of the comparison, once.
TEST(Corpus, ComparesEveryPart) {
  const std::string bytes = "GGUF";
  const auto fails = [](const Made& made) {
    testing::TestPartResultArray failures;
    {
      testing::ScopedFakeTestPartResultReporter reporter(
          testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
      check_case({"X00", "", [&made](const TempFolder&) { return made; }});
    }
    return failures.size() > 0;
  };
  const char* message = "the file ends inside the GGUF header";
  EXPECT_FALSE(fails(refused(bytes, message, 4, "header", "4 bytes")));
  EXPECT_TRUE(fails(refused(bytes, "another message", 4, "header")));
  EXPECT_TRUE(fails(refused(bytes, message, 5, "header")));
  EXPECT_TRUE(fails(refused(bytes, message, std::nullopt, "header")));
  EXPECT_TRUE(fails(refused(bytes, message, 4, "magic")));
  EXPECT_TRUE(fails(refused(bytes, message, 4, "header", "5 bytes")));
  EXPECT_TRUE(fails(refused(bytes, message, 4, "header").with_code(ErrorCode::Io)));
  EXPECT_TRUE(fails(clean(bytes)));
  const std::string empty = std::string("GGUF\3\0\0\0", 8) + std::string(16, '\0');
  const char* rule = "gguf.tensors.none";
  EXPECT_FALSE(fails(warning(empty, rule, 8, "header.tensor_count", "0")));
  EXPECT_TRUE(fails(error(empty, rule, 8, "header.tensor_count")));
  EXPECT_TRUE(fails(warning(empty, "gguf.other", 8, "header.tensor_count")));
  EXPECT_TRUE(fails(warning(empty, rule, 9, "header.tensor_count")));
  EXPECT_TRUE(fails(warning(empty, rule, 8, "header")));
  EXPECT_TRUE(fails(warning(empty, rule, 8, "header.tensor_count", "1")));
  EXPECT_TRUE(fails(clean(empty)));
  EXPECT_TRUE(fails(refused(empty, message, 4, "header")));
}

}  // namespace
}  // namespace apr::test
