// The next token of every column, with the order and the double arithmetic of engine/sampler.cpp: penalties;
// temperature 0 takes the largest; otherwise top-k, top-p, min-p, temperature, one draw. Then the state of the column
// moves on.
//
// Logits become 64-bit keys that order as their doubles do. The k largest are found by the digits of the keys, eleven
// bits at a time, until what could be among them fits into shared memory; that is sorted.
#include "kernels/cuda/common.cuh"
#include "kernels/cuda/shared_layout.h"

namespace apr::kernels::cuda {

constexpr uint64_t sign_bit = 0x8000000000000000ull;
constexpr int digit_bits = 11, n_digits = 1 << digit_bits;

APR_DEVICE uint64_t key_of(double value) {
  const uint64_t bits = as_bits(value == 0.0 ? 0.0 : value);  // -0 equals 0
  return (bits & sign_bit) != 0 ? ~bits : bits | sign_bit;
}
APR_DEVICE double value_of(uint64_t key) { return as_double((key & sign_bit) != 0 ? key & ~sign_bit : ~key); }

struct Choice {
  uint64_t key;
  uint32_t token;
};
/// Most probable first; the smaller id among equals. Key 0 is no candidate.
APR_DEVICE bool before(const Choice& a, const Choice& b) {
  return a.key > b.key || (a.key == b.key && a.token < b.token);
}

/// Sum, smallest or other fold of one u32 per thread.
template <class Fold>
APR_DEVICE uint32_t block_fold(uint32_t value, Shared<uint32_t> words, Fold fold) {
  for (int step = 16; step > 0; step /= 2) value = fold(value, shuffle_xor(value, step));
  if (lane() == 0) words[warp()] = value;
  sync();
  uint32_t result = words[0];
  for (int w = 1; w < n_threads() / 32; ++w) result = fold(result, words[w]);
  sync();
  return result;
}
struct Add {
  APR_METHOD uint32_t operator()(uint32_t a, uint32_t b) const { return a + b; }
};
struct Least {
  APR_METHOD uint32_t operator()(uint32_t a, uint32_t b) const { return a < b ? a : b; }
};

/// bad: the first logit that is NaN or +infinity; n_vocab when none is finite; else -1. n: keys that are candidates.
struct Keys {
  int bad, n;
};
/// Logits -> keys in scratch.
APR_DEVICE Keys fill_keys(const SampleParams& p, int column, int slot, Global<uint64_t> keys, Shared<uint32_t> words) {
  Global<const float> logits = global<const float>(p.logits) + static_cast<int64_t>(column) * p.logits_stride;
  Global<const int32_t> counts;
  if (p.penalty_window > 0) counts = global<const int32_t>(p.counts) + static_cast<int64_t>(slot) * p.n_vocab;
  uint32_t bad = 0xFFFFFFFFu, n = 0;
  for (int i = thread(); i < p.n_vocab; i += n_threads()) {
    const float logit = logits[i];
    const uint32_t bits = as_bits(logit);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u || bits == 0x7F800000u)
      bad = static_cast<uint32_t>(i) < bad ? static_cast<uint32_t>(i) : bad;
    double value = static_cast<double>(logit);
    if (p.penalty_window > 0) {
      const int count = counts[i];
      if (count > 0) {
        value = value > 0 ? value / p.repeat_penalty : value * p.repeat_penalty;
        value -= p.presence_penalty + count * p.frequency_penalty;
      }
    }
    const bool finite = (as_bits(value) & ~sign_bit) < 0x7FF0000000000000ull;
    keys[i] = finite ? key_of(value) : 0;
    n += finite ? 1u : 0u;
  }
  bad = block_fold(bad, words, Least{});
  n = block_fold(n, words, Add{});
  return {bad != 0xFFFFFFFFu ? static_cast<int>(bad) : n == 0 ? p.n_vocab : -1, static_cast<int>(n)};
}

APR_DEVICE Choice better(const Choice& a, const Choice& b) { return before(b, a) ? b : a; }

