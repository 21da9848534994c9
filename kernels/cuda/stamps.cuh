// Time stamps around a kernel, for the profiling variant alone: the plain one has none of this.
#pragma once
#include "apr/kernels/cuda_params.h"
#include "kernels/cuda/shim.h"

namespace apr::kernels::cuda {

/// Runs `body` as the kernel it is; thread 0 stamps entry and exit of its block, wait_early() the end of the wait.
template <class Params, class Body>
APR_DEVICE void run_stamped(const Stamped<Params>& s, Body body) {
  note_time(0, now());
  body(s.params);
  sync();
  if (thread() != 0 || s.stamps == 0) return;
  Global<uint64_t> to = global<uint64_t>(s.stamps);
  atomic_lowest(to, noted_time(0));
  atomic_lowest(to + 1, noted_time(1));
  atomic_lowest(to + 2, ~now());
}

}  // namespace apr::kernels::cuda
