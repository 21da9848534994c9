// Memory and time of opening a file that wants much. Bytes are counted at operator new, not guessed from the process.
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <ctime>
#include <new>

#include "apr/format/model_file.h"
#include "apr/model/hparams.h"
#include "apr/model/tokenizer.h"
#include "tests/support/apr_builder.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/open_bytes.h"

namespace {
std::atomic<std::uint64_t> live_bytes{0}, peak_bytes{0}, largest_bytes{0}, n_allocations{0};

void* counted(std::size_t size) {
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  const std::uint64_t bytes = malloc_usable_size(memory);
  const std::uint64_t live = live_bytes += bytes;
  for (std::uint64_t peak = peak_bytes; live > peak && !peak_bytes.compare_exchange_weak(peak, live);) {
  }
  for (std::uint64_t most = largest_bytes; bytes > most && !largest_bytes.compare_exchange_weak(most, bytes);) {
  }
  ++n_allocations;
  return memory;
}
void uncounted(void* memory) noexcept {
  if (memory != nullptr) live_bytes -= malloc_usable_size(memory);
  std::free(memory);
}
}  // namespace

// Of this program alone. The aligned forms are not replaced: nothing in the readers is over-aligned.
void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {  // std::stable_sort asks for its buffer this way
  try {
    return counted(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void* operator new[](std::size_t size, const std::nothrow_t& quiet) noexcept { return operator new(size, quiet); }
void operator delete(void* memory) noexcept { uncounted(memory); }
void operator delete[](void* memory) noexcept { uncounted(memory); }
void operator delete(void* memory, std::size_t) noexcept { uncounted(memory); }
void operator delete[](void* memory, std::size_t) noexcept { uncounted(memory); }

namespace apr::test {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
// Bounds on time are for the release build; the sanitizers may take as many times as long.
#if defined(__SANITIZE_ADDRESS__)
constexpr double kSlower = 8;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr double kSlower = 8;
#else
constexpr double kSlower = 1;
#endif
#else
constexpr double kSlower = 1;
#endif

struct Cost {
  std::uint64_t peak = 0, largest = 0, allocations = 0;  // bytes above what was live before; of one block; number
  double seconds = 0;  // of this process's processor time: a busy machine is no fault of the reader
};
template <class Work>
Cost cost_of(const Work& work) {
  const std::uint64_t before = live_bytes, n_before = n_allocations;
  peak_bytes = before;
  largest_bytes = 0;
  const std::clock_t start = std::clock();
  work();
  const double took = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  return {peak_bytes - before, largest_bytes, n_allocations - n_before, took};
}

struct Opening {
  Cost cost;
  std::size_t n_tensors = 0, n_entries = 0, n_findings = 0;
  bool was_refused = false;
};
Opening open_counted(const std::string& bytes) {
  const TempFolder folder;
  const std::string path = folder.write("model.bin", bytes);
  Opening opening;
  opening.cost = cost_of([&] {
    const Opened opened = open_path(path);
    opening.was_refused = opened.error.has_value();
    if (!opened.model) return;
    opening.n_tensors = opened.model->tensors.size();
    opening.n_entries = opened.model->metadata.size();
    opening.n_findings = opened.model->findings.size();
  });
  std::printf("[ %8.3f MB file: peak %8.3f MB = %5.1f x, largest block %7.3f MB, %8llu allocations, %6.3f s ]\n",
              static_cast<double>(bytes.size()) / 1e6, static_cast<double>(opening.cost.peak) / 1e6,
              static_cast<double>(opening.cost.peak) / static_cast<double>(std::max<std::size_t>(bytes.size(), 1)),
              static_cast<double>(opening.cost.largest) / 1e6,
              static_cast<unsigned long long>(opening.cost.allocations), opening.cost.seconds);
  return opening;
}

std::string many_tensors(int n) {
  GgufBuilder b;
  b.architecture();
  for (int i = 0; i < n; ++i) b.info("tensor." + std::to_string(i), {0}, kGgmlF32, 0);
  return b.bytes();
}
std::string many_entries(int n) {
  GgufBuilder b;
  b.architecture();
  for (int i = 0; i < n; ++i) b.kv_u32("k." + std::to_string(i), 1);
  b.f32("a", 8);
  return b.bytes();
}

TEST(Bounds, SixtyThousandTensorsOrEntries) {
  for (const bool tensors : {true, false}) {
    const Opening opening = open_counted(tensors ? many_tensors(60'000) : many_entries(60'000));
    EXPECT_EQ(tensors ? opening.n_tensors : opening.n_entries - 1, 60'000U);
    EXPECT_LT(opening.cost.peak, 200'000'000U);
    EXPECT_LT(opening.cost.seconds, 1.0 * kSlower);
  }
}

// Four times the entries must not cost more than about four times the time and the memory: nothing is quadratic.
TEST(Bounds, CostGrowsWithTheNumber) {
  for (const bool tensors : {true, false}) {
    const Opening one = open_counted(tensors ? many_tensors(50'000) : many_entries(50'000));
    const Opening four = open_counted(tensors ? many_tensors(200'000) : many_entries(200'000));
    EXPECT_LT(four.cost.allocations, 5 * one.cost.allocations + 1000);
    EXPECT_LT(four.cost.peak, 6 * one.cost.peak);
  }
}

TEST(Bounds, ASafeTensorsHeaderOf99Megabytes) {
  std::string header = "{";
  header.reserve(99'000'100);
  for (int i = 0; header.size() < 98'999'900; ++i)
    header += (i > 0 ? "," : "") + tensor_json("m." + std::to_string(i), "U8", "[0]", 0, 0);
  header += "}";
  const Opening opening = open_counted(safetensors(header));
  EXPECT_FALSE(opening.was_refused);
  EXPECT_GT(opening.n_tensors, 1'500'000U);
  EXPECT_LT(opening.cost.peak, 12 * header.size());
}

/// Files that are nothing but the cheapest thing that a table takes an entry for, 2 MB each.
std::vector<std::pair<std::string, std::string>> greedy_files() {
  constexpr std::size_t kSize = 2'000'000;
  std::vector<std::pair<std::string, std::string>> files;
  const auto fill = [](std::string unit, std::size_t size) {
    std::string text;
    while (text.size() < size) text += unit;
    return text;
  };
  const auto gguf = [&files](const char* name, const GgufBuilder& b) { files.emplace_back(name, b.bytes()); };
  {
    GgufBuilder b;  // 13 bytes of file for an entry in memory; the same key each time
    b.architecture();
    for (std::size_t i = 0; i < kSize / 13; ++i) b.kv("", kU8, std::uint8_t{1});
    gguf("entries without a key", b);
  }
  {
    GgufBuilder b;
    b.architecture();
    for (std::uint32_t i = 0; i < kSize / 16; ++i) b.kv(le(i).substr(0, 3), kU8, std::uint8_t{1});
    gguf("entries with odd keys", b);
  }
  {
    GgufBuilder b;
    b.architecture();
    for (std::uint32_t i = 0; i < kSize / 27; ++i) b.info(le(i).substr(0, 3), {}, kGgmlF32, 0);
    gguf("infos without dimensions", b);
  }
  {
    GgufBuilder b;
    b.architecture();
    for (std::uint32_t i = 0; i < kSize / 59; ++i) b.info(le(i).substr(0, 3), {1, 1, 1, 1}, 99, 0);
    gguf("infos of an unknown type", b);
  }
  {
    GgufBuilder b;
    b.architecture();
    b.key("k", kArray);
    b.body().u32(kString).u64(kSize / 8).text.append(kSize, '\0');
    gguf("an array of empty strings", b);
  }
  {
    GgufBuilder b;
    b.architecture();
    b.key("k", kArray);
    b.body().u32(kArray).u64(kSize / 12);
    for (std::size_t i = 0; i < kSize / 12; ++i) b.body().u32(kU8).u64(0);
    gguf("an array of empty arrays", b);
  }
  files.emplace_back("safetensors: metadata",
                     safetensors("{\"__metadata__\":{" + fill("\"\":\"\",", kSize) + "\"a\":\"\"}}"));
  files.emplace_back("safetensors: escaped",
                     safetensors("{\"__metadata__\":{" + fill("\"\\n\":\"\\n\",", kSize) + "\"a\":\"\"}}"));
  files.emplace_back("safetensors: empty entries", safetensors("{" + fill("\"\":{},", kSize) + "\"a\":{}}"));
  files.emplace_back("safetensors: fields", safetensors("{\"a\":{" + fill("\"x\":1,", kSize) + "\"y\":1}}"));
  files.emplace_back("safetensors: dimensions", safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[" + fill("1,", kSize) +
                                                            "1],\"data_offsets\":[0,1]}}"));
  files.emplace_back("safetensors: tensors",
                     safetensors("{" + fill(tensor_json("", "U8", "[]", 0, 1) + ",", kSize) + "\"a\":{}}"));
  files.emplace_back(
      "safetensors: tensors with shapes",
      safetensors("{" + fill(tensor_json("", "U8", "[1,1,1,1,1,1,1,1,1]", 0, 1) + ",", kSize) + "\"a\":{}}"));
  {
    AprParts p;
    p.metadata = "{" + fill("\"\":0,", kSize) + "\"a\":0}";
    files.emplace_back("apr: metadata", p.file());
  }
  {
    AprParts p;
    p.metadata = "{\"a\":[" + fill("0,", kSize) + "0]}";
    files.emplace_back("apr: array", p.file());
  }
  {
    AprParts p;
    p.index_extra = fill(AprEntry{"", 0, {}, 0, 0}.bytes(), kSize);
    p.count = static_cast<std::int64_t>(kSize / 20);
    files.emplace_back("apr: entries", p.file());
  }
  {
    AprParts p;
    p.index_extra = fill(AprEntry{"", 99, std::vector<std::uint64_t>(255, 1), 0, 0}.bytes(), kSize);
    p.count = static_cast<std::int64_t>(kSize / 2060);
    files.emplace_back("apr: dimensions", p.file());
  }
  return files;
}

// What the tables hold of a byte of file at most: the bound of the promise in docs/testing.md.
constexpr std::uint64_t kTimes = 32, kAlways = 4 * kMiB;

TEST(Bounds, NoFileTakesMoreThanAMultipleOfItself) {
  for (const auto& [name, bytes] : greedy_files()) {
    SCOPED_TRACE(name);
    std::printf("%s\n", name.c_str());
    const Opening opening = open_counted(bytes);
    EXPECT_LT(opening.cost.peak, kTimes * bytes.size() + kAlways);
    EXPECT_LT(opening.cost.seconds, 2.0 * kSlower);  // nothing here is quadratic
  }
}

// Counts and lengths that the file states take nothing at all.
TEST(Bounds, NumbersInAFileAllocateNothing) {
  for (const std::uint64_t number : {~0ULL, 1ULL << 63, 1ULL << 62, 1ULL << 40, 1ULL << 32, 1ULL << 31, 1ULL << 30}) {
    std::vector<std::string> files;
    GgufBuilder counts = small_gguf();
    counts.n_tensors = number;
    files.push_back(counts.bytes());
    counts.n_tensors.reset();
    counts.n_kv = number;
    files.push_back(counts.bytes());
    for (const std::uint32_t element : {kU8, kU64, kString, kArray}) {
      GgufBuilder b;
      b.architecture();
      b.key("tokenizer.ggml.tokens", kArray);
      b.body().u32(element).u64(number);
      b.f32("a", 8);
      files.push_back(b.bytes());
    }
    GgufBuilder text;
    text.architecture();
    text.key("k", kString);
    text.body().u64(number);
    text.f32("a", 8);
    files.push_back(text.bytes());
    GgufBuilder shape;
    shape.architecture();
    shape.info("t", {number, number, number, number}, kGgmlF32, number);
    shape.f32("a", 8);
    files.push_back(shape.bytes());
    files.push_back(le(number) + "{" + tensor_json("a", "U8", "[4]", 0, 4) + "}dddd");
    files.push_back(safetensors("{" + tensor_json("a", "U8", "[" + std::to_string(number) + "]", 0, number) + "}"));
    AprParts apr;
    apr.entries = {{"a", 0, {number, number}, number, number}};
    apr.count = static_cast<std::int64_t>(number & 0xFFFFFFFF);
    apr.metadata_size = 0xFFFFFFFF;
    files.push_back(apr.file());
    for (std::size_t i = 0; i < files.size(); ++i)
      EXPECT_LT(open_counted(files[i]).cost.peak, kMiB) << "file " << i << ", number " << number;
  }
}

TEST(Bounds, AVocabularyTakesAMultipleOfItself) {
  GgufBuilder b;
  b.architecture();
  b.kv_string("tokenizer.ggml.model", "llama");
  b.key("tokenizer.ggml.tokens", kArray);
  constexpr std::uint64_t n = 200'000;
  b.body().u32(kString).u64(n).text.append(n * 8, '\0');
  b.f32("a", 8);
  const std::string bytes = b.bytes();
  const Opened opened = open_bytes(bytes);
  ASSERT_TRUE(opened.model && !opened.model->has_errors()) << opened.all();
  const Cost cost = cost_of([&] { EXPECT_EQ(model::Tokenizer::from_model(*opened.model).n_vocab(), 200'000); });
  std::printf("[ vocabulary of %.1f MB: peak %.1f MB, %.2f s ]\n", static_cast<double>(bytes.size()) / 1e6,
              static_cast<double>(cost.peak) / 1e6, cost.seconds);
  EXPECT_LT(cost.peak, 100 * bytes.size());
}

// The hook itself: what it must see, it sees.
TEST(Bounds, TheCounterCounts) {
  const Cost cost = cost_of([] {
    char* volatile memory = new char[10 * kMiB];  // volatile: the pair of calls must not be optimised away
    delete[] memory;
  });
  EXPECT_GE(cost.peak, 10 * kMiB);
  EXPECT_LT(cost.peak, 11 * kMiB);
  EXPECT_GE(cost.largest, 10 * kMiB);
  EXPECT_EQ(cost.allocations, 1U);
}

}  // namespace
}  // namespace apr::test
