// The wide matrix products as four (two) of 8 x 8 x 16: what compute capability 7.5 has. The fragments of the wide ones
// are those of the small ones side by side: registers a0, a2 (b0, b1) are the halves of k, a0, a1 the halves of the
// rows. Of f16 the small ones are 16 x 8 x 8. Included behind mma_8x8x16 and mma_f16_k8, by shim.h and the emulator.
#pragma once

namespace apr::kernels::cuda {

template <bool Signed>
APR_DEVICE void mma_k32_in_parts(int (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                                 uint32_t b1) {
  mma_8x8x16<Signed>(c[0], c[1], a0, b0);
  mma_8x8x16<Signed>(c[2], c[3], a1, b0);
  mma_8x8x16<Signed>(c[0], c[1], a2, b1);
  mma_8x8x16<Signed>(c[2], c[3], a3, b1);
}
APR_DEVICE void mma_k16_in_parts(int (&c)[4], uint32_t a0, uint32_t a1, uint32_t b0) {
  mma_8x8x16<true>(c[0], c[1], a0, b0);
  mma_8x8x16<true>(c[2], c[3], a1, b0);
}
APR_DEVICE void mma_f16_in_parts(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  mma_f16_k8(c, a[0], a[1], b0);
  mma_f16_k8(c, a[2], a[3], b1);
}

}  // namespace apr::kernels::cuda
