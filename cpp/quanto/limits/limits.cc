// SPDX-License-Identifier: Apache-2.0
#include "quanto/limits/limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>

namespace quanto::limits {
namespace {

constexpr int kRuns = 7;

double now() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count();
}

/// Seconds from the start of the first of `threads` calls work(thread) to the
/// end of the last, the least of several runs.
double best_seconds(int threads, const std::function<void(int)>& work) {
  double best = 1e30;
  for (int run = 0; run < kRuns; ++run) {
    std::atomic<int> ready{0};
    std::atomic<bool> go{false};
    std::vector<double> begin(static_cast<size_t>(threads));
    std::vector<double> end(static_cast<size_t>(threads));
    std::vector<std::thread> pool;
    pool.reserve(begin.size());
    for (int t = 0; t < threads; ++t) {
      pool.emplace_back([&, t] {
        ++ready;
        while (!go) std::this_thread::yield();
        begin[static_cast<size_t>(t)] = now();
        work(t);
        end[static_cast<size_t>(t)] = now();
      });
    }
    while (ready < threads) std::this_thread::yield();
    go = true;
    for (auto& thread : pool) thread.join();
    best = std::min(best, *std::ranges::max_element(end) -
                              *std::ranges::min_element(begin));
  }
  return best;
}

#if defined(__x86_64__)
__attribute__((target_clones("avx2", "default")))
#endif
uint64_t read_words(const uint64_t* words, size_t count) {
  uint64_t seen[16] = {};
  for (size_t i = 0; i + 16 <= count; i += 16) {
    for (size_t j = 0; j < 16; ++j) seen[j] |= words[i + j];
  }
  uint64_t all = 0;
  for (const uint64_t word : seen) all |= word;
  return all;
}

}  // namespace

Memory measure_memory(size_t bytes, int threads) {
  const auto parts = static_cast<size_t>(threads);
  const size_t share = bytes / sizeof(uint64_t) / parts;
  const size_t count = share * parts;
  const auto source = std::make_unique<uint64_t[]>(count);
  const auto target = std::make_unique<uint64_t[]>(count);
  std::memset(source.get(), 1, count * sizeof(uint64_t));
  std::memset(target.get(), 2, count * sizeof(uint64_t));
  std::atomic<uint64_t> sink{0};
  const double read = best_seconds(threads, [&](int t) {
    sink |= read_words(source.get() + static_cast<size_t>(t) * share, share);
  });
  const double copy = best_seconds(threads, [&](int t) {
    const size_t begin = static_cast<size_t>(t) * share;
    std::memcpy(target.get() + begin, source.get() + begin,
                share * sizeof(uint64_t));
  });
  const double gigabytes = 1e-9 * static_cast<double>(count * sizeof(uint64_t));
  return {gigabytes / read, gigabytes / copy};
}

std::vector<ComputeRate> measure_computes(int threads) {
  constexpr double kOperations = 4e9;  // a thread and run
  std::vector<ComputeRate> rates;
  for (const Compute& compute : available_computes()) {
    const auto count = static_cast<int64_t>(
        kOperations / static_cast<double>(compute.operations));
    const double seconds =
        best_seconds(threads, [&](int) { compute.run(count); });
    const double operations =
        static_cast<double>(count * compute.operations) * threads;
    rates.push_back({compute, 1e-9 * operations / seconds});
  }
  return rates;
}

}  // namespace quanto::limits
