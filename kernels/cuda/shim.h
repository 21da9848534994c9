// The one header that knows whether a kernel is compiled by nvcc or for the host's emulator. Kernels use these names
// and no CUDA built-in, so that both compile the same source.
//
//   Global<T>, Shared<T>   pointers: plain under nvcc, checked at every access under the emulator
//   thread(), lane(), ...  one-dimensional blocks; grids have three dimensions
//   fma is written out (fused) and never contracted (-fmad=false): the emulator gives the device's bits except in exp
#pragma once
#include <stdint.h>

namespace apr::kernels::cuda {

struct alignas(8) Word2 {
  uint32_t x, y;
};
struct alignas(16) Word4 {
  uint32_t x, y, z, w;
};

}  // namespace apr::kernels::cuda

#if !defined(__CUDACC__)
#include "kernels/cuda/emu/thread.h"
#else
#include <cuda_fp16.h>

#define APR_DEVICE static __device__ __forceinline__
// The kernel apr_NAME with its one parameter p; blocks of it that fit a multiprocessor bound its registers.
#if APR_STAMPS
#define APR_KERNEL(name, Params, threads, blocks)                       \
  APR_DEVICE void apr_##name##_body(const Params& p);                   \
  extern "C" __global__ void __launch_bounds__(threads, blocks)         \
      apr_##name##_stamped(const __grid_constant__ Stamped<Params> s) { \
    run_stamped(s, [](const Params& p) { apr_##name##_body(p); });      \
  }                                                                     \
  APR_DEVICE void apr_##name##_body(const Params& p)
#else
#define APR_KERNEL(name, Params, threads, blocks) \
  extern "C" __global__ void __launch_bounds__(threads, blocks) apr_##name(const __grid_constant__ Params p)
#endif
#define APR_METHOD __device__ __forceinline__
#define APR_UNROLL _Pragma("unroll")
#define APR_UNROLL_2 _Pragma("unroll 2")
#define APR_UNROLL_1 _Pragma("unroll 1")

namespace apr::kernels::cuda {

template <class T>
using Global = T*;
template <class T>
using Shared = T*;

template <class T>
APR_DEVICE T* global(uint64_t address) {
  return reinterpret_cast<T*>(address);
}
extern __shared__ __align__(16) unsigned char apr_shared_memory[];
template <class T>
APR_DEVICE T* shared(int offset) {
  return reinterpret_cast<T*>(apr_shared_memory + offset);
}
template <class U, class T>
APR_DEVICE U* cast(T* p) {
  return reinterpret_cast<U*>(p);
}
template <class T>
APR_DEVICE bool given(T* p) {
  return p != nullptr;
}

APR_DEVICE int thread() { return static_cast<int>(threadIdx.x); }
APR_DEVICE int lane() { return static_cast<int>(threadIdx.x & 31); }
APR_DEVICE int warp() { return static_cast<int>(threadIdx.x >> 5); }
APR_DEVICE int n_threads() { return static_cast<int>(blockDim.x); }
APR_DEVICE int block_x() { return static_cast<int>(blockIdx.x); }
APR_DEVICE int block_y() { return static_cast<int>(blockIdx.y); }
APR_DEVICE int block_z() { return static_cast<int>(blockIdx.z); }
APR_DEVICE int grid_x() { return static_cast<int>(gridDim.x); }

APR_DEVICE void sync() { __syncthreads(); }
APR_DEVICE void sync_warp() { __syncwarp(); }
APR_DEVICE void fence() { __threadfence(); }
template <class T>
APR_DEVICE T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xFFFFFFFFu, value, mask);
}
template <class T>
APR_DEVICE T shuffle(T value, int from) {
  return __shfl_sync(0xFFFFFFFFu, value, from);
}
APR_DEVICE uint32_t ballot(bool value) { return __ballot_sync(0xFFFFFFFFu, value); }
APR_DEVICE uint32_t atomic_add(uint32_t* p, uint32_t value) { return atomicAdd(p, value); }

#if APR_STAMPS
APR_DEVICE uint64_t now() {
  uint64_t ns;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(ns)::"memory");
  return ns;
}
APR_DEVICE uint64_t* time_words() {
  __shared__ uint64_t words[2];  // of thread 0: kept in registers they would cost every thread two
  return words;
}
APR_DEVICE uint64_t noted_time(int which) { return time_words()[which]; }
/// 0: the entry, which is the end of the wait, too, until there is one. 1: the end of the wait.
APR_DEVICE void note_time(int which, uint64_t time) {
  if (threadIdx.x != 0) return;
  if (which == 0) time_words()[0] = time;
  time_words()[1] = time;
}
APR_DEVICE void atomic_lowest(uint64_t* p, uint64_t value) {
  atomicMin(reinterpret_cast<unsigned long long*>(p), static_cast<unsigned long long>(value));
}
#endif

/// Waits until everything that earlier launches wrote is visible. Before it, only constant memory may be touched.
APR_DEVICE void wait_early() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
#if APR_STAMPS
  note_time(1, now());
