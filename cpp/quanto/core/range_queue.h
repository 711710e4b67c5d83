// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace quanto {

/// Hands out [0, count) to threads in ranges that shrink towards the end, so
/// that a thread that started late or runs slowly keeps the others waiting for
/// a short range only (guided self-scheduling, Polychronopoulos and Kuck,
/// 1987). Each range is at least `grain` long except the last.
class RangeQueue {
 public:
  RangeQueue(int64_t count, int64_t grain, int threads)
      : count_(count),
        grain_(std::max<int64_t>(grain, 1)),
        shares_(int64_t{2} * threads) {}

  /// Takes the next range; false when all are taken.
  bool take(int64_t& begin, int64_t& end) {
    begin = next_.load(std::memory_order_relaxed);
    do {
      if (begin >= count_) return false;
      end = begin + std::max(grain_, (count_ - begin) / shares_);
      end = std::min(end, count_);
    } while (
        !next_.compare_exchange_weak(begin, end, std::memory_order_relaxed));
    return true;
  }

  /// Whether one range is all that there is for a second thread to wait for.
  [[nodiscard]] bool is_single() const { return count_ < 2 * grain_; }

 private:
  int64_t count_;
  int64_t grain_;
  int64_t shares_;
  std::atomic<int64_t> next_ = 0;
};

/// Calls body(begin, end) on ranges until none is left.
template <typename Body>
void drain(RangeQueue& queue, const Body& body) {
  int64_t begin = 0;
  int64_t end = 0;
  while (queue.take(begin, end)) body(begin, end);
}

}  // namespace quanto
