// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <limits>
#include <mutex>

#include "quanto/core/executor.h"

namespace quanto::formats {

/// The first failure, by place, of work that goes on in several threads.
class FirstFailure {
 public:
  /// From a handler.
  void keep(int64_t place) {
    const std::scoped_lock lock(mutex_);
    if (place >= place_) return;
    place_ = place;
    failure_ = std::current_exception();
  }
  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  std::mutex mutex_;
  int64_t place_ = std::numeric_limits<int64_t>::max();
  std::exception_ptr failure_;
};

/// Calls `work(begin, end, executor)` on ranges of at most `block` that
/// together are [0, count), on all threads of `executor`; the one that it hands
/// to the work is serial. What the work throws comes out here: of several
/// failures, that of the first range.
template <typename Work>
void for_blocks(int64_t count, int64_t block, Executor& executor,
                const Work& work) {
  FirstFailure failure;
  executor.parallel_for(count, block, [&](int64_t begin, int64_t end) {
    SerialExecutor serial;
    try {
      for (; begin < end; begin += block) {
        work(begin, std::min(end, begin + block), serial);
      }
    } catch (...) {
      failure.keep(begin);
    }
  });
  failure.rethrow();
}

}  // namespace quanto::formats
