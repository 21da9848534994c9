// Ids, special tokens and merges against each other; texts and every token there and back.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "apr/core/file.h"
#include "apr/core/text.h"
#include "apr/core/thread_pool.h"
#include "gate.h"
#include "texts.h"

namespace apr::qa {
namespace {

using model::Tokenizer;
using model::TokenKind;

/// Share of the tokens that no merge makes. Published BPE vocabularies have one merge for each token but the 256 bytes
/// and the added ones; a truncated list leaves more behind.
constexpr double kMostUnmade = 0.01;

/// How the ids of a text become the text again. BPE and SPM lose nothing; the others normalise, so the second round
/// must repeat the first.
struct RoundTrip {
  const Tokenizer& tokenizer;
  bool exact;
  explicit RoundTrip(const Tokenizer& t, format::Format format)
      : tokenizer(t),
        exact(format != format::Format::SafeTensors &&
              (t.kind() == model::TokenizerKind::Bpe || t.kind() == model::TokenizerKind::Spm)) {}

  [[nodiscard]] std::string text_of(std::span<const std::int32_t> ids) const {
    if (tokenizer.kind() != model::TokenizerKind::Bpe || !exact) return tokenizer.decode(ids, {.keep_special = true});
    std::string text;
    for (const std::int32_t id : ids) text += tokenizer.piece(id);
    return text;
  }
  [[nodiscard]] std::vector<std::int32_t> ids_of(std::string_view text) const {
    return tokenizer.encode(text, {.add_special = false, .parse_special = false});
  }
  /// Empty when the text of these ids is `text`; else what became of it.
  [[nodiscard]] std::string damage(std::string_view text, std::span<const std::int32_t> ids) const {
    const std::string once = text_of(ids);
    if (exact) return once == text ? std::string() : escaped(once, 80);
    const std::string twice = text_of(ids_of(once));
    return once == twice && (!once.empty() || text.empty()) ? std::string() : escaped(twice, 80);
  }
};

void check_ids(GateRun& run, const Tokenizer& t, std::uint32_t n_rows, format::Format format) {
  const auto n = static_cast<std::uint32_t>(t.n_vocab());
  run.compared();
  // llama.cpp takes the length of the token list for the rows of the embedding; config.json may pad the rows.
  const bool must_agree = format == format::Format::Gguf;
  if (n > n_rows || (must_agree && n != n_rows)) {
    Finding& finding =
        run.fail("qa.tokenizer.vocab", n > n_rows ? "the vocabulary has ids for which the embedding has no row"
                                                  : "the vocabulary is smaller than the embedding");
    finding.expected = fmt::format("{}{} tokens", must_agree ? "" : "at most ", n_rows);
    finding.found = fmt::format("{} tokens", n);
  }
}

void check_special(GateRun& run, const Tokenizer& t) {
  const auto ends = t.end_of_generation_ids();
  run.compared();
  if (ends.empty())
    run.fail("qa.tokenizer.end", "no token ends an answer").hint = "tokenizer.ggml.eos_token_id names it";
  const auto& special = t.special();
  for (const auto& [role, id] :
       {std::pair{"bos", special.bos}, {"eos", special.eos}, {"eot", special.eot}, {"eom", special.eom}}) {
    if (!id) continue;
    run.compared();
    const TokenKind kind = t.kind_of(*id);
    const bool marks = kind == TokenKind::Control || kind == TokenKind::UserDefined || kind == TokenKind::Unknown;
    // llama.cpp's default id 11 for BPE vocabularies that name no BOS: not used unless BOS is added.
    if (marks || (std::string_view(role) == "bos" && !t.adds_bos())) continue;
    Finding& finding = run.fail("qa.tokenizer.special", fmt::format("the {} token is a piece of ordinary text", role));
    finding.field = fmt::format("token {}", *id);
    finding.expected = "a control or user-defined token";
    finding.found = fmt::format("\"{}\", {}", escaped(t.text(*id), 40), model::name(kind));
  }
}

/// What a run of ids gives.
struct TokenCounts {
  std::uint64_t n_checked = 0, n_same = 0, n_bad = 0;
  std::int32_t first_bad = -1;  // with its text, and what became of it
  std::string expected, found;
};

/// Every token: its piece must survive being encoded. Pieces that are no whole characters are part of others' texts.
TokenCounts count_tokens(const RoundTrip& trip, std::int32_t first, std::int32_t last) {
  const Tokenizer& t = trip.tokenizer;
  TokenCounts counts;
  for (std::int32_t id = first; id < last; ++id) {
    const TokenKind kind = t.kind_of(id);
    if (kind != TokenKind::Normal && kind != TokenKind::UserDefined) continue;
    const std::string text = trip.exact ? t.piece(id) : t.decode(std::span(&id, 1), {.keep_special = true});
    if (text.empty() || invalid_utf8_at(text)) continue;
    ++counts.n_checked;
    const auto ids = trip.ids_of(text);
    counts.n_same += ids.size() == 1 && ids[0] == id ? 1 : 0;
    std::string damage = trip.damage(text, ids);
    if (damage.empty() || counts.n_bad++ > 0) continue;
    counts.first_bad = id;
    counts.expected = escaped(text, 80);
    counts.found = std::move(damage);
  }
  return counts;
}

TokenCounts check_tokens(GateRun& run, const RoundTrip& trip) {
  constexpr std::int32_t kPiece = 1024;
  const std::int32_t n = trip.tokenizer.n_vocab();
  const unsigned n_threads = run.subject.options().n_threads;
  ThreadPool pool(n_threads == 0 ? available_cpus() : n_threads);
  std::vector<TokenCounts> pieces(static_cast<std::size_t>((n + kPiece - 1) / kPiece));
  pool.parallel_for(pieces.size(), [&](std::uint64_t i) {
    check_interrupted();
    const std::int32_t first = static_cast<std::int32_t>(i) * kPiece;
    pieces[i] = count_tokens(trip, first, std::min(n, first + kPiece));
  });
  TokenCounts all;
  for (TokenCounts& piece : pieces) {
    all.n_checked += piece.n_checked;
    all.n_same += piece.n_same;
    if (all.n_bad == 0 && piece.n_bad > 0) {
      all.first_bad = piece.first_bad;
      all.expected = std::move(piece.expected);
      all.found = std::move(piece.found);
    }
    all.n_bad += piece.n_bad;
  }
  run.compared(all.n_checked);
  if (all.n_bad > 0) {
    Finding& finding = run.fail("qa.tokenizer.token", "the text of a token does not survive being encoded");
    finding.field = fmt::format("token {}", all.first_bad);
    finding.expected = std::move(all.expected);
    finding.found = fmt::format("{}; {} of {} tokens", all.found, all.n_bad, all.n_checked);
  }
  return all;
}

void check_texts(GateRun& run, const RoundTrip& trip) {
  for (const std::string_view text : kTexts) {
    run.compared();
    const std::string damage = trip.damage(text, trip.ids_of(text));
    if (damage.empty()) continue;
    Finding& finding = run.fail("qa.tokenizer.text", "a text does not survive being encoded");
    finding.expected = escaped(text, 80);
    finding.found = damage;
  }
}

/// Control tokens are parsed where a template writes them, and stay plain text where a user does.
void check_control(GateRun& run, const Tokenizer& t) {
  for (std::int32_t id = 0; id < t.n_vocab(); ++id) {
    if (t.kind_of(id) != TokenKind::Control || t.text(id).empty() || t.find(t.text(id)) != id) continue;
    run.compared();
    const auto ids = t.encode(t.text(id), {.add_special = false, .parse_special = true});
    if (ids.size() == 1 && ids[0] == id) continue;
    Finding& finding = run.fail("qa.tokenizer.control", "a control token is not found in a text that holds it");
    finding.field = fmt::format("token {}", id);
    finding.expected = escaped(t.text(id), 40);
    finding.found = fmt::format("{} tokens", ids.size());
    return;
  }
}

/// The merges of a GGUF or APR file against its tokens.
void check_merges(GateRun& run, const format::ModelFile& file, const Tokenizer& t) {
  const format::MetadataEntry* entry = nullptr;
  for (const char* key : {"tokenizer.ggml.merges", "tokenizer.merges"})
    if (entry == nullptr) entry = file.find_metadata(key);
  const format::ArrayRef* merges = entry == nullptr ? nullptr : entry->value.as_array();
  if (merges == nullptr || t.kind() != model::TokenizerKind::Bpe) return;
  std::unordered_set<std::int32_t> made;
  std::uint64_t n_lost = 0;
  std::string first_lost;
  merges->for_each([&](std::uint64_t index, const format::Value& value) {
    const auto line = value.as_string();
    const std::size_t space = line ? line->find(' ', 1) : std::string_view::npos;
    if (space == std::string_view::npos) return true;  // the loader refused it
    const auto left = line->substr(0, space), right = line->substr(space + 1);
    run.compared();
    const auto whole = t.find(std::string(left) + std::string(right));
    if (whole && t.find(left) && t.find(right)) {
      made.insert(*whole);
    } else if (n_lost++ == 0) {
      first_lost = fmt::format("merge {}: \"{}\"", index, escaped(*line, 60));
    }
    return true;
  });
  if (n_lost > 0) {
    Finding& finding = run.fail("qa.tokenizer.merges", "merges join texts that are no tokens");
    finding.field = entry->key;
    finding.offset = entry->value_offset;
    finding.found = fmt::format("{} of {}, the first is {}", n_lost, merges->count, first_lost);
  }
  std::uint64_t n_normal = 0, n_unmade = 0;
  std::int32_t first = -1;
  for (std::int32_t id = 0; id < t.n_vocab(); ++id) {
    if (t.kind_of(id) != TokenKind::Normal || t.piece(id).size() < 2) continue;
    ++n_normal;
    if (made.contains(id)) continue;
    first = n_unmade++ == 0 ? id : first;
  }
  run.compared();
  if (!(static_cast<double>(n_unmade) <= kMostUnmade * static_cast<double>(n_normal))) {
    Finding& finding = run.fail("qa.tokenizer.unmade", "no merge makes many of the tokens: merges are missing");
    finding.field = entry->key;
    finding.offset = entry->value_offset;
    finding.expected = fmt::format("at most {:.0f} % of the tokens of more than one byte", 100 * kMostUnmade);
    finding.found =
        fmt::format("{} of {}, the first is token {} \"{}\"", n_unmade, n_normal, first, escaped(t.text(first), 40));
  }
}

}  // namespace

void run_gate_Tokenizer(GateRun& run) {
  run.of("ids, texts, tokens and merges");
  if (std::string line = run.subject.lacks_file(); !line.empty()) return run.skip(std::move(line));
  const auto& step = run.subject.tokenizer();
  if (step.error) {
    run.compared();
    run.fail("qa.tokenizer.load", *step.error);
    return;
  }
  const Tokenizer& t = *step.value;
  const format::ModelFile& file = *run.subject.sound_file();
  for (const Finding& finding : t.findings()) {
    Finding& own = run.add(finding.severity, finding.rule, finding.message);
    own = finding;
  }
  const bool rows_known = run.subject.lacks_hparams().empty();
  if (rows_known) check_ids(run, t, run.subject.hparams().hparams.n_vocab, file.format);
  check_special(run, t);
  const RoundTrip trip(t, file.format);
  check_texts(run, trip);
  const TokenCounts counts = check_tokens(run, trip);
  check_control(run, t);
  check_merges(run, file, t);
  run.measure("tokens_that_encode_to_themselves", static_cast<double>(counts.n_same), "tokens");
  run.measure("tokens_encoded", static_cast<double>(counts.n_checked), "tokens");
  run.note(fmt::format("{} ({}), {} tokens; {} of {} tokens encode to themselves{}", t.model_name(),
                       t.pre_tokenizer().empty() ? "no pre-tokenizer" : t.pre_tokenizer(), t.n_vocab(), counts.n_same,
                       counts.n_checked, rows_known ? "" : "; rows of the embedding unknown"));
}

}  // namespace apr::qa
