// The kernels as functions of the host, by id.
#pragma once
#include "apr/kernels/cuda_emulator.h"

namespace apr::kernels::cuda::emu {

[[nodiscard]] Emulator::Body body(KernelId kernel);

}  // namespace apr::kernels::cuda::emu
