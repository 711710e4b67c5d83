// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace quanto::cli {

/// "1.5 GB".
std::string bytes_text(uint64_t bytes);

/// Says on stderr how far the work is: on a terminal one line that is drawn
/// anew, with bytes/s and the time left, else a plain line now and then.
class Progress {
 public:
  explicit Progress(uint64_t total_bytes);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// Leaves the cursor at the beginning of a line.
  ~Progress();

  void add(uint64_t bytes);
  /// The last line, when all is done.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  void show(Clock::time_point now);

  uint64_t total_;
  uint64_t done_ = 0;
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point shown_ = start_;
};

}  // namespace quanto::cli
