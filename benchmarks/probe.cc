// SPDX-License-Identifier: Apache-2.0

// Measures what the machine can do at most and prints one JSON object:
//   quanto_probe [MiB of memory] [threads]
// read and copy in GB/s (10^9 bytes read, or copied, a second), products in
// 10^9 operations a second. Each is the best of several runs: a limit.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "probe_compute.h"

namespace quanto::probe {
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
    std::vector<double> begin(threads);
    std::vector<double> end(threads);
    std::vector<std::thread> pool;
    for (int t = 0; t < threads; ++t) {
      pool.emplace_back([&, t] {
        ++ready;
        while (!go) std::this_thread::yield();
        begin[t] = now();
        work(t);
        end[t] = now();
      });
    }
    while (ready < threads) std::this_thread::yield();
    go = true;
    for (auto& thread : pool) thread.join();
    best = std::min(best, *std::max_element(end.begin(), end.end()) -
                              *std::min_element(begin.begin(), begin.end()));
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

void print_memory(size_t bytes, int threads) {
  const size_t share = bytes / sizeof(uint64_t) / threads;
  const size_t count = share * threads;
  const auto source = std::make_unique<uint64_t[]>(count);
  const auto target = std::make_unique<uint64_t[]>(count);
  std::memset(source.get(), 1, count * sizeof(uint64_t));
  std::memset(target.get(), 2, count * sizeof(uint64_t));
  std::atomic<uint64_t> sink{0};
  const double read = best_seconds(threads, [&](int t) {
    sink |= read_words(source.get() + t * share, share);
  });
  const double copy = best_seconds(threads, [&](int t) {
    std::memcpy(target.get() + t * share, source.get() + t * share,
                share * sizeof(uint64_t));
  });
  const double gigabytes = 1e-9 * static_cast<double>(count * sizeof(uint64_t));
  std::printf("\"memory_mib\": %zu, \"read_gbs\": %.2f, \"copy_gbs\": %.2f",
              bytes >> 20, gigabytes / read, gigabytes / copy);
}

void print_computes(const std::vector<Compute>& computes, int threads) {
  constexpr double kOperations = 4e9;  // a thread and run
  std::printf("\"computes\": [");
  const char* separator = "";
  for (const Compute& compute : computes) {
    const auto count = static_cast<int64_t>(
        kOperations / static_cast<double>(compute.operations));
    const double seconds =
        best_seconds(threads, [&](int) { compute.run(count); });
    const double operations =
        static_cast<double>(count * compute.operations) * threads;
    std::printf(
        "%s{\"dtype\": \"%s\", \"instruction\": \"%s\", \"gops\": %.1f}",
        separator, compute.dtype, compute.instruction,
        1e-9 * operations / seconds);
    separator = ", ";
  }
  std::printf("]");
}

}  // namespace
}  // namespace quanto::probe

int main(int argc, char** argv) {
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  const size_t mib = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 256;
  const int threads = argc > 2 ? std::atoi(argv[2]) : std::max(cores, 1);
  if (mib < 1 || threads < 1) {
    std::fprintf(stderr,
                 "quanto_probe: expected a size in MiB and a number of threads "
                 "above 0, got %zu and %d\n",
                 mib, threads);
    return 2;
  }
  const auto computes = quanto::probe::available_computes();
  std::printf("{\"threads\": %d, ", threads);
  quanto::probe::print_memory(mib << 20, threads);
  std::printf(", ");
  quanto::probe::print_computes(computes, threads);
  std::printf("}\n");
  return 0;
}
