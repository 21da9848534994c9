#include "apr/kernels/dispatch.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "apr/core/checked.h"
#include "apr/core/cpu_info.h"
#include "apr/core/error.h"
#include "apr/core/text.h"
#include "kernels/container_types.h"
#include "kernels/isa_choice.h"

namespace apr::kernels {

extern const KernelTable table_scalar;
#ifdef APR_X86
extern const KernelTable table_avx2;
extern const KernelTable table_avx512;
extern const KernelTable table_avx512_vnni;
#endif

namespace {

std::vector<IsaVariant> detect_variants() {
  std::vector<IsaVariant> variants = {{table_scalar.isa, &table_scalar, true}};
#ifdef APR_X86
  const CpuInfo& cpu = cpu_info();
  const bool avx2 = cpu.avx2 && cpu.fma && cpu.f16c && cpu.os_saves_ymm;
  const bool avx512 = avx2 && cpu.avx512f && cpu.avx512bw && cpu.avx512dq && cpu.avx512vl && cpu.os_saves_zmm;
  variants.push_back({table_avx2.isa, &table_avx2, avx2});
  variants.push_back({table_avx512.isa, &table_avx512, avx512});
  variants.push_back({table_avx512_vnni.isa, &table_avx512_vnni, avx512 && cpu.avx512vnni});
#endif
  return variants;
}

std::atomic<const KernelTable*> forced_table{nullptr};

std::string joined(std::span<const std::string> words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

QuantKernels kernels_of(TensorType type) {
  const auto id = static_cast<std::uint16_t>(type);
  return id < n_ggml_types ? active().quant[id] : container_kernels(type);
}

/// Elements that `bytes` of a tensor hold; nothing for a type without a block.
std::optional<std::uint64_t> elements_in(const TypeInfo& type, std::uint64_t bytes) {
  if (type.block_elements == 0) return std::nullopt;
  if (type.type == TensorType::AprQ8) {
    if (bytes < sizeof(float)) return std::nullopt;
    bytes -= sizeof(float);
  }
  return checked_mul<std::uint64_t>(bytes / type.block_bytes, type.block_elements);
}

}  // namespace

std::span<const IsaVariant> isa_variants() {
  static const std::vector<IsaVariant> variants = detect_variants();
  return variants;
}

const KernelTable* best_variant(std::span<const IsaVariant> variants) {
  const KernelTable* best = nullptr;
  for (const IsaVariant& variant : variants)
    if (variant.runs_here) best = variant.table;
  APR_CHECK(best != nullptr);
  return best;
}

const KernelTable* named_variant(std::span<const IsaVariant> variants, std::string_view name) {
  std::vector<std::string_view> names;
  for (const IsaVariant& variant : variants) {
    names.push_back(variant.name);
    if (variant.name != name) continue;
    if (variant.runs_here) return variant.table;
    throw Error(ErrorCode::Unsupported, "this machine cannot run the instruction set '" + std::string(name) + "'")
        .help("leave the choice to apr, or force " + std::string(best_variant(variants)->isa) + " or a plainer one");
  }
  const std::vector<std::string> close = nearest(name, names);
  throw Error(ErrorCode::Usage, "unknown instruction set '" + escaped(name, 64) + "'")
      .want(joined(std::vector<std::string>(names.begin(), names.end())))
      .help(close.empty() ? "" : "did you mean " + joined(close) + "?");
}

void force_isa(std::string_view name) { forced_table.store(named_variant(isa_variants(), name)); }

const KernelTable& active() {
  if (const KernelTable* forced = forced_table.load()) return *forced;
  static const KernelTable* const best = best_variant(isa_variants());
  return *best;
}

DequantizeFn dequantizer(TensorType type) { return kernels_of(type).dequantize; }
QuantizeFn quantizer(TensorType type) { return kernels_of(type).quantize; }

bool decode(TensorType type, std::span<const std::byte> tensor_bytes, std::uint64_t first_element,
            std::span<float> out) {
  const TypeInfo* info = find_type(type);
  if (info == nullptr) return false;
  const std::optional<std::uint64_t> n_elements = elements_in(*info, tensor_bytes.size());
  if (!n_elements || !range_fits(first_element, out.size(), *n_elements)) return false;
  if (type == TensorType::AprQ8) {
    decode_apr_q8(tensor_bytes.data(), first_element, out.data(), out.size());
    return true;
  }
  const DequantizeFn dequantize = dequantizer(type);
  if (dequantize == nullptr) return false;

  constexpr std::uint64_t kMaxBlockElements = 256;
  APR_CHECK(info->block_elements <= kMaxBlockElements);
  const std::byte* block = tensor_bytes.data() + first_element / info->block_elements * info->block_bytes;
  std::uint64_t skip = first_element % info->block_elements;
  while (!out.empty()) {
    if (skip == 0 && out.size() >= info->block_elements) {
      const std::uint64_t n_blocks = out.size() / info->block_elements;
      dequantize(block, out.data(), static_cast<std::int64_t>(n_blocks));
      block += n_blocks * info->block_bytes;
      out = out.subspan(n_blocks * info->block_elements);
    } else {  // a part of a block, at either end of the range
      float whole[kMaxBlockElements];
      dequantize(block, whole, 1);
      const std::uint64_t n = std::min<std::uint64_t>(out.size(), info->block_elements - skip);
      std::copy_n(whole + skip, n, out.begin());
      block += info->block_bytes;
      out = out.subspan(n);
      skip = 0;
    }
  }
  return true;
}

}  // namespace apr::kernels
