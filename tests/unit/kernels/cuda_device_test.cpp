#include "apr/kernels/cuda_device.h"

#include <gtest/gtest.h>

namespace apr::kernels {
namespace {

TEST(CudaStatus, HasDevicesOrAReasonNeverBothOrNeither) {
  const CudaStatus status = cuda_status();
  EXPECT_EQ(status.devices.empty(), !status.reason.empty());
  EXPECT_TRUE(status.built || status.devices.empty());
  for (const CudaDevice& device : status.devices) EXPECT_GT(device.memory_bytes, 0U);
}

}  // namespace
}  // namespace apr::kernels
