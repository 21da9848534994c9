// Files that the safetensors package made (tests/golden/safetensors/make.py), read back as the package reads them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "apr/core/hash.h"
#include "apr/format/writer.h"
#include "src/format/json_write.h"
#include "tests/support/json_builder.h"
#include "tests/support/paths.h"

namespace apr::format {
namespace {

const std::string kFolder = test::source_dir() + "/tests/golden/safetensors/data/";

/// Name, dtype, shape and digest of the data: a line of the golden list.
std::string line_of(const ModelFile& model, const TensorInfo& tensor) {
  std::string line;
  append_json_string(line, tensor.name);
  line += "\t" + std::string(tensor.raw_type_name) + "\t[";
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) line += (i > 0 ? "," : "") + std::to_string(tensor.shape[i]);
  return line + "]\t" + sha256(model.data(tensor));
}

std::vector<std::string> listing(const ModelFile& model) {
  std::vector<std::string> lines;
  for (const TensorInfo& tensor : model.tensors) lines.push_back(line_of(model, tensor));
  std::sort(lines.begin(), lines.end());
  return lines;
}

std::vector<std::string> golden_listing() {
  std::istringstream in(test::read_whole(kFolder + "all_dtypes.txt"));
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    const std::size_t escape = line.find("\\n\\u00e9");  // Python's json escapes what apr writes plainly
    if (escape != std::string::npos) line.replace(escape, 8, "\\u000a\xC3\xA9");
    lines.push_back(line);
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

TEST(SafeTensorsGolden, EveryDtypeAsThePackageReadsIt) {
  const ModelFile model = open_model(kFolder + "all_dtypes.safetensors");
  EXPECT_FALSE(model.has_errors());
  const auto expected = golden_listing();
  ASSERT_GE(expected.size(), 20U);
  EXPECT_EQ(listing(model), expected);
  ASSERT_EQ(model.metadata.size(), 2U);
  EXPECT_EQ(model.find_metadata("format")->value.as_string(), "pt");
}

TEST(SafeTensorsGolden, WrittenAgainItIsTheSameModel) {
  const ModelFile model = open_model(kFolder + "all_dtypes.safetensors");
  const test::TempFolder folder;
  const std::string path = folder.path("again");
  const auto writer = make_writer(Format::SafeTensors, path);
  std::vector<WriteEntry> metadata;
  for (const MetadataEntry& entry : model.metadata)
    metadata.push_back({std::string(entry.key), WriteValue::copy_of(entry.value)});
  std::vector<TensorDecl> declarations;
  for (const TensorInfo& tensor : model.tensors)
    declarations.push_back({std::string(tensor.name), tensor.type, tensor.shape});
  writer->begin(metadata, declarations);
  for (const TensorInfo& tensor : model.tensors) {
    writer->write(model.data(tensor));
    writer->end_tensor();
  }
  writer->finish();
  const ModelFile again = open_model(path);
  EXPECT_EQ(listing(again), golden_listing());
}

TEST(SafeTensorsGolden, ShardsOfThePackage) {
  const ModelFile model = open_model(kFolder);
  EXPECT_TRUE(model.findings.empty());
  EXPECT_EQ(model.files.size(), 2U);
  EXPECT_EQ(model.tensors.size(), 4U);
}

}  // namespace
}  // namespace apr::format
