// A libcuda.so.1 for tests of what apr says about drivers and devices. FAKE_CUDA is "CALL=CODE" (that call fails) or
// "device=NAME,MAJOR,MINOR" (one such device). Nothing can be run on it.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "src/engine/cuda/driver.h"

namespace {
using namespace apr::engine::cuda;

struct Description {
  char name[64] = "Fake GPU";
  int major = 9, minor = 0;
};
Description description() {
  Description d;
  const char* text = std::getenv("FAKE_CUDA");
  if (text != nullptr) std::sscanf(text, "device=%63[^,],%d,%d", d.name, &d.major, &d.minor);
  return d;
}

Result code_of(const char* symbol) {
  const char* text = std::getenv("FAKE_CUDA");
  const std::size_t n = std::strlen(symbol);
  return text != nullptr && std::strncmp(text, symbol, n) == 0 && text[n] == '=' ? std::atoi(text + n + 1) : kSuccess;
}

template <class... A>
void answer(const char*, A...) {}
template <>
void answer(const char*, int* value) {
  *value = 1;  // the driver's version, or the number of devices
}
template <>
void answer(const char*, char* name, int length, Device) {
  std::snprintf(name, static_cast<std::size_t>(length), "%s", description().name);
}
template <>
void answer(const char*, int* value, int attribute, Device) {
  const Description d = description();
  *value = attribute == kAttributeComputeMajor ? d.major : attribute == kAttributeComputeMinor ? d.minor : 1;
}
template <>
void answer(const char*, Result, const char** text) {
  *text = "said by the fake driver";
}
template <>
void answer(const char*, std::size_t* bytes, Device) {
  *bytes = 1ULL << 30;
}
}  // namespace

#define APR_DRIVER_CALL(method, symbol, parameters, arguments)                 \
  extern "C" __attribute__((visibility("default"))) Result symbol parameters { \
    answer arguments_with_name(symbol, arguments);                             \
    return code_of(#symbol);                                                   \
  }
#define arguments_with_name(symbol, arguments) (#symbol, strip arguments)
#define strip(...) __VA_ARGS__
#define APR_DRIVER_RELEASE APR_DRIVER_CALL
#include "src/engine/cuda/driver_calls.def"
