// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "quanto/limits/compute.h"

// What a machine can do at most: the best of several runs of loops that do
// nothing else.

namespace quanto::limits {

/// In 10^9 bytes a second: read, or copied from one place to another.
struct Memory {
  double read_gbs;
  double copy_gbs;
};

/// Of blocks of `bytes`, shared by `threads` threads.
Memory measure_memory(size_t bytes, int threads);

/// Memory to be measured again and again, beside what is held against it.
class MemoryProbe {
 public:
  /// Cuts blocks of `bytes` into `parts`; a measurement takes the next part.
  MemoryProbe(size_t bytes, int threads, int parts);
  /// 10^9 bytes a second, of one run. Each thread reads its share of the part
  /// `times` times: of a single part that a cache holds, the cache is measured.
  [[nodiscard]] double read_gbs(int times = 1);
  [[nodiscard]] double copy_gbs();

 private:
  /// The place of the next part, in words.
  size_t next();

  int threads_;
  size_t share_;  ///< words of a thread in a part
  size_t parts_;
  size_t turn_ = 0;
  std::unique_ptr<uint64_t[]> source_;
  std::unique_ptr<uint64_t[]> target_;  ///< none before the first copy
};

/// 10^9 operations a second of one run of `operations` on each thread.
double measure_compute(const Compute& compute, int threads, double operations);

/// Products and sums in registers, in 10^9 operations a second of all threads.
struct ComputeRate {
  Compute compute;
  double gops;
};

/// Of everything in available_computes().
std::vector<ComputeRate> measure_computes(int threads);

}  // namespace quanto::limits
