// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <future>
#include <utility>

namespace quanto::cli {

/// One piece of work at a time beside the calling thread: the next begins when
/// the one before is done. Exceptions come out where the caller waits.
class Background {
 public:
  Background() = default;
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  ~Background() {
    if (pending_.valid()) pending_.wait();
  }

  template <typename Work>
  void run(Work work) {
    wait();
    pending_ = std::async(std::launch::async, std::move(work));
  }

  void wait() {
    if (pending_.valid()) pending_.get();
  }

 private:
  std::future<void> pending_;
};

}  // namespace quanto::cli
