// model.safetensors.index.json beside two sound shards.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/fuzz/fuzz_support.h"
#include "tests/support/safetensors_text.h"

namespace {

std::string folder() {
  std::string name = (std::filesystem::temp_directory_path() / "apr_fuzz_XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) apr::fuzz::broken("a folder can be made");
  for (const char* shard : {"a", "b"}) {
    const std::string header = "{" + apr::test::tensor_json(shard, "F32", "[1]", 0, 4) + "}";
    std::ofstream(name + "/" + shard + ".safetensors", std::ios::binary) << apr::test::safetensors(header, "data");
  }
  static std::string made;
  made = name;
  std::atexit([] { std::filesystem::remove_all(made); });
  return name;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string path = folder();
  const std::string index = path + "/model.safetensors.index.json";
  std::ofstream(index, std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  (void)apr::fuzz::open_and_check(path);
  return 0;
}
