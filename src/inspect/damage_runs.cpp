// Runs that the bytes themselves prove: one byte over and over, the same block over and over, text.
#include <fmt/format.h>

#include <algorithm>

#include "apr/core/text.h"
#include "src/inspect/damage_parts.h"

namespace apr::inspect {
namespace {

constexpr std::uint64_t kLeastConstantBytes = 256;  // of one byte; four of the chunks that the pass screens
constexpr std::uint64_t kLeastRepeatBytes = 512;    // that equal those one period behind
constexpr std::uint64_t kLeastTextBytes = 192;      // by chance 8 of 20 bytes are printable: 0.4^192
constexpr std::size_t kShownText = 40;

unsigned byte_at(std::span<const std::byte> data, std::uint64_t at) { return std::to_integer<unsigned>(data[at]); }

bool is_text(unsigned c) { return (c >= 0x20 && c < 0x7F) || c == '\n' || c == '\r' || c == '\t'; }

/// Whether [begin, end) is whole rows, and how many.
std::uint64_t whole_rows(const ScanTarget& target, std::uint64_t begin, std::uint64_t end) {
  if (target.row_bytes == 0 || begin % target.row_bytes != 0 || end % target.row_bytes != 0) return 0;
  return (end - begin) / target.row_bytes;
}

struct Search {
  const DamageContext& context;
  const TensorScan& tensor;
  std::span<const std::byte> data;
  std::uint64_t begin, end;  // where a run has to begin

  [[nodiscard]] const std::string& role() const { return context.group(tensor).role; }

  void constants() const {
    for (std::uint64_t at = begin; at < end && !context.full();) {
      const unsigned value = byte_at(data, at);
      std::uint64_t first = at, last = at + 1;
      while (last < data.size() && byte_at(data, last) == value) ++last;
      if (at == begin)
        while (first > 0 && byte_at(data, first - 1) == value) --first;
      at = last;
      if (last - first >= kLeastConstantBytes) add_constant(first, last, value);
    }
  }

  void add_constant(std::uint64_t first, std::uint64_t last, unsigned value) const {
    if (context.explained(tensor, first, last) == last - first) return;
    const bool zero = value == 0;
    const std::uint64_t rows = whole_rows(tensor.target, first, last);
    const bool whole = last - first == data.size();
    std::string evidence = fmt::format("{} bytes 0x{:02x}", last - first, value);
    if (whole)
      evidence += ", the whole tensor";
    else if (rows > 0)
      evidence += fmt::format(", {} whole rows", rows);
    else
      evidence += ", not whole rows";
    const std::uint64_t offset = tensor.target.offset + first;
    if (offset % 4096 == 0) evidence += "; starts at a multiple of 4096 in the file";
    DamageRange& range = context.add(zero ? DamageCause::ZeroFill : DamageCause::Constant, Certainty::Exact, tensor,
                                     first, last, std::move(evidence));
    if (zero && rows > 0 && !whole && is_vocabulary_role(role())) {
      range.suspicious = false;
      range.evidence += "; as rows of tokens that nobody trained";
    }
    if (tensor.target.row_bytes == 0 && zero) {  // a bias may be zero
      range.suspicious = role().find("norm") != std::string::npos && whole;
      if (!range.suspicious) range.evidence += "; a vector, as a bias that was never trained";
    }
  }

  /// Ranges that equal what stands `lag` bytes behind.
  void repeats(std::uint64_t lag, std::string_view what) const {
    if (lag == 0 || lag >= data.size()) return;
    for (std::uint64_t at = begin; at < std::min<std::uint64_t>(end, data.size() - lag) && !context.full();) {
      if (data[at] != data[at + lag]) {
        ++at;
        continue;
      }
      std::uint64_t first = at, last = at + 1;
      while (last + lag < data.size() && data[last] == data[last + lag]) ++last;
      if (at == begin)
        while (first > 0 && data[first - 1] == data[first - 1 + lag]) --first;
      at = last;
      if (last - first < std::max(kLeastRepeatBytes, lag)) continue;
      const std::uint64_t past = last + lag;
      if (context.explained(tensor, first, past) * 2 >= past - first) continue;
      DamageRange& range = context.add(DamageCause::RepeatedBlock, Certainty::Exact, tensor, first, past,
                                       fmt::format("{} of {} bytes, {} times", what, lag, (past - first) / lag));
      if (lag == tensor.target.row_bytes && is_vocabulary_role(role())) {
        range.suspicious = false;
        range.evidence += "; as rows of tokens that nobody trained";
      }
    }
  }

  void texts() const {
    for (std::uint64_t at = begin; at < end && !context.full();) {
      if (!is_text(byte_at(data, at))) {
        ++at;
        continue;
      }
      std::uint64_t first = at, last = at + 1;
      while (last < data.size() && is_text(byte_at(data, last))) ++last;
      if (at == begin)
        while (first > 0 && is_text(byte_at(data, first - 1))) --first;
      at = last;
      if (last - first < kLeastTextBytes || context.explained(tensor, first, last) * 2 >= last - first) continue;
      const auto* chars = reinterpret_cast<const char*>(data.data() + first);
      const std::string_view text(chars, static_cast<std::size_t>(std::min<std::uint64_t>(last - first, 512)));
      const bool html =
          text.find("<html") != text.npos || text.find("<!DOCTYPE") != text.npos || text.find("</") != text.npos;
      context.add(DamageCause::Text, Certainty::Exact, tensor, first, last,
                  fmt::format("{} printable bytes{}: \"{}\"", last - first, html ? " of HTML" : "",
                              escaped(text.substr(0, kShownText), 2 * kShownText)));
    }
  }
};

}  // namespace

void find_runs(const DamageContext& context) {
  for (const TensorScan& tensor : context.scan.tensors) {
    if (context.full()) return;
    for_each_run(tensor, kScreened, 1, [&](std::size_t first, std::size_t last) {
      DataRange range = data_range(tensor, first, last);  // its last unit may reach into the next window
      range.end = std::min<std::uint64_t>(range.end + tensor.target.layout->unit_bytes, tensor.target.data.size());
      const Search search{context, tensor, tensor.target.data, range.begin, range.end};
      search.constants();
      if (tensor.target.row_bytes == 0) {  // a vector may well be constant
        search.texts();
        return;
      }
      const ScanLayout& layout = *context.group(tensor).layout;
      if (layout.period == 0) search.repeats(layout.unit_bytes, "the same block");
      search.repeats(64, "the same chunk");
      search.repeats(tensor.target.row_bytes, "the same row");
      if (layout.period != 0) search.repeats(4096, "the same page");
      search.texts();
    });
  }
}

}  // namespace apr::inspect
