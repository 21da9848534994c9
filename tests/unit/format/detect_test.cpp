// What a file is, from its bytes.
#include "apr/format/detect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/gguf_builder.h"
#include "tests/support/open_bytes.h"

namespace apr::format {
namespace {

using namespace std::string_literals;
using ::testing::HasSubstr;

Detected detect_text(const std::string& bytes) {
  return detect({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, bytes.size());
}

/// A local zip header with a stored file of that name.
std::string zip_entry(const std::string& name) {
  std::string bytes = "PK\x03\x04"s + std::string(22, '\0') + static_cast<char>(name.size()) + "\0\0\0"s + name;
  return bytes + "content";
}

struct Named {
  std::string bytes;
  const char* what;
  const char* hint;
};

const std::vector<Named>& foreign_files() {
  static const std::vector<Named> files = {
      {"", "an empty file (0 bytes, need 24)", "cut off"},
      {"GGML\1\0\0\0"s + std::string(32, '\1'), "an old GGML file (magic GGML)", "GGUF"},
      {"lmgg"s + std::string(32, '\1'), "an old GGML file (magic ggml)", "GGUF"},
      {"GGMF"s + std::string(32, '\1'), "an old GGML file (magic GGMF)", "GGUF"},
      {"fmgg"s + std::string(32, '\1'), "an old GGML file (magic ggmf)", "GGUF"},
      {"GGJT"s + std::string(32, '\1'), "an old GGML file (magic GGJT)", "GGUF"},
      {"tjgg\3\0\0\0"s + std::string(32, '\1'), "an old GGML file (magic ggjt)", "GGUF"},
      {"ggla"s + std::string(32, '\1'), "an old GGML adapter (magic ggla)", "GGUF"},
      {"algg"s + std::string(32, '\1'), "an old GGML adapter (magic ggla)", "GGUF"},
      {"FUGG\0\0\0\3"s + std::string(32, '\0'), "a GGUF file with the bytes of its magic reversed", "swapped"},
      {"GG", "the first 2 bytes of a GGUF file or another one", "cut off"},
      {"APRN"s + std::string(28, '\1'), "APR version 1 (APRN)", "export"},
      {"APR1"s + std::string(28, '\1'), "APR of the first generation (APR1)", "export"},
      {"APR2"s + std::string(28, '\1'), "APR under the retired magic APR2", "export"},
      {"<!DOCTYPE html><html>", "an HTML page", "download"},
      {"<!doctype HTML>", "an HTML page", "download"},
      {"\xEF\xBB\xBF \r\n\t<HTML lang=en>", "an HTML page", "download"},
      {"<!-- hi --><html>", "an HTML page", "download"},
      {"<?xml version='1.0'?><!DOCTYPE x><html xmlns='x'>", "an HTML page", "download"},
      {"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML error message", "download"},
      {"<?xml version='1.0'?><note/>", "an XML document", "download"},
      {"{\"error\":\"Invalid username or password.\"}", "a JSON document, probably an error message", "download"},
      {" \n{ \"message\": \"Not Found\"}", "a JSON document, probably an error message", "download"},
      {"{\"architectures\": [\"LlamaForCausalLM\"]}", "a JSON document", "model file itself"},
      {zip_entry("archive/data.pkl"), "a PyTorch checkpoint (zip with pickle)", "pickle"},
      {zip_entry("other.txt") + zip_entry("m/constants.pkl"), "a PyTorch checkpoint (zip with pickle)", "pickle"},
      {zip_entry("x.npy"), "NumPy arrays in a zip (.npz)", "convert"},
      {zip_entry("model.weights.h5"), "a Keras model (.keras)", "convert"},
      {zip_entry("readme.txt"), "a zip archive", "unpack"},
      {"PK\x05\x06"s + std::string(18, '\0'), "a zip archive", "unpack"},
      {"\x1f\x8b\x08\0"s + std::string(30, '\1'), "a gzip file", "unpack"},
      {"\x28\xb5\x2f\xfd"s + std::string(30, '\1'), "a Zstandard file", "unpack"},
      {"BZh91AY&SY"s + std::string(30, '\1'), "a bzip2 file", "unpack"},
      {"\xfd"
       "7zXZ\0"s +
           std::string(30, '\1'),
       "an xz file", "unpack"},
      {"7z\xbc\xaf\x27\x1c"s + std::string(30, '\1'), "a 7z archive", "unpack"},
      {"model.bin"s + std::string(248, '\0') + "ustar\0"s + std::string(250, '\0'), "a tar archive", "unpack"},
      {"\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", "a PyTorch checkpoint (legacy pickle)", "pickle"},
      {"\x80\x02}q\0."s, "a Python pickle (protocol 2)", "pickle"},
      {"\x80\x05\x95\0\0\0\0"s, "a Python pickle (protocol 5)", "pickle"},
      {"\x93NUMPY\1\0v\0{'descr': '<f4'}"s, "a NumPy array (.npy)", "convert"},
      {"\x89HDF\r\n\x1a\n"s + std::string(30, '\0'), "an HDF5 file (Keras)", "convert"},
      {"\x08\x08\x12\x07pytorch\x1a\x03"
       "2.1",
       "an ONNX model", "convert"},
      {"\x08\x03\x3a\x80\x20\x0a\x10", "an ONNX model", "convert"},
      {"\x1c\0\0\0TFL3\x14\0\x20\0"s, "a TensorFlow Lite model", "convert"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 3\n", "a Git LFS pointer", "git lfs pull"},
      {"%PDF-1.7\n", "a PDF document", "no model"},
      {"\x7f"
       "ELF\2\1\1"s,
       "an ELF program or library", "no model"},
      {"#!/bin/sh\necho\n", "a script", "no model"},
      {std::string(4096, '\0'), "zero bytes only", "again"},
      {"just some text, more than twenty-four bytes of it\n", "a text file", "no model"},
      {"\xff\xfet\0e\0x\0t\0"s, "text in UTF-16", "no model"},
      {"\x01\x02\xf0\xf1", "4 unknown bytes, too few for any model", "cut off"},
      {"\x08\x08\x12\x07\x01\x02\x03\x04\x05\x06\x07"s + std::string(40, '\x91'), "unknown binary data", "hex --raw"},
      {"\x01\x02\xf0\xf1"s + std::string(100, '\x91'), "unknown binary data", "hex --raw"},
  };
  return files;
}

TEST(Detect, ForeignFilesAreNamed) {
  for (const Named& file : foreign_files()) {
    const Detected detected = detect_text(file.bytes);
    EXPECT_FALSE(detected.format) << file.what;
    EXPECT_EQ(detected.what, file.what);
    EXPECT_THAT(detected.hint, HasSubstr(file.hint)) << file.what;
  }
}

TEST(Detect, OpenRefusesThemWithThatName) {  // G03, G05, G06
  for (const Named& file : foreign_files()) {
    const auto opened = test::open_bytes(file.bytes);
    ASSERT_TRUE(opened.error) << file.what;
    EXPECT_EQ(opened.error->code, ErrorCode::InvalidFormat) << file.what;
    EXPECT_EQ(opened.error->offset, 0U) << file.what;
    EXPECT_EQ(opened.error->field, "magic");
    EXPECT_EQ(opened.error->found, file.what);
    EXPECT_FALSE(opened.error->hint.empty()) << file.what;
  }
}

std::string safetensors(std::uint64_t length, const std::string& json) { return test::Bytes().u64(length).text + json; }

TEST(Detect, ModelsOfEachFormat) {
  const std::pair<std::string, std::pair<Format, const char*>> kModels[] = {
      {test::small_gguf().bytes(), {Format::Gguf, "GGUF version 3"}},
      {test::small_gguf(std::endian::big, 2).bytes(), {Format::Gguf, "GGUF version 2 (big endian)"}},
      {"GGUF\1\0\0\0"s, {Format::Gguf, "GGUF version 1"}},
      {"GGUF\3", {Format::Gguf, "GGUF, cut off before its version"}},
      {"APR\0\2\0"s + std::string(58, '\0'), {Format::Apr, "APR version 2.0"}},
      {"APR\0"s, {Format::Apr, "APR, cut off before its version"}},
      {safetensors(2, "{}"), {Format::SafeTensors, "SafeTensors"}},
      {safetensors(20, "{\"a\":{}}            "), {Format::SafeTensors, "SafeTensors"}},
      {safetensors(4, " \n{}"), {Format::SafeTensors, "SafeTensors"}},
      {safetensors(2, "[]"), {Format::SafeTensors, "SafeTensors"}},
      {safetensors(123, "{\"a\":{}}"), {Format::SafeTensors, "SafeTensors"}},           // 123 is the byte '{'
      {safetensors(123, "{\"weight_map\":{}}"), {Format::SafeTensors, "SafeTensors"}},  // a tensor of that name
      {safetensors(~0ULL, "{\"a\":{}}"), {Format::SafeTensors, "SafeTensors"}},         // the reader says what is wrong
      {safetensors(1000, ""), {Format::SafeTensors, "SafeTensors, cut off behind the length of its header"}},
      {"{\"metadata\":{\"total_size\":1},\"weight_map\":{}}", {Format::SafeTensors, "a SafeTensors index"}},
  };
  for (const auto& [bytes, expected] : kModels) {
    const Detected detected = detect_text(bytes);
    ASSERT_TRUE(detected.format) << expected.second << " was taken for " << detected.what;
    EXPECT_EQ(*detected.format, expected.first);
    EXPECT_EQ(detected.what, expected.second);
  }
}

TEST(Detect, EveryPrefixAndAnyByteIsSurvived) {
  for (const Named& file : foreign_files())
    for (std::size_t length = 0; length <= std::min<std::size_t>(file.bytes.size(), 300); ++length)
      EXPECT_FALSE(detect_text(file.bytes.substr(0, length)).what.empty());
  for (int first = 0; first < 256; ++first)
    for (const std::size_t size : {1U, 2U, 8U, 9U, 30U})
      EXPECT_FALSE(detect_text(std::string(size, static_cast<char>(first))).what.empty());
}

TEST(Detect, TheNameOfTheFileDoesNotMatter) {
  const test::TempFolder folder;
  const auto gguf = test::open_path(folder.write("model.safetensors", test::small_gguf().bytes()));
  ASSERT_TRUE(gguf.model) << gguf.all();
  EXPECT_EQ(gguf.model->format, Format::Gguf);
  const auto html = test::open_path(folder.write("model.gguf", "<!DOCTYPE html>"));
  ASSERT_TRUE(html.error);
  EXPECT_EQ(html.error->found, "an HTML page");
}

}  // namespace
}  // namespace apr::format