#endif
}
/// Lets the next launch start its part before the wait.
APR_DEVICE void allow_early() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
/// A line of constant memory into L2.
template <class T>
APR_DEVICE void prefetch(const T* p) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
}
/// Constant memory that is read once.
APR_DEVICE Word4 load_stream(const Word4* p) {
  Word4 w;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(w.x), "=r"(w.y), "=r"(w.z), "=r"(w.w) : "l"(p));
  return w;
}
APR_DEVICE Word2 load_stream(const Word2* p) {
  Word2 w;
  asm("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];" : "=r"(w.x), "=r"(w.y) : "l"(p));
  return w;
}

APR_DEVICE float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }
APR_DEVICE float half_to_float(uint32_t bits) {
  return __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
}
APR_DEVICE uint32_t float_to_half(float x) { return __half_as_ushort(__float2half_rn(x)); }
APR_DEVICE float as_float(uint32_t bits) { return __uint_as_float(bits); }
APR_DEVICE uint32_t as_bits(float x) { return __float_as_uint(x); }
APR_DEVICE double as_double(uint64_t bits) { return __longlong_as_double(static_cast<long long>(bits)); }
APR_DEVICE uint64_t as_bits(double x) { return static_cast<uint64_t>(__double_as_longlong(x)); }
APR_DEVICE int round_even(float x) { return __float2int_rn(x); }
APR_DEVICE int popcount(uint32_t x) { return __popc(x); }
APR_DEVICE float exponential(float x) { return expf(x); }
APR_DEVICE double exponential(double x) { return exp(x); }
APR_DEVICE double logarithm(double x) { return log(x); }
APR_DEVICE float square_root(float x) { return __fsqrt_rn(x); }
APR_DEVICE float highest(float a, float b) { return fmaxf(a, b); }
/// 2^x by the special function unit: to two units in the last place, subnormal results are 0.
APR_DEVICE float exponential2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
/// Two f16, `low` in the lower half.
APR_DEVICE uint32_t pack_halves(float low, float high) {
  const __half2 both = __floats2half2_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&both);
}

APR_DEVICE uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }
/// 16 bytes from global into shared memory, or zeros; they are there for this thread after await_copies(), for others
/// after a barrier behind it. Before compute capability 8.0 the copy is an ordinary one.
APR_DEVICE void copy_async(Word4* to, const Word4* from, bool exists) {
#if __CUDA_ARCH__ < 800
  *to = exists ? *from : Word4{0, 0, 0, 0};
#else
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(exists ? 16 : 0)
               : "memory");
#endif
}
APR_DEVICE void await_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}
/// Four 8 x 8 matrices of f16 from shared memory. Lane i names row i % 8 of matrix i / 8, eight elements in 16 bytes;
/// m[j] is the word of matrix j that a fragment has in this lane: row lane / 4, elements 2 (lane % 4) and the next.
APR_DEVICE void load_matrices(const uint16_t* row, uint32_t (&m)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(shared_address(row))
               : "memory");
}
/// The same with each matrix transposed: rows 2 (lane % 4) and the next of column lane / 4.
APR_DEVICE void load_matrices_turned(const uint16_t* row, uint32_t (&m)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(shared_address(row))
               : "memory");
}

/// c += a x b for 16 x 8 x 8 of f16 with f32 sums: compute capability 7.5 has no deeper one.
APR_DEVICE void mma_f16_k8(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t b0) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(b0));
}
/// (c0, c1) += a x b for 8 x 8 x 16: two columns of a row, a word of a row of a, a word of a column of b.
template <bool Signed>
APR_DEVICE void mma_8x8x16(int& c0, int& c1, uint32_t a, uint32_t b) {
  if constexpr (Signed) {
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
        : "+r"(c0), "+r"(c1)
        : "r"(a), "r"(b));
  } else {
    asm("mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
        : "+r"(c0), "+r"(c1)
        : "r"(a), "r"(b));
  }
}

}  // namespace apr::kernels::cuda
#include "kernels/cuda/mma_parts.h"
namespace apr::kernels::cuda {

/// c += a x b for 16 x 8 x 32: four rows' words of a, two of b (PTX ISA, fragments of mma.m16n8k32).
template <bool Signed>
APR_DEVICE void mma_k32(int (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ < 800
  mma_k32_in_parts<Signed>(c, a0, a1, a2, a3, b0, b1);
#else
  if constexpr (Signed) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }
#endif
}
/// c += a x b for 16 x 8 x 16 of f16 with f32 sums (PTX ISA, fragments of mma.m16n8k16).
APR_DEVICE void mma_f16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ < 800
  mma_f16_in_parts(c, a, b0, b1);
#else
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}
/// c += a x b for 16 x 8 x 16, both signed.
APR_DEVICE void mma_k16(int (&c)[4], uint32_t a0, uint32_t a1, uint32_t b0) {
#if __CUDA_ARCH__ < 800
  mma_k16_in_parts(c, a0, a1, b0);
#else
  asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a0), "r"(a1), "r"(b0));
#endif
}

}  // namespace apr::kernels::cuda
#endif
#if APR_STAMPS
#include "kernels/cuda/stamps.cuh"
#endif
