// SPDX-License-Identifier: Apache-2.0
#include "quanto/limits/limits.h"

#include <sched.h>

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

/// Keeps the calling thread on the CPU that is number `t` of those it may run
/// on: threads that start together may else share one for milliseconds.
void stay_on_cpu(size_t t) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || t-- != 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof(one), &one);
    return;
  }
}

/// Seconds from the start of the first of `threads` calls work(thread) to the
/// end of the last.
double seconds_of(int threads, const std::function<void(size_t)>& work) {
  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  std::vector<double> begin(static_cast<size_t>(threads));
  std::vector<double> end(begin.size());
  std::vector<std::thread> pool;
  pool.reserve(begin.size());
  for (size_t t = 0; t < begin.size(); ++t) {
    pool.emplace_back([&, t] {
      if (threads > 1) stay_on_cpu(t);
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
  return *std::ranges::max_element(end) - *std::ranges::min_element(begin);
}

/// The most that several runs of `measure` gave.
double best(const std::function<double()>& measure) {
  double most = 0;
  for (int run = 0; run < kRuns; ++run) most = std::max(most, measure());
  return most;
}

#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
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

MemoryProbe::MemoryProbe(size_t bytes, int threads, int parts)
    : threads_(threads),
      share_(bytes / sizeof(uint64_t) / static_cast<size_t>(threads * parts)),
      parts_(static_cast<size_t>(parts)) {
  const size_t words = share_ * static_cast<size_t>(threads) * parts_;
  source_ = std::make_unique_for_overwrite<uint64_t[]>(words);
  std::memset(source_.get(), 1, words * sizeof(uint64_t));
}

size_t MemoryProbe::next() {
  return turn_++ % parts_ * share_ * static_cast<size_t>(threads_);
}

double MemoryProbe::read_gbs(int times) {
  const uint64_t* part = source_.get() + next();
  std::atomic<uint64_t> sink{0};
  const double seconds = seconds_of(threads_, [&](size_t t) {
    for (int i = 0; i < times; ++i) {
      sink |= read_words(part + t * share_, share_);
    }
  });
  return 1e-9 * static_cast<double>(share_ * sizeof(uint64_t)) * times *
         threads_ / seconds;
}

double MemoryProbe::copy_gbs() {
  if (target_ == nullptr) {
    const size_t words = share_ * static_cast<size_t>(threads_) * parts_;
    target_ = std::make_unique_for_overwrite<uint64_t[]>(words);
    std::memset(target_.get(), 2, words * sizeof(uint64_t));
  }
  const size_t place = next();
  const double seconds = seconds_of(threads_, [&](size_t t) {
    const size_t begin = place + t * share_;
    std::memcpy(target_.get() + begin, source_.get() + begin,
                share_ * sizeof(uint64_t));
  });
  return 1e-9 * static_cast<double>(share_ * sizeof(uint64_t)) * threads_ /
         seconds;
}

Memory measure_memory(size_t bytes, int threads) {
  MemoryProbe probe(bytes, threads, 1);
  return {best([&] { return probe.read_gbs(); }),
          best([&] { return probe.copy_gbs(); })};
}

double measure_compute(const Compute& compute, int threads, double operations) {
  const auto count = std::max<int64_t>(
      1, static_cast<int64_t>(operations /
                              static_cast<double>(compute.operations)));
  const double seconds =
      seconds_of(threads, [&](size_t) { compute.run(count); });
  return 1e-9 * static_cast<double>(count * compute.operations) * threads /
         seconds;
}

std::vector<ComputeRate> measure_computes(int threads) {
  constexpr double kOperations = 4e9;  // a thread and run
  std::vector<ComputeRate> rates;
  for (const Compute& compute : available_computes()) {
    rates.push_back({compute, best([&] {
                       return measure_compute(compute, threads, kOperations);
                     })});
  }
  return rates;
}

}  // namespace quanto::limits
