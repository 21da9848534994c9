// --device as a user meets it, on this machine, and on one whose CUDA driver is a fake (tests/support/fake_cuda).
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "apr/kernels/cuda_kernels.h"
#include "apr_command.h"

namespace apr::test {
namespace {

/// A folder with a model that every executor runs.
struct TinyModel {
  TempFolder folder;
  std::string path = folder.path("tiny.gguf");
  TinyModel() { EXPECT_EQ(apr_command({"synth", path, "--preset", "tiny"}).status, 0); }
};

/// The environment in which libcuda.so.1 is the fake one; `says` is what it reads (see fake_cuda.cpp).
RunOptions with_fake_driver(const std::string& says) {
  const auto folder = std::filesystem::path(fake_cuda_library()).parent_path().string();
  return {.env = {{"LD_LIBRARY_PATH", folder}, {"FAKE_CUDA", says}}};
}

/// The environment in which there is no driver, whatever this machine has: what the loader finds first is no library.
RunOptions without_driver(const TempFolder& folder) {
  std::ofstream(folder.path("libcuda.so.1")).put('\n');
  return {.env = {{"LD_LIBRARY_PATH", std::filesystem::path(folder.path("libcuda.so.1")).parent_path().string()}}};
}

/// Whether the kernels are in this binary: a build with nvcc has them once they are embedded.
bool cuda_built() { return !kernels::cuda::modules().empty(); }

TEST(Device, CudaWithoutADriverExitsWith9AndSaysWhatIsMissing) {
  const TinyModel model;
  const TempFolder hiding;
  const RunOptions no_driver = without_driver(hiding);
  for (const char* command : {"run", "profile"}) {
    std::vector<std::string> args = {command, model.path, "--device", "cuda"};
    if (args[0] == "run") args.insert(args.end(), {"--raw", "hello", "-n", "2"});
    const RunResult result = apr_command(args, no_driver);
    EXPECT_EQ(result.status, 9) << result.all();
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find("CUDA cannot be used: "), std::string::npos) << result.all();
    EXPECT_NE(result.err.find(cuda_built() ? "libcuda.so.1" : "built without it"), std::string::npos) << result.all();
    EXPECT_NE(result.err.find("--device cpu"), std::string::npos) << "a way out: " << result.all();
    const auto error = apr_json(args, 9, no_driver)["error"];
    EXPECT_EQ(error["code"], "unsupported");
    EXPECT_EQ(error["field"], "--device");
  }
}

TEST(Device, AutoSaysWhatItChoseAndWhy) {
  const TinyModel model;
  const std::vector<std::string> args = {"run", model.path, "--raw", "hello", "-n", "2", "--device", "auto"};
  const RunOptions fake = with_fake_driver("cuInit=100");
  const RunResult result = apr_command(args, fake);
  EXPECT_EQ(result.status, 0) << result.all();
  EXPECT_TRUE(result.err.starts_with("device: cpu (CUDA cannot be used: ")) << result.all();
  auto quiet = args;
  quiet.emplace_back("-q");
  EXPECT_EQ(apr_command(quiet, fake).err, "");
  const auto document = apr_json(args, 0, fake);
  EXPECT_EQ(document["device"], "cpu");
  EXPECT_TRUE(document["device_reason"].get<std::string>().starts_with("CUDA cannot be used: "));
}

TEST(Device, CpuIsTheDefaultAndSaysNothing) {
  const TinyModel model;
  const RunResult result = apr_command({"run", model.path, "--raw", "hello", "-n", "2"});
  EXPECT_EQ(result.status, 0) << result.all();
  EXPECT_EQ(result.err, "");
  const auto document = apr_json({"profile", model.path, "--prompt", "8"}, 0);
  EXPECT_EQ(document["device"], "cpu");
  EXPECT_EQ(document["device_reason"], "asked for");
}

TEST(Device, WhatTheDriverLacksIsNamed) {
  if (!cuda_built()) return;  // AWithoutCuda below asks that build
  const TinyModel model;
  const std::pair<const char*, const char*> cases[] = {
      {"device=Tesla V100,7,0", "Tesla V100 has compute capability 7.0; apr needs 7.5 or newer"},
      {"cuInit=100", "the CUDA driver does not start: said by the fake driver"},
      {"cuInit=803", "the CUDA driver does not start"},
      {"cuDeviceGetCount=999", "the CUDA driver does not list its devices"}};
  for (const auto& [says, text] : cases) {
    const RunResult result = apr_command({"profile", model.path, "--device", "cuda"}, with_fake_driver(says));
    EXPECT_EQ(result.status, 9) << says << ": " << result.all();
    EXPECT_NE(result.err.find(text), std::string::npos) << says << ": " << result.all();
  }
}

TEST(Device, ACallThatFailsIsNoOccasionForTheCpu) {
  if (!cuda_built()) return;
  const TinyModel model;
  for (const char* device : {"cuda", "auto"}) {
    const auto error =
        apr_json({"profile", model.path, "--device", device}, 8, with_fake_driver("cuDeviceGetName=719"))["error"];
    EXPECT_EQ(error["code"], "inference");
    EXPECT_EQ(error["message"], "a CUDA call failed: device_name");
    EXPECT_NE(error["found"].get<std::string>().find("719"), std::string::npos);
  }
}

TEST(Device, ExactAndUnknownWordsAreRefused) {
  const TinyModel model;
  EXPECT_EQ(apr_command({"run", model.path, "x", "--exact", "--device", "auto"}).status, 2);
  const RunResult result = apr_command({"run", model.path, "x", "--device", "gpu"});
  EXPECT_EQ(result.status, 2) << result.all();
}

}  // namespace
}  // namespace apr::test
