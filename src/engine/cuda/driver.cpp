#include "driver.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <string_view>

#include "apr/core/error.h"

namespace apr::engine::cuda {
namespace {

/// Forwards each method to the function of its name in the library.
class NativeDriver final : public Driver {
 public:
  /// Null with the reason when a symbol is missing. Takes the handle.
  static std::unique_ptr<Driver> load(void* library, std::string& reason) {
    std::unique_ptr<NativeDriver> driver(new NativeDriver(library));
#define APR_DRIVER_CALL(method, symbol, parameters, arguments)                                   \
  if (void* address = ::dlsym(library, #symbol); address != nullptr) {                           \
    driver->method##_ = reinterpret_cast<decltype(driver->method##_)>(address);                  \
  } else {                                                                                       \
    reason = "the CUDA driver is too old: it has no " #symbol " (CUDA 12.3 or newer is needed)"; \
    return nullptr;                                                                              \
  }
#define APR_DRIVER_RELEASE APR_DRIVER_CALL
#include "driver_calls.def"
#undef APR_DRIVER_RELEASE
#undef APR_DRIVER_CALL
    return driver;
  }
  ~NativeDriver() override { ::dlclose(library_); }
  NativeDriver(const NativeDriver&) = delete;
  NativeDriver& operator=(const NativeDriver&) = delete;
  [[nodiscard]] bool is_hardware() const noexcept override { return true; }

#define APR_DRIVER_CALL(method, symbol, parameters, arguments) \
  [[nodiscard]] Result method parameters override { return method##_ arguments; }
#define APR_DRIVER_RELEASE APR_DRIVER_CALL
#include "driver_calls.def"
#undef APR_DRIVER_RELEASE
#undef APR_DRIVER_CALL

 private:
  explicit NativeDriver(void* library) : library_(library) {}
  void* library_;
#define APR_DRIVER_CALL(method, symbol, parameters, arguments) Result(*method##_) parameters = nullptr;
#define APR_DRIVER_RELEASE APR_DRIVER_CALL
#include "driver_calls.def"
#undef APR_DRIVER_RELEASE
#undef APR_DRIVER_CALL
};

/// The last two parts of a path: what a reader needs to find the line.
std::string_view short_path(std::string_view path) {
  const auto slash = path.rfind('/');
  if (slash == std::string_view::npos || slash == 0) return path;
  const auto before = path.rfind('/', slash - 1);
  return before == std::string_view::npos ? path : path.substr(before + 1);
}

}  // namespace

std::unique_ptr<Driver> load_driver(std::string& reason, const char* library) {
  void* handle = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* text = ::dlerror();
    reason = fmt::format("no CUDA driver: {}", text == nullptr ? library : text);
    return nullptr;
  }
  return NativeDriver::load(handle, reason);
}

void driver_failed(Driver& driver, Result code, const char* call, const char* file, int line) {
  const char *code_name = nullptr, *text = nullptr;
  // A driver that fails may fail at this, too: then the number has to do.
  if (driver.error_name(code, &code_name) != kSuccess) code_name = nullptr;
  if (driver.error_text(code, &text) != kSuccess) text = nullptr;
  const std::string_view whole(call);
  Error error(ErrorCode::Inference, fmt::format("a CUDA call failed: {}", whole.substr(0, whole.find('('))));
  error.field = fmt::format("{}:{}", short_path(file), line);
  error.expected = "CUDA_SUCCESS";
  error.found = fmt::format("{} ({}){}{}", code_name == nullptr ? "CUDA error" : code_name, code,
                            text == nullptr ? "" : ": ", text == nullptr ? "" : text);
  if (code == kOutOfMemory) error.hint = "another program may have taken device memory since the plan was made";
  throw error;
}

}  // namespace apr::engine::cuda
