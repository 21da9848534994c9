// The stack of a fiber, and what AddressSanitizer has to be told of it: without knowing which stack runs, it takes what
// an exception on a fiber left behind for poison. Without that sanitizer the functions are empty.
#pragma once
#include <boost/context/fixedsize_stack.hpp>
#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define APR_ASAN_FIBERS 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define APR_ASAN_FIBERS 1
#endif
#if defined(APR_ASAN_FIBERS)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace apr::kernels::cuda {

struct StackBounds {
  const void* bottom = nullptr;
  std::size_t size = 0;
};

/// Allocates like fixedsize_stack and notes where.
class NotedStack {
 public:
  NotedStack(std::size_t size, StackBounds& bounds) : stack_(size), bounds_(&bounds) {}
  boost::context::stack_context allocate() {
    const boost::context::stack_context context = stack_.allocate();
    *bounds_ = {static_cast<const char*>(context.sp) - context.size, context.size};
    return context;
  }
  void deallocate(boost::context::stack_context& context) noexcept { stack_.deallocate(context); }

 private:
  boost::context::fixedsize_stack stack_;
  StackBounds* bounds_;
};

/// Before a switch to another stack; returns what arrive() wants when this one runs again.
inline void* leave(const StackBounds& to) {
  void* frames = nullptr;
#if defined(APR_ASAN_FIBERS)
  __sanitizer_start_switch_fiber(&frames, to.bottom, to.size);
#else
  static_cast<void>(to);
#endif
  return frames;
}
/// After a switch to this stack (null: for the first time); returns the stack that was left.
inline StackBounds arrive(void* frames) {
  StackBounds from;
#if defined(APR_ASAN_FIBERS)
  __sanitizer_finish_switch_fiber(frames, &from.bottom, &from.size);
#else
  static_cast<void>(frames);
#endif
  return from;
}
/// Before a fiber that is not done is destroyed: boost unwinds it by an exception.
inline void forget_poison(const StackBounds& stack) {
#if defined(APR_ASAN_FIBERS)
  __asan_unpoison_memory_region(stack.bottom, stack.size);
#else
  static_cast<void>(stack);
#endif
}

}  // namespace apr::kernels::cuda
