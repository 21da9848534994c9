// The compiled kernels, taken into the program as they are (cmake/cuda_kernels.cmake makes the files).
#include "apr/kernels/cuda_kernels.h"

#define APR_FOR_MODULES(X) \
  X(load) X(rows) X(linear1) X(linear8) X(linear_prompt) X(attention) X(prefill_attention) X(sample)

#define APR_IMAGE(name, file)                                                                              \
  __asm__(".pushsection .rodata\n.balign 64\napr_fatbin_" #name ":\n.incbin \"" APR_FATBIN_FOLDER "/" file \
          ".fatbin\"\napr_fatbin_" #name "_end:\n.popsection\n");                                          \
  extern "C" const unsigned char apr_fatbin_##name[], apr_fatbin_##name##_end[];
#define APR_MODULE(name) APR_IMAGE(name, #name)
APR_FOR_MODULES(APR_MODULE)
#undef APR_MODULE
#if APR_HAVE_STAMPED
#define APR_MODULE(name) APR_IMAGE(stamped_##name, #name "_stamped")
APR_FOR_MODULES(APR_MODULE)
#undef APR_MODULE
#endif

namespace apr::kernels::cuda {

std::span<const Module> modules() noexcept {
  static const Module all[] = {
#define APR_MODULE(name) \
  {#name, apr_fatbin_##name, static_cast<std::size_t>(apr_fatbin_##name##_end - apr_fatbin_##name)},
      APR_FOR_MODULES(APR_MODULE)
#undef APR_MODULE
  };
  return all;
}

std::span<const Module> stamped_modules() noexcept {
#if APR_HAVE_STAMPED
  static const Module all[] = {
#define APR_MODULE(name)             \
  {#name, apr_fatbin_stamped_##name, \
   static_cast<std::size_t>(apr_fatbin_stamped_##name##_end - apr_fatbin_stamped_##name)},
      APR_FOR_MODULES(APR_MODULE)
#undef APR_MODULE
  };
  return all;
#else
  return {};
#endif
}

}  // namespace apr::kernels::cuda
