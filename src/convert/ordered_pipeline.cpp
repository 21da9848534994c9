#include "src/convert/ordered_pipeline.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

namespace apr::convert {
namespace {

// A ring of buffers. Slot i % size is filled by the thread that claimed item i once item i - size has been consumed.
class Ring {
 public:
  Ring(std::uint64_t count, unsigned n_threads) : count_(count), slots_(n_threads + 2) {}

  // Fills slots until nothing is left or something failed.
  void work(const std::function<void(std::uint64_t, std::vector<std::byte>&)>& produce) {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopped_ || next_ == count_ || next_ - consumed_ < slots_.size(); });
      if (stopped_ || next_ == count_) return;
      const std::uint64_t item = next_++;
      Slot& slot = slots_[item % slots_.size()];
      lock.unlock();
      try {
        produce(item, slot.bytes);
      } catch (...) {
        lock.lock();
        fail(std::current_exception());
        return;
      }
      lock.lock();
      slot.ready = true;
      changed_.notify_all();
    }
  }

  // Hands every item over in order; returns early when something failed.
  void drain(const std::function<void(std::uint64_t, std::span<const std::byte>)>& consume) {
    for (std::uint64_t item = 0; item < count_; ++item) {
      Slot& slot = slots_[item % slots_.size()];
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stopped_ || slot.ready; });
        if (stopped_) return;
      }
      consume(item, slot.bytes);
      const std::lock_guard lock(mutex_);
      slot.ready = false;
      ++consumed_;
      changed_.notify_all();
    }
  }

  void stop(std::exception_ptr why) {
    const std::lock_guard lock(mutex_);
    fail(why);
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  struct Slot {
    std::vector<std::byte> bytes;
    bool ready = false;
  };
  void fail(std::exception_ptr why) {  // mutex_ is held
    if (!error_) error_ = why;
    stopped_ = true;
    changed_.notify_all();
  }

  const std::uint64_t count_;
  std::vector<Slot> slots_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t next_ = 0, consumed_ = 0;
  bool stopped_ = false;
  std::exception_ptr error_;
};

}  // namespace

void run_in_order(std::uint64_t count, unsigned n_threads,
                  const std::function<void(std::uint64_t, std::vector<std::byte>&)>& produce,
                  const std::function<void(std::uint64_t, std::span<const std::byte>)>& consume) {
  Ring ring(count, n_threads);
  std::vector<std::jthread> threads;  // joined by their destructors, before `ring` goes
  try {
    for (unsigned i = 0; i < n_threads; ++i) threads.emplace_back([&] { ring.work(produce); });
    ring.drain(consume);
  } catch (...) {
    ring.stop(std::current_exception());
  }
  threads.clear();
  ring.rethrow();
}

}  // namespace apr::convert
