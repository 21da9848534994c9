// Attention over the cache, and what comes before it: norm and rotation of query and key heads, the write of the cache.
//
// A block has one kv head, one split of its positions and one column, with all query heads that share the kv head: the
// cache is read once for all of them. Scores: a thread per position. Values: a thread per eight elements and stride of
// positions. The softmax is online over chunks of 256 positions. The last block of a kv head to arrive adds the splits
// in order, so the result does not depend on which one that is.
#include "kernels/cuda/common.cuh"
#include "kernels/cuda/heads.cuh"
#include "kernels/cuda/shared_layout.h"

namespace apr::kernels::cuda {

constexpr int chunk = attention_threads, dims = 8;

/// (cos, sin) of every pair at `position` into shared memory: the coarse angle turned by the fine one.
APR_DEVICE void fill_turns(const HeadParams& p, int position, Shared<float> turn) {
  Global<const float> coarse = global<const float>(p.rope_coarse) + static_cast<int64_t>(position / 256) * p.n_rot;
  Global<const float> fine = global<const float>(p.rope_fine) + static_cast<int64_t>(position % 256) * p.n_rot;
  for (int i = thread(); i < p.n_rot / 2; i += n_threads()) {
    const float ca = coarse[2 * i], sa = coarse[2 * i + 1], cb = fine[2 * i], sb = fine[2 * i + 1];
    turn[2 * i] = fused(ca, cb, -(sa * sb));
    turn[2 * i + 1] = fused(sa, cb, ca * sb);
  }
}

/// One head, norm and rotation, by one warp: element pairs from `in`, written to `out` (may be the same memory).
template <class Out>
APR_DEVICE void finish_head(const HeadParams& p, Global<const float> in, Global<const float> weight,
                            Shared<const float> turn, Out out) {
  float norm = 1.0f;
  if (given(weight)) {
    float sum = 0;
    for (int i = lane(); i < p.head_dim; i += 32) {
      const float value = in[i];
      sum = fused(value, value, sum);
    }
    for (int step = 16; step > 0; step /= 2) sum += shuffle_xor(sum, step);
    norm = 1.0f / square_root(sum / static_cast<float>(p.head_dim) + p.eps);
    sync_warp();  // `out` may be `in`: every lane has read it
  }
  for (int pair = lane(); pair < p.head_dim / 2; pair += 32) {
    // Pairs that turn first, then those that do not, which are neighbours.
    const bool turns = pair < p.n_rot / 2;
    const int first = turns && p.adjacent == 0 ? pair : 2 * pair;
    const int second = turns && p.adjacent == 0 ? pair + p.n_rot / 2 : first + 1;
    float a = in[first], b = in[second];
    if (given(weight)) {
      a = a * norm * weight[first];
      b = b * norm * weight[second];
    }
    if (turns) {
      const float cosine = turn[2 * pair], sine = turn[2 * pair + 1], x = a;
      a = fused(x, cosine, -(b * sine));
      b = fused(x, sine, b * cosine);
    }
    out(first, a);
    out(second, b);
  }
}

struct ToFloat {
  Global<float> to;
  APR_METHOD void operator()(int i, float value) const { to[i] = value; }
};
struct ToHalf {
  Global<uint16_t> to;
  APR_METHOD void operator()(int i, float value) const { to[i] = static_cast<uint16_t>(float_to_half(value)); }
};

/// Rows of keys or values in f16, from one row on.
struct HalfRows {
  static constexpr bool scaled = false;
  struct Eight {
    uint32_t word[4];
    APR_METHOD float element(int i) const {
      return half_to_float(i % 2 == 0 ? word[i / 2] & 0xFFFFu : word[i / 2] >> 16);
    }
  };
  Global<const Word4> at;
  int parts;  // of eight elements in a row
  APR_METHOD HalfRows(const HeadParams& p, Address cache, Address, int64_t row)
      : at(cast<const Word4>(global<const uint16_t>(cache) + row * p.head_dim)), parts(p.head_dim / 8) {}
  /// Elements 8 part .. 8 part + 7 of a row.
  APR_METHOD Eight eight(int row, int part) const {
    const Word4 words = at[row * parts + part];
    return {{words.x, words.y, words.z, words.w}};
  }
};

/// The same in q8_0: integers times an f16 scale per 32 elements of a row. Products as in
/// kernels/cpu/ops/attention.inl.
struct ByteRows {
  static constexpr bool scaled = true;
  struct Eight {
    uint32_t word[2];
    float scale;
    APR_METHOD float element(int i) const {
      return static_cast<float>(static_cast<int8_t>(word[i / 4] >> (8 * (i % 4)) & 0xFFu)) * scale;
    }
  };
  Global<const Word2> at;
  Global<const uint16_t> scales;
  int parts, groups;
  APR_METHOD ByteRows(const HeadParams& p, Address cache, Address scale, int64_t row)
      : at(cast<const Word2>(global<const int8_t>(cache) + row * p.head_dim)),
        scales(global<const uint16_t>(scale) + row * ceil_div(p.head_dim, 32)),
        parts(p.head_dim / 8),
        groups(ceil_div(p.head_dim, 32)) {}
  APR_METHOD Eight eight(int row, int part) const {
    const Word2 words = at[row * parts + part];
    return {{words.x, words.y}, half_to_float(scales[row * groups + part / 4])};
  }
};

/// One row in q8_0, by one warp: a lane per element of a group. As store_kv_q8 of kernels/cpu/ops/attention.inl.
APR_DEVICE void store_groups(const HeadParams& p, Global<const float> in, Address cache, Address scale, int64_t row) {
  Global<int8_t> out = global<int8_t>(cache) + row * p.head_dim;
  const int groups = ceil_div(p.head_dim, 32);
  for (int group = 0; group < groups; ++group) {
    const int i = 32 * group + lane();
    const Rounded value = round_lane(i < p.head_dim ? in[i] : 0.0f);
    if (i < p.head_dim) out[i] = static_cast<int8_t>(value.q);
    if (lane() == 0) global<uint16_t>(scale)[row * groups + group] = static_cast<uint16_t>(float_to_half(value.d));
  }
}

/// Norm and rotation of a key and its write, by one warp. `scratch`: head_dim f32, of this warp alone.
template <class Rows>
APR_DEVICE void store_key(const HeadParams& p, Global<const float> in, Shared<const float> turn, Shared<float> scratch,
                          int64_t row) {
  Global<const float> norm = global<const float>(p.k_norm);
  if constexpr (Rows::scaled) {
    finish_head(p, in, norm, turn, ToFloat{scratch});
    sync_warp();
    store_groups(p, scratch, p.k_cache, p.k_scales, row);
  } else {
    finish_head(p, in, norm, turn, ToHalf{global<uint16_t>(p.k_cache) + row * p.head_dim});
  }
}

template <class Rows>
APR_DEVICE void store_value(const HeadParams& p, Global<const float> in, int64_t row) {
  if constexpr (Rows::scaled) {
    store_groups(p, in, p.v_cache, p.v_scales, row);
  } else {
    Global<uint16_t> out = global<uint16_t>(p.v_cache) + row * p.head_dim;
    for (int i = lane(); i < p.head_dim; i += 32) out[i] = static_cast<uint16_t>(float_to_half(in[i]));
  }
}

template <class Rows>
APR_DEVICE void store_columns(const StoreKvParams& p) {
  allow_early();
  wait_early();
  const HeadParams& h = p.head;
  const int head = block_x(), column = block_y();
  const Column state = global<const Column>(h.columns)[column];
  Shared<float> turn = shared<float>(0);
  fill_turns(h, state.position, turn);
  sync();
  if (warp() != 0) return;
  Global<const float> in = qkv_head(h, column, head);
  if (head < h.n_heads) {
    Global<float> out = global<float>(h.qkv) + static_cast<int64_t>(column) * h.qkv_stride + head * h.head_dim;
    finish_head(h, in, global<const float>(h.q_norm), Shared<const float>(turn), ToFloat{out});
  } else if (head < h.n_heads + h.n_kv_heads) {
    store_key<Rows>(h, in, Shared<const float>(turn), turn + h.head_dim,
                    cache_row(h, state.slot, head - h.n_heads, state.position));
  } else {
    store_value<Rows>(h, in, cache_row(h, state.slot, head - h.n_heads - h.n_kv_heads, state.position));
  }
}

/// Grid: (query heads, key heads, value heads; columns). One warp does the work of a head.
APR_KERNEL(store_kv, StoreKvParams, 128, 8) { store_columns<HalfRows>(p); }
APR_KERNEL(store_kv_q8, StoreKvParams, 128, 8) { store_columns<ByteRows>(p); }

/// What a block works on.
struct Task {
  int column, kv_head, split, group, slot, first, last;  // positions first .. last - 1 of this split
  bool newest;                                           // the split holds the column's own position
};
APR_DEVICE Task make_task(const AttentionParams& p, const Column& state) {
  Task task;
  task.split = block_x();
  task.kv_head = block_y();
  task.column = block_z();
  task.group = p.head.n_heads / p.head.n_kv_heads;
  task.slot = state.slot;
  const int end = state.position + 1, begin = p.window == 0 || end <= p.window ? 0 : end - p.window;
  const int share = ceil_div(ceil_div(end - begin, p.n_splits), 64) * 64;
  task.first = begin + task.split * share;
  task.last = task.first + share < end ? task.first + share : end;
  task.newest = task.first < end && task.last == end;
  return task;
}

/// Query heads into shared memory; with `fused` also the own key and value into the cache. Both are read behind a
/// barrier.
template <class Rows>
APR_DEVICE void load_query(const AttentionParams& p, const Task& task, const Column& state, const AttentionShared& at) {
  const HeadParams& h = p.head;
  const int head0 = task.kv_head * task.group;
  Shared<float> query = shared<float>(at.query), turn = shared<float>(at.turn);
  if (p.fused == 0) {
    Global<const float> in = qkv_head(h, task.column, head0);
    for (int i = thread(); i < task.group * h.head_dim; i += n_threads()) query[i] = in[i];
    return;
  }
  fill_turns(h, state.position, turn);
  sync();
  for (int i = warp(); i < task.group; i += n_threads() / 32) {
    finish_head(h, qkv_head(h, task.column, head0 + i), global<const float>(h.q_norm), Shared<const float>(turn),
                ToFloat{query + i * h.head_dim});
  }
  if (task.newest) {
    const int64_t row = cache_row(h, task.slot, task.kv_head, state.position);
    if (warp() == n_threads() / 32 - 1) {
      store_key<Rows>(h, qkv_head(h, task.column, h.n_heads + task.kv_head), Shared<const float>(turn),
                      shared<float>(at.reduce), row);
    }
    if (warp() == n_threads() / 32 - 2) {
      store_value<Rows>(h, qkv_head(h, task.column, h.n_heads + h.n_kv_heads + task.kv_head), row);
    }
  }
}

/// score[head][thread] = scale * query . key for Heads heads from `head0` on; a thread has one position.
template <class Rows, int Heads>
APR_DEVICE void score_heads(const AttentionParams& p, const Task& task, const AttentionShared& at, int base,
                            int head0) {
  const int position = base + thread(), head_dim = p.head.head_dim;
  float sum[Heads] = {};
  if (position < task.last) {
    const Rows keys(p.head, p.head.k_cache, p.head.k_scales, cache_row(p.head, task.slot, task.kv_head, position));
    Shared<const float> query = shared<const float>(at.query) + head0 * head_dim;
    for (int i = 0; i < head_dim / 8; ++i) {
      const auto key = keys.eight(0, i);
      APR_UNROLL for (int j = 0; j < 8; ++j) {
        const float element = key.element(j);
        APR_UNROLL for (int head = 0; head < Heads; ++head) {
          sum[head] = fused(element, query[head * head_dim + 8 * i + j], sum[head]);
        }
      }
    }
  }
  Shared<float> score = shared<float>(at.score);
  APR_UNROLL for (int head = 0; head < Heads; ++head) {
    score[(head0 + head) * chunk + thread()] = position < task.last ? sum[head] * p.scale : minus_infinity();
  }
}

/// Scores of the chunk -> weights e^(score - highest); a warp per head. state[head] = highest, sum, shrink of what was
/// before.
APR_DEVICE void weigh_chunk(const Task& task, const AttentionShared& at) {
  for (int head = warp(); head < task.group; head += n_threads() / 32) {
    Shared<float> score = shared<float>(at.score) + head * chunk, state = shared<float>(at.state) + 4 * head;
    const float before = state[0];
    float most = before;
    for (int i = lane(); i < chunk; i += 32) most = highest(most, score[i]);  // passes over NaN, whose weight stays NaN
    for (int step = 16; step > 0; step /= 2) most = highest(most, shuffle_xor(most, step));
    float sum = 0;
    for (int i = lane(); i < chunk; i += 32) {
      const float weight = exponential(score[i] - most);
      score[i] = weight;
      sum += weight;
    }
    for (int step = 16; step > 0; step /= 2) sum += shuffle_xor(sum, step);
    sync_warp();
    if (lane() == 0) {
      const float shrink = before == minus_infinity() ? 0.0f : exponential(before - most);
      state[0] = most;
      state[1] = fused(state[1], shrink, sum);
      state[2] = shrink;
    }
  }
}

/// A thread's part of the output: eight elements of some heads, over every n_strides-th position of a chunk.
template <class Rows, int Heads>
APR_DEVICE void add_values(const AttentionParams& p, const Task& task, const AttentionShared& at, int base, int head0,
                           float (&acc)[Heads][dims]) {
  const int per_row = p.head.head_dim / dims, n_strides = n_threads() / per_row, stride = thread() / per_row;
  if (stride >= n_strides) return;
  Shared<const float> weight = shared<const float>(at.score) + head0 * chunk;
  Shared<const float> state = shared<const float>(at.state) + 4 * head0;
  APR_UNROLL for (int head = 0; head < Heads; ++head) {
    const float shrink = state[4 * head + 2];
    APR_UNROLL for (int i = 0; i < dims; ++i) acc[head][i] *= shrink;
  }
  const int n = task.last - base < chunk ? task.last - base : chunk;
  const Rows values(p.head, p.head.v_cache, p.head.v_scales, cache_row(p.head, task.slot, task.kv_head, base));
  for (int i = stride; i < n; i += n_strides) {
    const auto value = values.eight(i, thread() % per_row);
    APR_UNROLL for (int head = 0; head < Heads; ++head) {
      const float w = weight[head * chunk + i];
      APR_UNROLL for (int j = 0; j < dims; ++j) acc[head][j] = fused(w, value.element(j), acc[head][j]);
    }
  }
}

/// The threads' parts of one head added in order; element i of the sum goes to `out(i, sum)`.
template <class Out>
APR_DEVICE void add_parts(const AttentionParams& p, const AttentionShared& at, const float (&part)[dims], Out out) {
  const int per_row = p.head.head_dim / dims, n_strides = n_threads() / per_row;
  Shared<float> reduce = shared<float>(at.reduce);
  if (thread() / per_row < n_strides) {
    APR_UNROLL for (int i = 0; i < dims; ++i) reduce[thread() * dims + i] = part[i];
  }
  sync();
  for (int i = thread(); i < p.head.head_dim; i += n_threads()) {
    float sum = 0;
    for (int s = 0; s < n_strides; ++s) sum += reduce[s * p.head.head_dim + i];
    out(i, sum);
  }
  sync();
}

/// Where a split leaves its part: [column][kv head][split][head of the group][head_dim sums, highest, sum of weights].
APR_DEVICE int64_t partial_at(const AttentionParams& p, const Task& task, int split, int head) {
  const int64_t of_head = (static_cast<int64_t>(task.column) * p.head.n_kv_heads + task.kv_head) * p.n_splits + split;
  return (of_head * task.group + head) * (p.head.head_dim + 2);
}

/// All chunks of the split for Heads heads from head0 on. The scores of all heads of the pass lie in shared memory.
template <class Rows, int Heads>
APR_DEVICE void attend(const AttentionParams& p, const Task& whole, const AttentionShared& at, int head0) {
  Task task = whole;
  task.group = Heads;
  AttentionShared own = at;  // this pass's heads are the first of the areas
  own.query = at.query + head0 * p.head.head_dim * 4;
  for (int head = thread(); head < Heads; head += n_threads()) {
    Shared<float> state = shared<float>(own.state) + 4 * head;
    state[0] = minus_infinity();
    state[1] = 0.0f;
    state[2] = 0.0f;
  }
  sync();  // and what load_query wrote
  float acc[Heads][dims] = {};
  for (int base = task.first; base < task.last; base += chunk) {
    score_heads<Rows, Heads>(p, task, own, base, 0);
    sync();
    weigh_chunk(task, own);
    sync();
    add_values<Rows, Heads>(p, task, own, base, 0, acc);
    sync();
  }
  Global<float> partial = global<float>(p.partial);
  APR_UNROLL for (int head = 0; head < Heads; ++head) {
    Global<float> to = partial + partial_at(p, whole, whole.split, head0 + head);
    add_parts(p, own, acc[head], ToFloat{to});
    if (thread() < 2) to[p.head.head_dim + thread()] = shared<const float>(own.state)[4 * head + thread()];
  }
  sync();
}

/// True for the whole block that is the last of n to come here; what the others wrote before is then visible. What this
/// block wrote must lie behind a barrier.
APR_DEVICE bool last_to_arrive(Global<uint32_t> ticket, int n, Shared<uint32_t> word) {
  if (thread() == 0) {
    fence();
    const uint32_t before = atomic_add(ticket, 1);
    fence();
    word[0] = before;
    if (before == static_cast<uint32_t>(n - 1)) *ticket = 0u;  // for the next launch
  }
  sync();
  const uint32_t before = word[0];
  return before == static_cast<uint32_t>(n - 1);
}

/// Splits -> the output of the group's heads. A warp takes 32 neighbouring elements: a group of activations.
APR_DEVICE void combine(const AttentionParams& p, const Task& task) {
  const int width = task.group * p.head.head_dim, head_dim = p.head.head_dim;
  const ActivationRow out = activation_row(p.out, task.column);
  const int first = task.kv_head * width;
  for (int base = 32 * warp(); base < width; base += n_threads()) {
    const int i = base + lane(), head = i < width ? i / head_dim : 0;
    Global<const float> partial = global<const float>(p.partial);
    float most = minus_infinity();
    for (int s = 0; s < p.n_splits; ++s) most = highest(most, partial[partial_at(p, task, s, head) + head_dim]);
    float sum = 0, mixed = 0;
    for (int s = 0; s < p.n_splits; ++s) {
      Global<const float> of_split = partial + partial_at(p, task, s, head);
      const float weights = of_split[head_dim + 1];
      // An empty split has the sums 0 and takes no part; a NaN takes part.
      const float share = weights == 0.0f ? 0.0f : exponential(of_split[head_dim] - most);
      if (i >= width) continue;
      sum = fused(weights, share, sum);
      mixed = fused(of_split[i % head_dim], share, mixed);
    }
    const float value = i < width ? mixed / sum : 0.0f;
    if (i < width && given(out.x)) out.x[first + i] = value;
    if (width % 32 == 0) store_quantised(out, (first + base) / 32, value);
  }
}

template <class Rows>
APR_DEVICE void attend_splits(const AttentionParams& p) {
  allow_early();
  wait_early();
  const Column state = global<const Column>(p.head.columns)[block_z()];
  const Task task = make_task(p, state);
  const AttentionShared at(task.group, p.head.head_dim);
  load_query<Rows>(p, task, state, at);
  int head = 0;
  for (; head + 8 <= task.group; head += 8) attend<Rows, 8>(p, task, at, head);
  for (; head + 4 <= task.group; head += 4) attend<Rows, 4>(p, task, at, head);
  for (; head + 2 <= task.group; head += 2) attend<Rows, 2>(p, task, at, head);
  for (; head < task.group; ++head) attend<Rows, 1>(p, task, at, head);
  Global<uint32_t> ticket = global<uint32_t>(p.tickets) + (task.column * p.head.n_kv_heads + task.kv_head);
  if (last_to_arrive(ticket, p.n_splits, shared<uint32_t>(at.turn))) combine(p, task);
}

/// Grid: (splits, kv heads, columns).
APR_KERNEL(attention, AttentionParams, 256, 2) { attend_splits<HalfRows>(p); }
APR_KERNEL(attention_q8, AttentionParams, 256, 2) { attend_splits<ByteRows>(p); }

}  // namespace apr::kernels::cuda
