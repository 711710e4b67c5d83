// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
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

/// Products and sums in registers, in 10^9 operations a second of all threads.
struct ComputeRate {
  Compute compute;
  double gops;
};

/// Of everything in available_computes().
std::vector<ComputeRate> measure_computes(int threads);

}  // namespace quanto::limits
