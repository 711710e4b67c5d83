// SPDX-License-Identifier: Apache-2.0

// Measures what the machine can do at most and prints one JSON object:
//   quanto_probe [MiB of memory] [threads]
// read and copy in GB/s (10^9 bytes read, or copied, a second), products in
// 10^9 operations a second. Each is the best of several runs: a limit.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "quanto/limits/limits.h"

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
  const auto memory = quanto::limits::measure_memory(mib << 20, threads);
  std::printf(
      "{\"threads\": %d, \"memory_mib\": %zu, \"read_gbs\": %.2f, "
      "\"copy_gbs\": %.2f, \"computes\": [",
      threads, mib, memory.read_gbs, memory.copy_gbs);
  const char* separator = "";
  for (const auto& [compute, gops] :
       quanto::limits::measure_computes(threads)) {
    std::printf(
        "%s{\"dtype\": \"%s\", \"instruction\": \"%s\", \"gops\": %.1f}",
        separator, compute.dtype, compute.instruction, gops);
    separator = ", ";
  }
  std::printf("]}\n");
  return 0;
}
