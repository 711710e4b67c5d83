// SPDX-License-Identifier: Apache-2.0
//
//   quanto_cli_kernels IN WEIGHTS OPTIMIZER THREADS
//
// The kernels of `quanto quantize IN OUT` alone: every weight is in memory when
// its time begins, and what is made of it goes nowhere. OPTIMIZER may be empty.
// Prints {"seconds": ..., "cpu_seconds": ...}, the latter of all threads.

#include <chrono>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "quanto/cli/failure.h"
#include "quanto/cli/quantize_plan.h"
#include "quanto/cli/selection.h"
#include "quanto/formats/quanto.h"

namespace {

using namespace quanto;

/// Has every page of it in memory and mapped.
void touch(std::span<const std::byte> bytes) {
  constexpr size_t kPage = 4096;
  volatile std::byte last{};
  for (size_t i = 0; i < bytes.size(); i += kPage) last = bytes[i];
  (void)last;
}

struct Spent {
  double seconds = 0;
  double cpu_seconds = 0;
};

double cpu_now() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

void time_step(const cli::Step& step, std::vector<formats::NamedBuffer>& made,
               Spent& spent) {
  for (const auto& input : step.inputs) {
    touch(input.file->data(*input.tensor));
  }
  const double cpu = cpu_now();
  const auto start = std::chrono::steady_clock::now();
  step.make(made);
  const auto time = std::chrono::steady_clock::now() - start;
  spent.seconds += std::chrono::duration<double>(time).count();
  spent.cpu_seconds += cpu_now() - cpu;
}

void run(const std::string& path, const std::string& type,
         const std::string& optimizer, int threads) {
  const auto checkpoint = cli::unwrap(io::Checkpoint::open(path));
  const QType* found = formats::find_type(type);
  if (found == nullptr) cli::fail("expected a type, got {}", type);
  cli::Wanted wanted;
  wanted.weights = found->id;
  if (!optimizer.empty()) wanted.optimizer = cli::find_optimizer(optimizer);
  const auto selection = cli::select(checkpoint, nullptr, wanted);
  ThreadPool executor(threads);
  const auto output = cli::quantized_output(checkpoint, nullptr, selection,
                                            wanted.weights, executor);
  std::vector<formats::NamedBuffer> made;
  Spent spent;
  for (const auto& file : output.files) {
    for (const cli::Step& step : file.steps) {
      if (step.make) time_step(step, made, spent);
    }
  }
  std::printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f}\n", spent.seconds,
              spent.cpu_seconds);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  try {
    run(argv[1], argv[2], argv[3], std::stoi(argv[4]));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "quanto_cli_kernels: %s\n", error.what());
    return 1;
  }
  return 0;
}
