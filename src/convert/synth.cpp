#include "apr/convert/synth.h"

#include <filesystem>
#include <memory>

#include "apr/convert/apr_names.h"
#include "apr/core/error.h"
#include "apr/core/file.h"
#include "apr/core/text.h"
#include "apr/format/writer.h"
#include "apr/kernels/dispatch.h"
#include "src/convert/ordered_pipeline.h"
#include "src/convert/synth_model.h"
#include "src/convert/synth_output.h"

namespace apr::convert {
namespace {

using format::Format;

constexpr std::int64_t kChunkElements = 64 * 1024;  // 256 KiB of f32: in cache, and many chunks even in a tiny model

template <class Row>
const Row& find_row(std::span<const Row> rows, std::string_view name, std::string_view what) {
  std::vector<std::string_view> names;
  for (const Row& row : rows) {
    if (row.name == name) return row;
    names.push_back(row.name);
  }
  std::string expected;
  for (const std::string_view known : names) expected += (expected.empty() ? "" : ", ") + std::string(known);
  const std::vector<std::string> near = nearest(name, names);
  throw Error(ErrorCode::Usage, "unknown " + std::string(what))
      .want(expected)
      .got(std::string(name))
      .help(near.empty() ? std::string() : "did you mean " + near.front() + "?");
}

// One output tensor: what is drawn, and the name and type under which it is written.
struct Output {
  SynthTensor tensor;
  format::TensorDecl decl;
  std::uint64_t size_bytes = 0;
  TensorDraw draw;
};

struct Chunk {
  std::size_t output = 0;
  std::int64_t first_row = 0, n_rows = 0;
};

class Synthesizer {
 public:
  explicit Synthesizer(const SynthOptions& options)
      : options_(options),
        preset_(find_row(synth_presets(), options.preset, "preset")),
        quant_(find_row(synth_quants(), options.quant, "quantisation")),
        paths_(synth_paths(options)) {}

  SynthReport run() {
    refuse_existing(paths_, options_.force);
    list_outputs();
    refuse_types();
    const Vocab vocab = make_vocab(preset_);
    const bool in_directory = !paths_.config.empty();
    if (in_directory) std::filesystem::create_directories(std::filesystem::path(paths_.model).parent_path());
    require_free_space(paths_.model, n_bytes_ + metadata_bytes(vocab));
    if (in_directory) write_companions(vocab);  // before the model: who finds the model finds all of it
    write_model(vocab);
    return report();
  }

 private:
  void list_outputs() {
    std::vector<SynthTensor> tensors = synth_tensors(preset_);
    const bool is_mix = find_type(quant_.base)->block_elements > 1;
    if (options_.format == Format::Gguf && is_mix) sort_as_quantized(tensors);
    const std::vector<std::int64_t> outliers = outlier_channels(options_.seed, preset_.n_hidden);
    for (SynthTensor& tensor : tensors) {
      if (options_.format == Format::SafeTensors && tensor.hf_name.empty()) continue;
      const TensorType type = type_of(tensor);
      const TypeInfo& info = *find_type(type);
      const std::uint64_t blocks = static_cast<std::uint64_t>(tensor.n_columns()) / info.block_elements;
      const std::uint64_t size_bytes = static_cast<std::uint64_t>(tensor.n_rows()) * blocks * info.block_bytes;
      TensorDraw draw(options_.seed, tensor.gguf_name, spread_of(preset_, tensor), tensor.n_columns(), outliers);
      n_bytes_ += size_bytes;
      n_parameters_ += static_cast<std::uint64_t>(tensor.n_rows()) * static_cast<std::uint64_t>(tensor.n_columns());
      format::TensorDecl decl{name_of(tensor), type, tensor.shape};
      outputs_.push_back({std::move(tensor), std::move(decl), size_bytes, std::move(draw)});
    }
  }

  // Published SafeTensors files hold every tensor in one type; GGUF and APR follow the mix.
  TensorType type_of(const SynthTensor& tensor) const {
    return options_.format == Format::SafeTensors ? quant_.base : type_in_mix(quant_, preset_, tensor);
  }

  std::string name_of(const SynthTensor& tensor) const {
    if (options_.format == Format::SafeTensors) return tensor.hf_name;
    if (options_.format == Format::Gguf) return tensor.gguf_name;
    return apr_name_of(preset_.arch, tensor.gguf_name);
  }

  void refuse_types() const {
    if (options_.format == Format::Gguf) return;
    for (const Output& output : outputs_) {
      const TensorType type = output.decl.type;
      const TypeInfo& info = *find_type(type);
      const bool apr_holds = info.block_elements == 1 || type == TensorType::Q4_K || type == TensorType::Q6_K;
      if (options_.format == Format::Apr ? apr_holds : info.block_elements == 1) continue;
      throw Error(ErrorCode::Usage, std::string(format::name(options_.format)) + " cannot hold tensors of type " +
                                        std::string(info.name) + " exactly")
          .at(options_.path)
          .in("tensor " + output.decl.name)
          .want(options_.format == Format::Apr ? "F32, F16, BF16, Q4_K or Q6_K" : "F32, F16 or BF16")
          .got(std::string(info.name) + ", which --quant " + options_.quant + " gives it")
          .help("choose another --quant, or --format gguf");
    }
  }

