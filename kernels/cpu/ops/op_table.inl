// The kernels of the fast executor on one vector.
namespace apr::kernels {
namespace {

template <class V>
constexpr OpKernels op_kernels() {
  OpKernels ops = {};
  ops.lanes = V::lanes;
  ops.block_cols = V::block_cols;
  fill_panels<V>(ops.panel);
  ops.quantize_activation = quantize_activation;
  ops.rms_norm = rms_norm;
  ops.add = add_rows;
  ops.silu_mul = silu_mul;
  ops.gelu_mul = gelu_mul;
  ops.kv[kv_f16] = {store_kv_f16<V>, attention_rows<V, CacheF16>, attention_part<V, CacheF16>};
  ops.kv[kv_q8_0] = {store_kv_q8, attention_rows<V, CacheQ8>, attention_part<V, CacheQ8>};
  ops.attention_merge = attention_merge;
  ops.read_all = read_all;
  ops.peak_int8 = peak_int8;
  return ops;
}

}  // namespace
}  // namespace apr::kernels
