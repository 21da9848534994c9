// Runs ggml's own reference conversions on standard input; make_goldens.py builds and calls it.
//   oracle dequantize ID N_BLOCKS    blocks -> float32
//   oracle quantize ID N_BLOCKS      float32 -> blocks
//   oracle sizes                     "id name block_elements block_bytes" of every type
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ggml.h"
#include "ggml-quants.h"

enum { n_live_types = GGML_TYPE_COUNT };

static int fail(const char* why) {
  fprintf(stderr, "oracle: %s\n", why);
  return 1;
}

static void dequantize(enum ggml_type type, const char* src, float* dst, int64_t n_blocks) {
  const struct ggml_type_traits* traits = ggml_get_type_traits(type);
  const int64_t n = n_blocks * traits->blck_size;
  switch (type) {
    case GGML_TYPE_F32: memcpy(dst, src, (size_t)n * 4); return;
    case GGML_TYPE_F64: for (int64_t i = 0; i < n; ++i) { double v; memcpy(&v, src + 8 * i, 8); dst[i] = (float)v; } return;
    case GGML_TYPE_I8: for (int64_t i = 0; i < n; ++i) dst[i] = (float)(int8_t)src[i]; return;
    case GGML_TYPE_I16: for (int64_t i = 0; i < n; ++i) { int16_t v; memcpy(&v, src + 2 * i, 2); dst[i] = (float)v; } return;
    case GGML_TYPE_I32: for (int64_t i = 0; i < n; ++i) { int32_t v; memcpy(&v, src + 4 * i, 4); dst[i] = (float)v; } return;
    case GGML_TYPE_I64: for (int64_t i = 0; i < n; ++i) { int64_t v; memcpy(&v, src + 8 * i, 8); dst[i] = (float)v; } return;
    case GGML_TYPE_Q8_K: dequantize_row_q8_K((const void*)src, dst, n); return;
    case GGML_TYPE_Q8_1:  // ggml never decodes it: drop the sum and decode the rest, which is a Q8_0 block
      for (int64_t i = 0; i < n_blocks; ++i) {
        char q8_0[34];
        memcpy(q8_0, src + 36 * i, 2);
        memcpy(q8_0 + 2, src + 36 * i + 4, 32);
        dequantize_row_q8_0((const void*)q8_0, dst + 32 * i, 32);
      }
      return;
    default: traits->to_float(src, dst, n);
  }
}

static int quantize(enum ggml_type type, const float* src, char* dst, int64_t n_blocks) {
  const struct ggml_type_traits* traits = ggml_get_type_traits(type);
  const int64_t n = n_blocks * traits->blck_size;
  if (type == GGML_TYPE_Q8_K) {
    quantize_row_q8_K_ref(src, (void*)dst, n);
  } else if (traits->from_float_ref) {
    traits->from_float_ref(src, dst, n);
  } else {
    return fail("this type has no reference quantiser");
  }
  return 0;
}

int main(int argc, char** argv) {
  if (argc == 2 && strcmp(argv[1], "sizes") == 0) {
    for (int id = 0; id < n_live_types; ++id) {
      const struct ggml_type_traits* traits = ggml_get_type_traits((enum ggml_type)id);
      const int live = traits->type_name && traits->blck_size > 0;
      if (live) printf("%d %s %lld %zu\n", id, traits->type_name, (long long)traits->blck_size, traits->type_size);
    }
    return 0;
  }
  if (argc != 4) return fail("usage: oracle dequantize|quantize ID N_BLOCKS, or oracle sizes");
  const enum ggml_type type = (enum ggml_type)atoi(argv[2]);
  const int64_t n_blocks = atoll(argv[3]);
  const struct ggml_type_traits* traits = ggml_get_type_traits(type);
  const size_t block_bytes = (size_t)n_blocks * traits->type_size;
  const size_t float_bytes = (size_t)(n_blocks * traits->blck_size) * sizeof(float);
  char* blocks = calloc(1, block_bytes);
  float* floats = calloc(1, float_bytes);
  if (!blocks || !floats) return fail("out of memory");
  if (strcmp(argv[1], "dequantize") == 0) {
    if (fread(blocks, 1, block_bytes, stdin) != block_bytes) return fail("short input");
    dequantize(type, blocks, floats, n_blocks);
    return fwrite(floats, 1, float_bytes, stdout) == float_bytes ? 0 : fail("short output");
  }
  if (strcmp(argv[1], "quantize") != 0) return fail("unknown command");
  if (fread(floats, 1, float_bytes, stdin) != float_bytes) return fail("short input");
  if (quantize(type, floats, blocks, n_blocks)) return 1;
  return fwrite(blocks, 1, block_bytes, stdout) == block_bytes ? 0 : fail("short output");
}
