// The CUDA driver as an interface of one method per call (driver_calls.def), so that it can be the driver of this
// machine, an emulator that runs the same launches on the CPU (emulated_driver.h), or one that fails (faulty_driver.h).
//
// The declarations are our own: libcuda.so.1 is opened at run time and no toolkit is needed to build this, so one
// binary starts on a machine without a driver. Values and layouts are those of cuda.h (CUDA 12 and 13).
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace apr::engine::cuda {

using Result = int;               // CUresult
using Device = int;               // CUdevice
using DevicePtr = std::uint64_t;  // CUdeviceptr
using Context = struct ContextObject*;
using Stream = struct StreamObject*;
using Event = struct EventObject*;
using Module = struct ModuleObject*;
using Function = struct FunctionObject*;
using Graph = struct GraphObject*;
using GraphExec = struct GraphExecObject*;

inline constexpr Result kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2, kNotInitialized = 3, kNoDevice = 100,
                        kNoBinaryForGpu = 209, kNotFound = 500, kIllegalAddress = 700, kLaunchOutOfResources = 701,
                        kLaunchFailed = 719, kSystemDriverMismatch = 803;

// CUdevice_attribute
inline constexpr int kAttributeWarpSize = 10, kAttributeMultiprocessors = 16, kAttributeL2Bytes = 38,
                     kAttributeComputeMajor = 75, kAttributeComputeMinor = 76, kAttributeSharedPerMultiprocessor = 81,
                     kAttributeSharedPerBlockOptin = 97;
// CUfunction_attribute
inline constexpr int kFunctionMaxDynamicShared = 8, kFunctionSharedCarveout = 9;
// Flags
inline constexpr unsigned kStreamNonBlocking = 1, kEventDefault = 0, kEventDisableTiming = 2, kEventRecordExternal = 1;
inline constexpr int kCaptureThreadLocal = 1;

/// CUlaunchAttribute: an id, and a value in a union of 64 bytes.
struct LaunchAttribute {
  int id;
  int padding;
  union {
    char bytes[64];
    int programmatic_stream_serialization_allowed;
  } value;
};
inline constexpr int kLaunchProgrammaticStreamSerialization = 6;

/// CUlaunchConfig
struct LaunchConfig {
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
  Stream stream;
  LaunchAttribute* attributes;
  unsigned n_attributes;
};

/// One method per row of driver_calls.def; each returns what the driver call of that name returns.
class Driver {
 public:
  virtual ~Driver() = default;
#define APR_DRIVER_CALL(method, symbol, parameters, arguments) [[nodiscard]] virtual Result method parameters = 0;
#define APR_DRIVER_RELEASE APR_DRIVER_CALL
#include "driver_calls.def"
#undef APR_DRIVER_RELEASE
#undef APR_DRIVER_CALL
  /// The driver of this machine: false for emulators, whose times mean nothing.
  [[nodiscard]] virtual bool is_hardware() const noexcept = 0;
};

/// Opens libcuda.so.1 (or `library`, for tests). Null with the reason when there is none, or it is too old to have
/// every call.
[[nodiscard]] std::unique_ptr<Driver> load_driver(std::string& reason, const char* library = "libcuda.so.1");

/// Throws Inference with the call, its place in the source, and the driver's name and text of the code.
[[noreturn]] void driver_failed(Driver& driver, Result code, const char* call, const char* file, int line);

/// Every call of the driver goes through this: APR_CUDA(driver, memory_alloc(&address, n_bytes)).
#define APR_CUDA(driver, call)                                                                   \
  do {                                                                                           \
    if (const ::apr::engine::cuda::Result apr_cuda_result = (driver).call; apr_cuda_result != 0) \
      ::apr::engine::cuda::driver_failed((driver), apr_cuda_result, #call, __FILE__, __LINE__);  \
  } while (false)

}  // namespace apr::engine::cuda
