// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <string_view>

#include "quanto/core/executor.h"
#include "quanto/core/qtype.h"
#include "quanto/limits/limits.h"

// What the benchmarks of kernels run on: memory, threads, and the limits that
// they are held against.

namespace quanto::bench {

/// Bytes that no cache holds: twice the last one, 256 MiB at least.
size_t cold_bytes();

/// Bytes that stay in the second cache of a core: half of it, 512 KiB where it
/// is not known.
size_t warm_bytes();

/// kNumbers bytes more than cold_bytes() of numbers of moderate size whatever
/// they are taken for: bfloat16, fp16, fp32, float8, codes.
const std::byte* numbers();
inline constexpr size_t kNumbers = size_t{1} << 30;

/// The best instruction of `isa` (kernels/cpu/dispatch.h) for activations of
/// `input` by `weight`: int8 codes are multiplied as such, bfloat16 as itself
/// or as fp32, everything else as fp32. Null for ref, which has none.
const limits::Compute* best_compute(std::string_view isa, DType input,
                                    QTypeId weight);

/// A number of threads, and what they can do at most.
class Machine {
 public:
  explicit Machine(int threads);
  [[nodiscard]] Executor& executor() { return executor_; }
  [[nodiscard]] double read_gbs() { return memory_.read_gbs(); }
  [[nodiscard]] double copy_gbs() { return memory_.copy_gbs(); }
  /// Of warm_bytes(), which the threads share.
  [[nodiscard]] double cache_gbs();
  /// Of one run of a few milliseconds.
  [[nodiscard]] double gops(const limits::Compute& compute);

 private:
  int threads_;
  ThreadPool executor_;
  limits::MemoryProbe memory_;
  limits::MemoryProbe cache_;
  std::map<std::string_view, double> gops_;  ///< what was last seen
};

/// The one with that many threads.
Machine& machine(int threads);

void register_linear(int threads);
void register_elementwise(int threads);

}  // namespace quanto::bench
