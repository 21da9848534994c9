#include "apr/core/error.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace apr {
namespace {

constexpr ErrorCode kAll[] = {
    ErrorCode::Internal,         ErrorCode::Usage,     ErrorCode::NotFound,   ErrorCode::InvalidFormat,
    ErrorCode::ValidationFailed, ErrorCode::ModelLoad, ErrorCode::Io,         ErrorCode::Inference,
    ErrorCode::Unsupported,      ErrorCode::Network,   ErrorCode::Interrupted};

TEST(Error, ExitStatusesAreTheDocumentedOnes) {
  const int expected[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130};
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < std::size(kAll); ++i) {
    EXPECT_EQ(exit_status(kAll[i]), expected[i]);
    names.insert(name(kAll[i]));
  }
  EXPECT_EQ(names.size(), std::size(kAll));
}

TEST(Error, OneLineHoldsEveryPart) {
  const Error error = Error(ErrorCode::InvalidFormat, "string too long")
                          .at("m.gguf", 32)
                          .in("metadata[1].key")
                          .want("at most 8")
                          .got("9")
                          .help("download it again");
  EXPECT_STREQ(
      error.what(),
      "m.gguf: offset 32 (0x20): metadata[1].key: string too long; expected at most 8; found 9 (download it again)");
}

TEST(Error, FindingKeepsItsPlace) {
  Finding finding;
  finding.message = "overlap";
  finding.file = "a.gguf";
  finding.offset = 7;
  finding.field = "tensor[0].offset";
  const Error error = to_error(finding);
  EXPECT_EQ(error.code, ErrorCode::InvalidFormat);
  EXPECT_EQ(error.offset, 7U);
  EXPECT_EQ(error.field, "tensor[0].offset");
}

TEST(Error, BrokenAssumptionIsInternal) {
  try {
    APR_CHECK(1 + 1 == 3);
    FAIL() << "APR_CHECK let a false condition pass";
  } catch (const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::Internal);
    EXPECT_NE(error.message.find("1 + 1 == 3"), std::string::npos);
  }
}

}  // namespace
}  // namespace apr