APR_DEVICE int largest_key(const SampleParams& p, Global<const uint64_t> keys, Shared<uint64_t> best_keys,
                           Shared<uint32_t> best_tokens) {
  Choice best = {0, 0xFFFFFFFFu};
  for (int i = thread(); i < p.n_vocab; i += n_threads()) best = better(best, {keys[i], static_cast<uint32_t>(i)});
  for (int step = 16; step > 0; step /= 2)
    best = better(best, {shuffle_xor(best.key, step), shuffle_xor(best.token, step)});
  if (lane() == 0) {
    best_keys[warp()] = best.key;
    best_tokens[warp()] = best.token;
  }
  sync();
  for (int w = 0; w < n_threads() / 32; ++w) best = better(best, {best_keys[w], best_tokens[w]});
  return static_cast<int>(best.token);
}

/// Keys whose digits above `shift` equal `digits` or exceed it may be among the k largest.
struct Threshold {
  uint64_t digits;
  int shift;
  uint32_t n_above;  // keys with larger digits: fewer than k
};

/// The digit at `shift` of the k-th largest among keys that begin with `digits`, by the first warp; found[0] = digit,
/// found[1] = keys above it, found[2] = keys with it.
APR_DEVICE void find_digit(Shared<const uint32_t> histogram, uint32_t k, Shared<uint32_t> found) {
  constexpr int per_lane = n_digits / 32;
  const int top = n_digits - 1 - per_lane * lane();  // lane 0 has the largest digits
  uint32_t own = 0;
  for (int i = 0; i < per_lane; ++i) own += histogram[top - i];
  uint32_t up_to = own;  // inclusive sum over the lanes below
  for (int step = 1; step < 32; step *= 2) {
    const uint32_t other = shuffle(up_to, lane() - step);
    if (lane() >= step) up_to += other;
  }
  uint32_t above = up_to - own;
  if (above < k && k <= up_to) {
    int digit = top;
    for (uint32_t n = histogram[digit]; above + n < k; n = histogram[digit]) {
      above += n;
      --digit;
    }
    found[0] = static_cast<uint32_t>(digit);
    found[1] = above;
    found[2] = histogram[digit];
  }
}

APR_DEVICE Threshold find_threshold(const SampleParams& p, Global<const uint64_t> keys, uint32_t k) {
  Shared<uint32_t> histogram = shared<uint32_t>(SampleShared::histogram), found = shared<uint32_t>(SampleShared::words);
  Threshold at = {0, 64, 0};
  for (;;) {
    const int bits = at.shift < digit_bits ? at.shift : digit_bits, shift = at.shift - bits;
    for (int i = thread(); i < n_digits; i += n_threads()) histogram[i] = 0u;
    sync();
    for (int i = thread(); i < p.n_vocab; i += n_threads()) {
      const uint64_t key = keys[i];
      if (key == 0 || (at.shift < 64 && key >> at.shift != at.digits)) continue;
      atomic_add(histogram + ((key >> shift) & ((1u << bits) - 1)), 1u);
    }
    sync();
    if (warp() == 0) find_digit(histogram, k - at.n_above, found);
    sync();
    const uint32_t digit = found[0], above = found[1], n_equal = found[2];
    at = {at.shift < 64 ? at.digits << bits | digit : digit, shift, at.n_above + above};
    sync();
    if (shift == 0 || at.n_above + n_equal <= sample_candidates) return at;
  }
}

