#include "tests/fuzz/fuzz_support.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>

#include "apr/core/checked.h"

namespace apr::fuzz {

MemoryFile::MemoryFile() : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {
  if (fd_ < 0) broken("memfd_create");
  path_ = "/proc/self/fd/" + std::to_string(fd_);
}
MemoryFile::~MemoryFile() { ::close(fd_); }
void MemoryFile::fill(std::span<const std::uint8_t> bytes) {
  const bool done = ftruncate(fd_, 0) == 0 && ftruncate(fd_, static_cast<off_t>(bytes.size())) == 0 &&
                    pwrite(fd_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size());
  if (!done) broken("the file in memory can be written");
}

void broken(const std::string& promise) {
  std::fprintf(stderr, "broken promise: %s\n", promise.c_str());
  std::abort();
}

namespace {

void look_at(const format::Value& value, std::uint64_t& sum, unsigned depth) {
  if (depth > 100) broken("values nest to a bounded depth");
  if (const auto text = value.as_string())
    for (const char c : *text) sum += static_cast<unsigned char>(c);
  if (const auto* object = value.as_object()) sum += object->text.size();
  if (const auto* array = value.as_array()) {
    std::uint64_t n = 0;
    array->for_each([&](std::uint64_t, const format::Value& element) {
      look_at(element, sum, depth + 1);
      return ++n < 100'000;
    });
  }
}

void check(const Finding& finding, const format::ModelFile& model) {
  if (finding.file.empty() || finding.rule.empty() || finding.message.empty()) broken("a finding names file and rule");
  if (!finding.offset) return;
  for (const auto& file : model.files)
    if (finding.file == file->path() && *finding.offset > file->size())
      broken("a finding lies in its file: " + finding.rule);
}

void check(const format::ModelFile& model) {
  std::uint64_t sum = 0;
  for (const Finding& finding : model.findings) check(finding, model);
  for (const auto& entry : model.metadata) look_at(entry.value, sum, 0);
  for (const auto& tensor : model.tensors) {
    if (!tensor.readable) continue;
    const auto data = model.data(tensor);
    if (data.size() != tensor.size_bytes) broken("a readable tensor has its bytes");
    for (const std::byte b : data) sum += std::to_integer<unsigned>(b);
  }
  for (const auto& region : model.regions)
    if (!range_fits(region.offset, region.size_bytes, model.files.at(region.file_index)->size()))
      broken("a region lies in its file: " + region.name);
  volatile std::uint64_t sink = sum;  // the reads above must happen
  (void)sink;
}

}  // namespace

std::optional<format::ModelFile> open_and_check(const std::string& path) {
  try {
    format::ModelFile model = format::open_model(path, {.verify_data = true});
    check(model);
    return model;
  } catch (const Error& error) {
    if (error.code != ErrorCode::InvalidFormat) broken(std::string("a refusal is InvalidFormat: ") + error.what());
    if (error.file.empty() || error.message.empty()) broken("a refusal names file and rule");
    return std::nullopt;
  }
}

}  // namespace apr::fuzz
