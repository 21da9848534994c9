// llama.cpp's logits for the ids of text_logits, in the same form. Built by divergence.sh against llama.cpp's static
// libraries; not part of apr's build. usage: llama_logits MODEL IDS LOGITS_OUT [N_THREADS]
// Batches of 256 as in text_logits; all else is default: f16 cache, flash attention where it likes it, its own kernels.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "llama.h"

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: llama_logits MODEL IDS LOGITS_OUT [N_THREADS]\n");
    return 2;
  }
  std::ifstream in(argv[2], std::ios::binary | std::ios::ate);
  std::vector<llama_token> ids(static_cast<std::size_t>(in.tellg()) / sizeof(llama_token));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(ids.data()), static_cast<std::streamsize>(ids.size() * sizeof(llama_token)));
  llama_backend_init();
  llama_model_params model_params = llama_model_default_params();
  model_params.n_gpu_layers = 0;
  llama_model* model = llama_model_load_from_file(argv[1], model_params);
  if (!in || ids.empty() || model == nullptr) {
    std::fprintf(stderr, "cannot read the ids or the model\n");
    return 1;
  }
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<std::uint32_t>(ids.size());
  params.n_batch = 256;
  if (argc > 4) params.n_threads = params.n_threads_batch = std::atoi(argv[4]);
  llama_context* context = llama_init_from_model(model, params);
  const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  std::ofstream out(argv[3], std::ios::binary);
  for (std::size_t at = 0; context != nullptr && at < ids.size(); at += params.n_batch) {
    const int n = static_cast<int>(std::min<std::size_t>(params.n_batch, ids.size() - at));
    llama_batch batch = llama_batch_init(n, 0, 1);
    batch.n_tokens = n;
    for (int i = 0; i < n; ++i) {
      batch.token[i] = ids[at + static_cast<std::size_t>(i)];
      batch.pos[i] = static_cast<llama_pos>(at) + i;
      batch.n_seq_id[i] = 1;
      batch.seq_id[i][0] = 0;
      batch.logits[i] = 1;
    }
    if (llama_decode(context, batch) != 0) {
      std::fprintf(stderr, "llama_decode failed at token %zu\n", at);
      return 1;
    }
    for (int i = 0; i < n; ++i)
      out.write(reinterpret_cast<const char*>(llama_get_logits_ith(context, i)),
                static_cast<std::streamsize>(n_vocab) * static_cast<std::streamsize>(sizeof(float)));
    llama_batch_free(batch);
  }
  std::printf("llama.cpp: %zu tokens, %d logits each\n", ids.size(), n_vocab);
  return context != nullptr && out ? 0 : 1;
}
