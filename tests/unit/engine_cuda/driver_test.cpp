// The layer between apr and the CUDA driver: its declarations, its handles, and what every failure becomes.
#include "src/engine/cuda/driver.h"

#include <gtest/gtest.h>
#if APR_TEST_CUDA_HEADER
#include <cuda.h>
#endif

#include <cstddef>
#include <cstring>
#include <numeric>
#include <vector>

#include "apr/core/error.h"
#include "src/engine/cuda/device.h"
#include "src/engine/cuda/faulty_driver.h"
#include "src/engine/cuda/memory_pool.h"
#include "src/engine/cuda/staging_ring.h"
#include "toy_runner.h"

namespace apr::engine::cuda {
namespace {

#if APR_TEST_CUDA_HEADER
/// Two parameter lists that a caller cannot tell apart: as many, each of the same size, returning an int-sized code.
template <class Mine, class Theirs>
struct SameCall;
template <class R1, class... A1, class R2, class... A2>
struct SameCall<R1(A1...), R2(A2...)> {
  static constexpr bool value = [] {
    if constexpr (sizeof...(A1) == sizeof...(A2)) {
      return sizeof(R1) == sizeof(R2) &&
             (... && (sizeof(A1) == sizeof(A2) && std::is_pointer_v<A1> == std::is_pointer_v<A2>));
    }
    return false;
  }();
};

TEST(CudaDeclarations, AreThoseOfTheToolkit) {
  int n_calls = 0;
  using D = Device;
#define APR_DRIVER_CALL(method, symbol, parameters, arguments)                                            \
  static_assert(SameCall<Result parameters, std::remove_pointer_t<decltype(&::symbol)>>::value, #symbol); \
  ++n_calls;
#define APR_DRIVER_RELEASE APR_DRIVER_CALL
#include "src/engine/cuda/driver_calls.def"
#undef APR_DRIVER_RELEASE
#undef APR_DRIVER_CALL
  static_assert(sizeof(D) == sizeof(CUdevice) && sizeof(DevicePtr) == sizeof(CUdeviceptr));
  static_assert(sizeof(LaunchConfig) == sizeof(CUlaunchConfig) && sizeof(LaunchAttribute) == sizeof(CUlaunchAttribute));
  static_assert(offsetof(LaunchConfig, shared_bytes) == offsetof(CUlaunchConfig, sharedMemBytes));
  static_assert(offsetof(LaunchConfig, stream) == offsetof(CUlaunchConfig, hStream));
  static_assert(offsetof(LaunchConfig, attributes) == offsetof(CUlaunchConfig, attrs));
  static_assert(offsetof(LaunchConfig, n_attributes) == offsetof(CUlaunchConfig, numAttrs));
  static_assert(offsetof(LaunchAttribute, value) == offsetof(CUlaunchAttribute, value));
  const std::pair<int, int> pairs[] = {
      {kInvalidValue, CUDA_ERROR_INVALID_VALUE},
      {kOutOfMemory, CUDA_ERROR_OUT_OF_MEMORY},
      {kNotInitialized, CUDA_ERROR_NOT_INITIALIZED},
      {kNoDevice, CUDA_ERROR_NO_DEVICE},
      {kNoBinaryForGpu, CUDA_ERROR_NO_BINARY_FOR_GPU},
      {kNotFound, CUDA_ERROR_NOT_FOUND},
      {kIllegalAddress, CUDA_ERROR_ILLEGAL_ADDRESS},
      {kLaunchOutOfResources, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES},
      {kLaunchFailed, CUDA_ERROR_LAUNCH_FAILED},
      {kSystemDriverMismatch, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH},
      {kAttributeWarpSize, CU_DEVICE_ATTRIBUTE_WARP_SIZE},
      {kAttributeMultiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT},
      {kAttributeL2Bytes, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE},
      {kAttributeComputeMajor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR},
      {kAttributeComputeMinor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR},
      {kAttributeSharedPerMultiprocessor, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR},
      {kAttributeSharedPerBlockOptin, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN},
      {kFunctionMaxDynamicShared, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES},
      {kFunctionSharedCarveout, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT},
      {kStreamNonBlocking, CU_STREAM_NON_BLOCKING},
      {kEventDisableTiming, CU_EVENT_DISABLE_TIMING},
      {kEventRecordExternal, CU_EVENT_RECORD_EXTERNAL},
      {kCaptureThreadLocal, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL},
      {kLaunchProgrammaticStreamSerialization, CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION}};
  for (const auto& [mine, theirs] : pairs) EXPECT_EQ(mine, theirs);
  EXPECT_GT(n_calls, 30);
}
#endif

TEST(CudaDriver, AMissingLibraryIsAReason) {
  std::string reason;
  EXPECT_EQ(load_driver(reason, "libno-such-cuda.so.1"), nullptr);
  EXPECT_NE(reason.find("libno-such-cuda.so.1"), std::string::npos) << reason;
}

TEST(CudaDriver, ALibraryWithoutTheCallsIsTooOld) {
  std::string reason;
  EXPECT_EQ(load_driver(reason, "libc.so.6"), nullptr);
  EXPECT_NE(reason.find("too old: it has no cuInit"), std::string::npos) << reason;
}

TEST(CudaDevice, BelowTuringIsRefusedByName) {
  EmulatedDriver driver(std::make_unique<ToyRunner>(), {.name = "Tesla V100", .compute_major = 7, .compute_minor = 0});
  std::string reason;
  EXPECT_FALSE(find_device(driver, 0, reason).has_value());
  EXPECT_EQ(reason, "Tesla V100 has compute capability 7.0; apr needs 7.5 or newer");
  EmulatedDriver turing(std::make_unique<ToyRunner>(), {.name = "T4", .compute_major = 7, .compute_minor = 5});
  EXPECT_TRUE(find_device(turing, 0, reason).has_value());
}

TEST(CudaDevice, TheFailedCallIsNamedWithItsPlaceAndCode) {
  EmulatedDriver driver(std::make_unique<ToyRunner>(), {.memory_bytes = 1024});
  try {
    (void)allocate_memory(driver, 4096);
    FAIL() << "4096 bytes of 1024";
  } catch (const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::Inference);
    EXPECT_EQ(exit_status(error.code), 8);
    EXPECT_EQ(error.message, "a CUDA call failed: memory_alloc");
    EXPECT_TRUE(error.field.starts_with("cuda/device.cpp:")) << error.field;
    EXPECT_TRUE(error.found.starts_with("CUDA_ERROR_OUT_OF_MEMORY (2)")) << error.found;
  }
  EXPECT_EQ(driver.counts().alive(), 0U);
}

TEST(MemoryPool, RegionsAreAlignedApartAndTakenAtOnce) {
  EmulatedDriver driver(std::make_unique<ToyRunner>());
  MemoryPool pool;
  const auto a = pool.plan(MemoryUse::Weights, 1), b = pool.plan(MemoryUse::KvCache, 257),
             c = pool.plan(MemoryUse::Working, 0);
  EXPECT_EQ(pool.planned_bytes(), 256U + 512U);
  EXPECT_EQ(pool.memory().weights_bytes, 256U);
  EXPECT_EQ(pool.memory().kv_bytes, 512U);
  EXPECT_EQ(pool.memory().allocated_bytes(), pool.planned_bytes());
  pool.take(driver, {}, 16, 0);
  EXPECT_EQ(driver.counts().memory_allocs, 1U);
  EXPECT_EQ(pool.address(a) % MemoryPool::kAlignment, 0U);
  EXPECT_EQ(pool.address(b), pool.address(a) + 256);
  EXPECT_EQ(pool.address(c), pool.address(b) + 512);
}

TEST(MemoryPool, WhatDoesNotFitIsRefusedWithTheNumbersAndNothingIsTaken) {
  EmulatedDriver driver(std::make_unique<ToyRunner>(), {.memory_bytes = 1 << 20});
  for (const std::uint64_t limit : {std::uint64_t{0}, std::uint64_t{4096}}) {
    MemoryPool pool;
    pool.plan(MemoryUse::Weights, limit == 0 ? (1 << 20) : 8192);
    try {
      pool.take(driver, {.name = "small"}, 16, limit);
      FAIL() << "it fits";
    } catch (const Error& error) {
      EXPECT_EQ(error.code, ErrorCode::ModelLoad);
      EXPECT_EQ(error.field, "small");
      EXPECT_NE(error.found.find(limit == 0 ? "1048576 bytes" : "8192 bytes"), std::string::npos) << error.found;
      EXPECT_NE(error.expected.find(limit == 0 ? "983040 bytes" : "4096 bytes"), std::string::npos) << error.expected;
    }
  }
  EXPECT_EQ(driver.counts().memory_allocs, 0U);
}

TEST(StagingRing, BytesArriveThoughCopiesRunAsLateAsTheyMay) {
  EmulatedDriver driver(std::make_unique<ToyRunner>());
  const OwnedStream stream = create_stream(driver);
  const OwnedMemory slots = allocate_memory(driver, 2 * 64), target = allocate_memory(driver, 1000);
  StagingRing ring(driver, stream.get(), slots.get(), 64);
  std::vector<std::byte> source(1000), back(1000, std::byte{0x55});
  for (std::size_t i = 0; i < source.size(); ++i) source[i] = static_cast<std::byte>(i * 7 + i / 64);
  ring.copy(target.get(), source);
  APR_CUDA(driver, copy_to_host(back.data(), target.get(), back.size(), stream.get()));
  APR_CUDA(driver, stream_synchronize(stream.get()));
  EXPECT_EQ(back, source);
  EXPECT_EQ(driver.counts().host_writes, 16U);
}

/// Everything that a load and a few tokens do, in small: context, module, pool, staging, capture, replay, read back.
std::uint32_t small_run(Driver& driver) {
  std::string reason;
  const auto device = find_device(driver, 0, reason);
  if (!device) throw Error(ErrorCode::Unsupported, reason);
  Context handle = nullptr;
  const OwnedContext context = retain_context(driver, 0, handle);
  const OwnedModule module = load_module(driver, nullptr);
  Function add = nullptr;
  APR_CUDA(driver, module_function(&add, module.get(), "add"));
  MemoryPool pool;
  const auto words = pool.plan(MemoryUse::Weights, 64 * 4), slots = pool.plan(MemoryUse::Working, 2 * 128);
  pool.take(driver, *device, 1, 0);
  const OwnedStream stream = create_stream(driver);
  StagingRing ring(driver, stream.get(), pool.address(slots), 128);
  std::vector<std::uint32_t> values(64);
  std::iota(values.begin(), values.end(), 0U);
  ring.copy(pool.address(words), std::as_bytes(std::span(values)));
  const OwnedGraphExec graph = capture_graph(driver, stream.get(), [&] {
    for (const std::uint32_t addend : {1U, 10U}) {
      AddParameters parameters{pool.address(words), 64, addend, 0};
      void* pointers[] = {&parameters};
      const LaunchConfig config{1, 1, 1, 32, 1, 1, 0, stream.get(), nullptr, 0};
      APR_CUDA(driver, launch(&config, add, pointers, nullptr));
    }
  });
  for (int token = 0; token < 3; ++token) APR_CUDA(driver, graph_launch(graph.get(), stream.get()));
  APR_CUDA(driver, copy_to_host(values.data(), pool.address(words), 64 * 4, stream.get()));
  APR_CUDA(driver, stream_synchronize(stream.get()));
  return std::accumulate(values.begin(), values.end(), 0U);
}
constexpr std::uint32_t kSmallRunSum = 63 * 64 / 2 + 64 * 33;

TEST(CudaFaults, EveryCallFailsInTurnWithOneErrorAndNothingLeft) {
  EmulatedDriver healthy(std::make_unique<ToyRunner>());
  FaultyDriver counter(healthy, {});
  ASSERT_EQ(small_run(counter), kSmallRunSum);
  ASSERT_EQ(healthy.counts().alive(), 0U);
  ASSERT_GT(counter.n_calls(), 40U);
  std::uint64_t n_errors = 0;
  for (const bool lost : {false, true}) {
    for (const Result code : {kOutOfMemory, kLaunchFailed}) {
      for (std::uint64_t call = 1; call <= counter.n_calls(); ++call) {
        EmulatedDriver driver(std::make_unique<ToyRunner>());
        FaultyDriver faulty(driver, {call, code, lost});
        try {
          EXPECT_EQ(small_run(faulty), kSmallRunSum) << "call " << call << ' ' << faulty.failed();
          // Only giving back may fail without an error.
          EXPECT_TRUE(faulty.failed().ends_with("_free") || faulty.failed().ends_with("_destroy") ||
                      faulty.failed().ends_with("_release") || faulty.failed().ends_with("_unload"))
              << faulty.failed();
        } catch (const Error& error) {
          ++n_errors;
          if (faulty.failed() == "init" || faulty.failed() == "device_count") {
            EXPECT_EQ(error.code, ErrorCode::Unsupported);
          } else {
            EXPECT_EQ(error.code, ErrorCode::Inference) << error.what();
            // Where giving back failed first, a lost device fails at the next call, too.
            if (!lost) EXPECT_EQ(error.message, "a CUDA call failed: " + faulty.failed());
            EXPECT_TRUE(error.message.starts_with("a CUDA call failed: ")) << error.message;
            EXPECT_NE(error.field.find(':'), std::string::npos) << error.field;
            EXPECT_NE(error.found.find(std::to_string(code)), std::string::npos) << error.found;
          }
        }
        EXPECT_EQ(driver.counts().alive(), 0U) << "call " << call << ", " << faulty.failed() << " failed";
      }
    }
  }
  EXPECT_GT(n_errors, 100U);
}

TEST(CudaFaults, AKernelThatFailsIsAnErrorAtTheNextWait) {
  EmulatedDriver driver(std::make_unique<ToyRunner>());
  const OwnedStream stream = create_stream(driver);
  const OwnedMemory words = allocate_memory(driver, 64);
  AddParameters parameters{words.get(), 16, 1, 1};
  void* pointers[] = {&parameters};
  const LaunchConfig config{1, 1, 1, 32, 1, 1, 0, stream.get(), nullptr, 0};
  Function add = nullptr;
  const OwnedModule module = load_module(driver, nullptr);
  APR_CUDA(driver, module_function(&add, module.get(), "add"));
  APR_CUDA(driver, launch(&config, add, pointers, nullptr));
  try {
    APR_CUDA(driver, stream_synchronize(stream.get()));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.message, "a CUDA call failed: stream_synchronize");
    EXPECT_NE(error.found.find("a word outside the buffer"), std::string::npos) << error.found;
  }
}

}  // namespace
}  // namespace apr::engine::cuda
