// The kernels as functions of the host, by id.
#pragma once
#include "apr/kernels/cuda_emulator.h"

namespace apr::kernels::cuda::emu {

[[nodiscard]] Emulator::Body body(KernelId kernel);
/// Those of the profiling variant: they take Stamped parameters.
[[nodiscard]] Emulator::Body stamped_body(KernelId kernel);

}  // namespace apr::kernels::cuda::emu