  static std::uint64_t metadata_bytes(const Vocab& vocab) {
    std::uint64_t bytes = 64 * 1024;
    for (const std::string& token : vocab.tokens) bytes += token.size() + 24;
    for (const auto& [left, right] : vocab.merges) bytes += left.size() + right.size() + 12;
    return bytes;
  }

  void write_companions(const Vocab& vocab) const {
    const auto write = [](const std::string& path, const std::string& text) {
      OutputFile file(path);
      file.write(std::string_view(text));
      file.commit();
    };
    write(paths_.config, config_json(preset_, quant_, options_.seed));
    write(paths_.tokenizer, tokenizer_json(vocab));
    write(paths_.tokenizer_config, tokenizer_config_json(vocab));
  }

  std::vector<format::WriteEntry> metadata(const Vocab& vocab) const {
    switch (options_.format) {
      case Format::Gguf: return gguf_metadata(preset_, quant_, options_.seed, vocab);
      case Format::Apr: return apr_metadata(preset_, quant_, options_.seed, vocab, n_parameters_);
      case Format::SafeTensors: break;
    }
    return {{"format", format::WriteValue::string("pt")}};
  }

  void write_model(const Vocab& vocab) {
    const std::unique_ptr<format::ModelWriter> writer = format::make_writer(options_.format, paths_.model);
    std::vector<format::TensorDecl> decls;
    for (const Output& output : outputs_) decls.push_back(output.decl);
    writer->begin(metadata(vocab), decls);
    const std::vector<Chunk> chunks = make_chunks();
    std::uint64_t done_bytes = 0;
    run_in_order(
        chunks.size(), std::max(1U, options_.n_threads),
        [&](std::uint64_t i, std::vector<std::byte>& bytes) { fill(chunks[i], bytes); },
        [&](std::uint64_t i, std::span<const std::byte> bytes) {
          check_interrupted();
          writer->write(bytes);
          const Chunk& chunk = chunks[i];
          if (chunk.first_row + chunk.n_rows == outputs_[chunk.output].tensor.n_rows()) writer->end_tensor();
          done_bytes += bytes.size();
          if (options_.progress) options_.progress(done_bytes, n_bytes_);
        });
    writer->finish();
  }

  std::vector<Chunk> make_chunks() const {
    std::vector<Chunk> chunks;
    for (std::size_t o = 0; o < outputs_.size(); ++o) {
      const SynthTensor& tensor = outputs_[o].tensor;
      const std::int64_t step = std::max<std::int64_t>(1, kChunkElements / tensor.n_columns());
      for (std::int64_t row = 0; row < tensor.n_rows(); row += step) {
        chunks.push_back({o, row, std::min(step, tensor.n_rows() - row)});
      }
    }
    return chunks;
  }

  // Runs on any thread: depends on nothing but the chunk.
  void fill(const Chunk& chunk, std::vector<std::byte>& bytes) const {
    const Output& output = outputs_[chunk.output];
    const TypeInfo& info = *find_type(output.decl.type);
    const kernels::QuantizeFn quantize = kernels::quantizer(output.decl.type);
    APR_CHECK(quantize != nullptr);
    const std::int64_t n_columns = output.tensor.n_columns();
    const std::int64_t n_blocks = n_columns / info.block_elements;
    const auto row_bytes = static_cast<std::size_t>(n_blocks) * info.block_bytes;
    bytes.resize(row_bytes * static_cast<std::size_t>(chunk.n_rows));
    std::vector<float> row(static_cast<std::size_t>(n_columns));
    for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
      draw_row(output, chunk.first_row + r, row);
      quantize(row.data(), bytes.data() + static_cast<std::size_t>(r) * row_bytes, n_blocks);
    }
  }

  void draw_row(const Output& output, std::int64_t index, std::vector<float>& row) const {
    const SynthTensor& tensor = output.tensor;
    if (tensor.role == Role::RopeFreqs) {
      row = llama3_rope_factors(preset_);
      return;
    }
    if (options_.format != Format::SafeTensors) {
      output.draw.row(index, row.data());
      return;
    }
    output.draw.row(gguf_row_of(preset_, tensor, index), row.data());
    // Gemma's published norms are stored as the difference from 1, which llama.cpp's converter adds.
    if (preset_.arch == "gemma3" && !tensor.is_matrix()) {
      for (float& weight : row) weight -= 1.0F;
    }
  }

  SynthReport report() const {
    SynthReport result;
    result.files = paths_.all();
    result.n_tensors = outputs_.size();
    result.n_parameters = n_parameters_;
    result.model_bytes = std::filesystem::file_size(paths_.model);
    for (const Output& output : outputs_) ++result.tensors_by_type[std::string(name(output.decl.type))];
    return result;
  }

  const SynthOptions& options_;
  const SynthPreset& preset_;
  const SynthQuant& quant_;
  const SynthPaths paths_;
  std::vector<Output> outputs_;
  std::uint64_t n_bytes_ = 0, n_parameters_ = 0;
};

}  // namespace

SynthReport synth(const SynthOptions& options) { return Synthesizer(options).run(); }

}  // namespace apr::convert
