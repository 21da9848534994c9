#include "src/convert/synth_model.h"
#include "tests/support/paths.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

namespace apr::convert {
namespace {

const SynthPreset& preset(std::string_view name) {
  return *std::ranges::find(synth_presets(), name, &SynthPreset::name);
}
const SynthQuant& quant(std::string_view name) { return *std::ranges::find(synth_quants(), name, &SynthQuant::name); }

std::uint64_t n_parameters(const SynthPreset& p) {
  std::uint64_t count = 0;
  for (const SynthTensor& t : synth_tensors(p)) {
    if (t.role != Role::RopeFreqs) count += static_cast<std::uint64_t>(t.n_rows() * t.n_columns());
  }
  return count;
}

TEST(SynthModel, ParameterCountsAreThoseOfThePublishedModels) {
  // "Number of parameters" of the safetensors files on huggingface.co.
  const std::map<std::string_view, std::uint64_t> published = {
      {"qwen2.5-0.5b", 494032768},  {"qwen2.5-1.5b", 1543714304}, {"qwen2.5-7b", 7615616512},
      {"llama-3.2-1b", 1235814400}, {"llama-3.1-8b", 8030261248}, {"qwen3-0.6b", 596049920},
      {"gemma-3-270m", 268098176},
  };
  std::size_t compared = 0;
  for (const SynthPreset& p : synth_presets()) {
    if (p.name.starts_with("tiny")) continue;
    EXPECT_EQ(n_parameters(p), published.at(p.name)) << p.name;
    ++compared;
  }
  EXPECT_EQ(compared, published.size());
}

TEST(SynthModel, NamesAreUniqueAndThePlainOrderIsByPublishedName) {
  for (const SynthPreset& p : synth_presets()) {
    std::set<std::string> gguf, hf;
    std::string previous;
    for (const SynthTensor& t : synth_tensors(p)) {
      EXPECT_TRUE(gguf.insert(t.gguf_name).second) << t.gguf_name;
      if (t.hf_name.empty()) {
        EXPECT_EQ(t.role, Role::RopeFreqs);
        continue;
      }
      EXPECT_TRUE(hf.insert(t.hf_name).second) << t.hf_name;
      EXPECT_LT(previous, t.hf_name);
      previous = t.hf_name;
    }
    EXPECT_EQ(gguf.contains("output.weight"), !p.tied);
    EXPECT_EQ(gguf.contains("rope_freqs.weight"), p.rope_scaling > 0);
    EXPECT_EQ(gguf.contains("blk.0.attn_q.bias"), p.arch == "qwen2");
    EXPECT_EQ(gguf.contains("blk.0.attn_q_norm.weight"), p.arch == "qwen3" || p.arch == "gemma3");
    EXPECT_EQ(gguf.contains("blk.0.post_ffw_norm.weight"), p.arch == "gemma3");
  }
}

TEST(SynthModel, TheQuantizedOrderIsByLayerAsANumber) {
  std::vector<SynthTensor> tensors = synth_tensors(preset("qwen2.5-0.5b"));
  sort_as_quantized(tensors);
  EXPECT_EQ(tensors[0].gguf_name, "output_norm.weight");
  EXPECT_EQ(tensors[1].gguf_name, "token_embd.weight");
  EXPECT_EQ(tensors[2].gguf_name, "blk.0.attn_k.bias");
  int layer = -1;
  for (const SynthTensor& t : tensors) {
    EXPECT_GE(t.layer, layer);
    layer = t.layer;
  }
  EXPECT_EQ(layer, 23);
}

// The golden file holds what llama-quantize chose (tests/conformance/quant_mix.py).
TEST(SynthModel, TypesAreThoseOfLlamaQuantize) {
  std::ifstream golden(test::source_dir() + "/tests/golden/quant_mix.txt");
  ASSERT_TRUE(golden);
  std::size_t n_lines = 0, n_matrices = 0;
  for (std::string line; std::getline(golden, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream words(line);
    std::string preset_name, quant_name, role, run;
    words >> preset_name >> quant_name >> role;
    std::vector<std::string> expected, ours;
    while (words >> run) {
      const std::size_t star = run.find('*');
      expected.insert(expected.end(), std::stoul(run.substr(star + 1)), run.substr(0, star));
    }
    std::vector<SynthTensor> tensors = synth_tensors(preset(preset_name));
    sort_as_quantized(tensors);
    for (const SynthTensor& t : tensors) {
      const std::string prefix = t.layer < 0 ? "" : "blk." + std::to_string(t.layer) + ".";
      if (t.gguf_name != prefix + role) continue;
      ours.emplace_back(name(type_in_mix(quant(quant_name), preset(preset_name), t)));
    }
    EXPECT_EQ(ours, expected) << line;
    ++n_lines;
    n_matrices += ours.size();
  }
  EXPECT_EQ(n_lines, 637U);
  EXPECT_EQ(n_matrices, 13U * (30 + 29 + 29 + 43 + 127 + 169));
}

TEST(SynthModel, VectorsStayF32InEveryMix) {
  std::size_t n_vectors = 0;
  for (const SynthQuant& q : synth_quants()) {
    for (const SynthTensor& t : synth_tensors(preset("tiny-qwen2"))) {
      if (t.is_matrix()) continue;
      EXPECT_EQ(type_in_mix(q, preset("tiny-qwen2"), t), TensorType::F32);
      ++n_vectors;
    }
  }
  EXPECT_EQ(n_vectors, synth_quants().size() * 21);
}

TEST(SynthModel, RopeFactorsFollowTheLlama3Rule) {
  // Published rope_freqs.weight of Llama 3.1 8B: ones for the short waves, 8 for the long ones, in between rising.
  const std::vector<float> factors = llama3_rope_factors(preset("llama-3.1-8b"));
  ASSERT_EQ(factors.size(), 64U);
  EXPECT_EQ(factors.front(), 1.0F);
  EXPECT_EQ(factors[28], 1.0F);
  EXPECT_EQ(factors.back(), 8.0F);
  EXPECT_EQ(factors[35], 8.0F);
  for (std::size_t i = 1; i < factors.size(); ++i) EXPECT_GE(factors[i], factors[i - 1]);
  // Wave 30: 2 pi 500000^(60/128) = 2951 tokens, smooth = (8192 / 2951 - 1) / 3 = 0.592.
  EXPECT_NEAR(factors[30], 1.0 / ((1 - 0.592) / 8 + 0.592), 0.01);
}

TEST(SynthModel, LlamaRowsAreInterleavedPerHeadAndOthersAreNot) {
  const SynthPreset& p = preset("tiny");
  for (const SynthTensor& t : synth_tensors(p)) {
    if (t.gguf_name != "blk.1.attn_k.weight") continue;
    // llama.cpp's converter: reshape(heads, 2, half).swapaxes(1, 2), so published row t * half + j becomes row 2 j + t.
    for (std::int64_t head = 0; head < 2; ++head) {
      for (std::int64_t t01 = 0; t01 < 2; ++t01) {
        for (std::int64_t j = 0; j < 32; ++j) {
          EXPECT_EQ(gguf_row_of(p, t, head * 64 + t01 * 32 + j), head * 64 + 2 * j + t01);
        }
      }
    }
  }
  const SynthPreset& other = preset("tiny-qwen3");
  for (const SynthTensor& t : synth_tensors(other)) EXPECT_EQ(gguf_row_of(other, t, 33), 33);
}

}  // namespace
}  // namespace apr::convert
