// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

// Calls and measurements of the machine's limits in turns: on a machine that
// others share, both change within milliseconds, and only neighbours in time
// compare.

namespace quanto::bench {

/// Numbers of which the median counts.
class Samples {
 public:
  void add(double value) { values_.push_back(value); }
  [[nodiscard]] double median() {
    const auto middle =
        values_.begin() + static_cast<std::ptrdiff_t>(values_.size() / 2);
    std::ranges::nth_element(values_, middle);
    return *middle;
  }

 private:
  std::vector<double> values_;
};

/// Seconds since it was made.
class Stopwatch {
 public:
  [[nodiscard]] double seconds() const {
    const std::chrono::duration<double> passed = Clock::now() - start_;
    return passed.count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

/// Runs `call` as often as the benchmark wants, and `probe` before the first
/// call, after the last and after every ten milliseconds of calls. Returns the
/// median of a call's seconds. Short calls are timed many at once.
template <typename Call, typename Probe>
double time_in_turns(benchmark::State& state, Call call, Probe probe) {
  constexpr double kTurn = 1e-2;
  constexpr double kLeast = 2e-5;
  probe();
  Stopwatch watch;
  call();
  const auto batch = std::min(
      static_cast<int64_t>(std::max(1.0, kLeast / watch.seconds())),
      static_cast<int64_t>(state.max_iterations));
  Samples seconds;
  double turn = 0;
  int64_t calls = 0;
  watch = {};
  for (auto _ : state) {
    call();
    if (++calls % batch != 0) continue;
    const double passed = watch.seconds();
    state.SetIterationTime(passed);
    seconds.add(passed / static_cast<double>(batch));
    turn += passed;
    if (turn >= kTurn) {
      probe();
      turn = 0;
    }
    watch = {};
  }
  probe();
  return seconds.median();
}

}  // namespace quanto::bench
