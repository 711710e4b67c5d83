// SPDX-License-Identifier: Apache-2.0

// The kernels held against the limits of the machine, measured in turns with
// them:
//   quanto_kernels_bench [--threads=1,2] [options of Google Benchmark]
// The kernels are those in use: QUANTO_FORCE_ISA names others.

#include <benchmark/benchmark.h>

#include <charconv>
#include <cstdio>
#include <exception>
#include <set>
#include <string>
#include <string_view>
#include <thread>

#include "kernels_machine.h"
#include "quanto/kernels/cpu/dispatch.h"

namespace {

using namespace quanto;

/// Takes --threads out of the arguments; one and all CPUs without it. Empty if
/// it is not a list of numbers above 0.
std::set<int> threads_of(int& argc, char** argv) {
  constexpr std::string_view kOption = "--threads=";
  std::set<int> threads = {
      1, static_cast<int>(std::max(1U, std::thread::hardware_concurrency()))};
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (!argument.starts_with(kOption)) {
      argv[kept++] = argv[i];
      continue;
    }
    threads.clear();
    const char* at = argument.data() + kOption.size();
    const char* end = argument.data() + argument.size();
    while (at < end) {
      int count = 0;
      const auto [next, error] = std::from_chars(at, end, count);
      if (error != std::errc() || count < 1) return {};
      threads.insert(count);
      at = next == end ? end : next + 1;
    }
  }
  argc = kept;
  return threads;
}

void run(const std::set<int>& threads) {
  benchmark::AddCustomContext("isa", std::string(kernels::kernels().isa));
  benchmark::AddCustomContext("cold_mib",
                              std::to_string(bench::cold_bytes() >> 20U));
  benchmark::AddCustomContext("warm_kib",
                              std::to_string(bench::warm_bytes() >> 10U));
  for (const int count : threads) {
    bench::register_linear(count);
    bench::register_elementwise(count);
  }
  benchmark::RunSpecifiedBenchmarks();
}

}  // namespace

int main(int argc, char** argv) {
  const std::set<int> threads = threads_of(argc, argv);
  if (threads.empty()) {
    std::fprintf(stderr,
                 "quanto_kernels_bench: expected numbers of threads above 0, "
                 "as in --threads=1,2\n");
    return 2;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  try {
    run(threads);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "quanto_kernels_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