/// Every key at or above the threshold into shared memory, in order of ids, as many as fit: larger ones all do.
APR_DEVICE int collect(const SampleParams& p, Global<const uint64_t> keys, const Threshold& at) {
  Shared<uint64_t> chosen = shared<uint64_t>(SampleShared::keys);
  Shared<uint32_t> tokens = shared<uint32_t>(SampleShared::tokens), words = shared<uint32_t>(SampleShared::words);
  uint32_t n_above = 0, n_equal = 0;  // so far; those above come first, those equal behind them
  for (int base = 0; base < p.n_vocab; base += n_threads()) {
    const int i = base + thread();
    const uint64_t key = i < p.n_vocab ? static_cast<uint64_t>(keys[i]) : 0;
    const uint64_t digits = key >> at.shift;
    const bool above = key != 0 && digits > at.digits, equal = key != 0 && digits == at.digits;
    const uint32_t all_above = ballot(above), all_equal = ballot(equal);
    if (lane() == 0)
      words[warp()] = static_cast<uint32_t>(popcount(all_above)) | static_cast<uint32_t>(popcount(all_equal)) << 16;
    sync();
    uint32_t before_us = 0, total = 0;
    for (int w = 0; w < n_threads() / 32; ++w) {
      const uint32_t n = words[w];
      if (w < warp()) before_us += n;
      total += n;
    }
    const uint32_t lower = (1u << lane()) - 1;
    uint32_t to = n_above + (before_us & 0xFFFFu) + static_cast<uint32_t>(popcount(all_above & lower));
    if (equal) to = at.n_above + n_equal + (before_us >> 16) + static_cast<uint32_t>(popcount(all_equal & lower));
    if ((above || equal) && to < sample_candidates) {
      chosen[to] = key;
      tokens[to] = static_cast<uint32_t>(i);
    }
    n_above += total & 0xFFFFu;
    n_equal += total >> 16;
    sync();
  }
  const uint32_t n = n_above + n_equal;
  return static_cast<int>(n < sample_candidates ? n : sample_candidates);
}

/// Bitonic sort of n candidates by before(); what fills up to a power of two comes last.
APR_DEVICE void sort_candidates(int n) {
  Shared<uint64_t> keys = shared<uint64_t>(SampleShared::keys);
  Shared<uint32_t> tokens = shared<uint32_t>(SampleShared::tokens);
  int size = 1;
  while (size < n) size *= 2;
  for (int i = n + thread(); i < size; i += n_threads()) {
    keys[i] = 0u;
    tokens[i] = 0xFFFFFFFFu;
  }
  sync();
  for (int run = 2; run <= size; run *= 2) {
    for (int step = run / 2; step > 0; step /= 2) {
      for (int i = thread(); i < size; i += n_threads()) {
        const int other = i ^ step;
        if (other < i) continue;
        const Choice a = {keys[i], tokens[i]}, b = {keys[other], tokens[other]};
        const bool ascending = (i & run) == 0;
        if (ascending ? before(b, a) : before(a, b)) {
          keys[i] = b.key;
          tokens[i] = b.token;
          keys[other] = a.key;
          tokens[other] = a.token;
        }
      }
      sync();
    }
  }
}

/// Probabilities of the first n candidates, summed in order by one thread: the same rounding as on the host.
APR_DEVICE void fill_probabilities(int n, double temperature) {
  Shared<const uint64_t> keys = shared<const uint64_t>(SampleShared::keys);
  Shared<double> probability = shared<double>(SampleShared::histogram), total = shared<double>(SampleShared::words);
  const double first = value_of(keys[0]);
  for (int i = thread(); i < n; i += n_threads())
    probability[i] = exponential((value_of(keys[i]) - first) / temperature);
  sync();
  if (thread() == 0) {
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += probability[i];
    total[0] = sum;
  }
  sync();
  const double sum = total[0];
  for (int i = thread(); i < n; i += n_threads()) probability[i] = probability[i] / sum;
  sync();
}

/// Where the running sum of the probabilities reaches (or, with `strictly`, exceeds) `target`; the last when it never
/// does.
APR_DEVICE int reach(int n, double target, bool strictly) {
  Shared<const double> probability = shared<const double>(SampleShared::histogram);
  Shared<uint32_t> word = shared<uint32_t>(SampleShared::words);
  if (thread() == 0) {
    double sum = 0;
    int at = 0;
    for (; at < n; ++at) {
      sum += probability[at];
      if (strictly ? target < sum : sum >= target) break;
    }
    word[0] = static_cast<uint32_t>(at < n ? at : n - 1);
  }
  sync();
  const uint32_t at = word[0];
  sync();
  return static_cast<int>(at);
}

/// SplitMix64; its upper 53 bits as a number in [0, 1).
APR_DEVICE double next_uniform(uint64_t& state) {
  state += 0x9E3779B97F4A7C15ull;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * (1.0 / 9007199254740992.0);
}

