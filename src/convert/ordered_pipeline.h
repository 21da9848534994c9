// Work done by many threads, delivered in order to one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace apr::convert {

/// Runs produce(i, buffer) for i in [0, count) on `n_threads` threads and consume(i, bytes) for each, in ascending
/// order, on the calling thread. At most n_threads + 2 buffers exist; they are reused. The first exception of either
/// function stops the rest and is rethrown here after every thread has ended.
void run_in_order(std::uint64_t count, unsigned n_threads,
                  const std::function<void(std::uint64_t, std::vector<std::byte>&)>& produce,
                  const std::function<void(std::uint64_t, std::span<const std::byte>)>& consume);

}  // namespace apr::convert