APR_DEVICE int draw(const SampleParams& p, Global<const uint64_t> keys, int n_keys, uint64_t& rng) {
  const Threshold at = find_threshold(p, keys, static_cast<uint32_t>(p.top_k < n_keys ? p.top_k : n_keys));
  int n = collect(p, keys, at);
  sort_candidates(n);
  n = n < p.top_k ? n : p.top_k;
  Shared<const uint64_t> chosen = shared<const uint64_t>(SampleShared::keys);
  if (p.top_p < 1) {
    fill_probabilities(n, 1.0);
    n = reach(n, p.top_p, false) + 1;
  }
  if (p.min_p > 0) {
    const double lowest = value_of(chosen[0]) + logarithm(p.min_p);
    uint32_t kept = 0;
    for (int i = thread(); i < n; i += n_threads()) kept += value_of(chosen[i]) >= lowest ? 1u : 0u;
    n = static_cast<int>(block_fold(kept, shared<uint32_t>(SampleShared::words), Add{}));
  }
  int pick = 0;
  if (n > 1) {
    fill_probabilities(n, p.temperature);
    pick = reach(n, next_uniform(rng), true);
  }
  const uint32_t token = shared<const uint32_t>(SampleShared::tokens)[pick];
  return static_cast<int>(token);
}

/// One thread: the token becomes part of the text.
APR_DEVICE void advance(const SampleParams& p, Global<Column> column, Column state, Global<Sequence> at,
                        Sequence sequence, int token) {
  const int64_t slot = state.slot;
  if (p.penalty_window > 0) {
    Global<int32_t> counts = global<int32_t>(p.counts) + slot * p.n_vocab;
    Global<int32_t> recent = global<int32_t>(p.recent) + slot * p.recent_stride;
    const int oldest = static_cast<int>(sequence.n_accepted % static_cast<uint32_t>(p.penalty_window));
    if (sequence.n_accepted >= static_cast<uint32_t>(p.penalty_window)) {
      const int old = recent[oldest];
      counts[old] = counts[old] - 1;
    }
    recent[oldest] = token;
    counts[token] = counts[token] + 1;
    ++sequence.n_accepted;
  }
  global<int32_t>(
      p.ring)[slot * p.ring_size + static_cast<int>(sequence.n_produced & static_cast<uint32_t>(p.ring_size - 1))] =
      token;
  ++sequence.n_produced;
  if (sequence.n_left > 0 && --sequence.n_left == 0) state.stopped = 1;
  Global<const int32_t> ends = global<const int32_t>(p.end_tokens);
  for (int i = 0; i < p.n_end_tokens; ++i) {
    if (ends[i] == token) state.stopped = 1;
  }
  if (state.position + 1 < p.n_ctx) {
    state.token = token;
    ++state.position;
  } else {  // what is still in flight writes the last position, and none behind it
    state.stopped = 1;
  }
  *at = sequence;
  *column = state;
}

/// Grid: columns.
APR_KERNEL(sample, SampleParams, 1024, 1) {
  allow_early();
  wait_early();
  Global<Column> column = global<Column>(p.columns) + block_x();
  const Column state = *column;
  if (state.stopped != 0) return;
  Global<Sequence> at = global<Sequence>(p.sequences) + state.slot;
  Sequence sequence = *at;
  Global<uint64_t> keys = global<uint64_t>(p.scratch) + static_cast<int64_t>(block_x()) * p.n_vocab;
  const Keys found = fill_keys(p, block_x(), state.slot, keys, shared<uint32_t>(SampleShared::words));
  int token = 0;
  if (found.bad < 0) {
    token = p.temperature == 0
                ? largest_key(p, keys, shared<uint64_t>(SampleShared::keys), shared<uint32_t>(SampleShared::tokens))
                : draw(p, keys, found.n, sequence.rng);
  }
  if (thread() != 0) return;  // all have read state and sequence: fill_keys has barriers
  if (found.bad >= 0) {
    sequence.error = 1;
    sequence.error_index = found.bad;
    *at = sequence;
    Column stopped = state;
    stopped.stopped = 1;
    *column = stopped;
    return;
  }
  advance(p, column, state, at, sequence, token);
}

}  // namespace apr::kernels::cuda
