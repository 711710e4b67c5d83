// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "quanto/cli/bench_kernels.h"
#include "quanto/cli/commands.h"
#include "quanto/cli/failure.h"
#include "quanto/core/executor.h"
#include "quanto/io/json.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/limits/limits.h"

namespace quanto::cli {
namespace {

using io::Json;

struct Report {
  int threads;
  limits::Memory memory;
  std::vector<limits::ComputeRate> computes;
  std::vector<Measured> kernels;
};

/// What the best instruction for the type does; bf16 products may as well be
/// done in fp32.
double best_gops(const Report& report, std::string_view dtype) {
  double best = 0;
  for (const auto& [compute, gops] : report.computes) {
    const std::string_view has = compute.dtype;
    if (has == dtype || (dtype == "bf16" && has == "fp32")) {
      best = std::max(best, gops);
    }
  }
  return best;
}

/// What bounds a kernel, and the seconds that it allows.
struct Bound {
  double seconds;
  const char* limit;
};

/// A copy reads and writes: what moves bytes both ways is held against the
/// faster of it and of reading.
Bound bound_of(const Report& report, const Measured& kernel) {
  const double gbs =
      kernel.operation.starts_with("linear")
          ? report.memory.read_gbs
          : std::max(report.memory.read_gbs, 2 * report.memory.copy_gbs);
  const Bound memory{1e-9 * kernel.bytes / gbs, "memory"};
  if (kernel.operations == 0) return memory;
  const Bound compute{
      1e-9 * kernel.operations / best_gops(report, kernel.compute), "compute"};
  return compute.seconds > memory.seconds ? compute : memory;
}

bool is_product(const Measured& kernel) { return kernel.operations != 0; }

double rate(const Measured& kernel) {
  const double work = is_product(kernel) ? kernel.operations : kernel.bytes;
  return 1e-9 * work / kernel.seconds;
}

Json json_of(const Report& report) {
  Json json;
  json["version"] = QUANTO_VERSION;
  json["isa"] = kernels::kernels().isa;
  json["threads"] = report.threads;
  json["read_gbs"] = report.memory.read_gbs;
  json["copy_gbs"] = report.memory.copy_gbs;
  json["computes"] = Json::array();
  for (const auto& [compute, gops] : report.computes) {
    json["computes"].push_back({{"dtype", compute.dtype},
                                {"instruction", compute.instruction},
                                {"gops", gops}});
  }
  json["kernels"] = Json::array();
  for (const Measured& kernel : report.kernels) {
    const Bound bound = bound_of(report, kernel);
    json["kernels"].push_back(
        {{"operation", kernel.operation},
         {"qtype", qtype(kernel.qtype).name},
         {"seconds", kernel.seconds},
         {is_product(kernel) ? "gops" : "gbs", rate(kernel)},
         {"limit", bound.limit},
         {"share", bound.seconds / kernel.seconds}});
  }
  return json;
}

void print(const Report& report) {
  fmt::print("{} threads, {} kernels\n\n", report.threads,
             kernels::kernels().isa);
  fmt::print("{:<28} {:>8.1f} GB/s\n", "memory, read", report.memory.read_gbs);
  fmt::print("{:<28} {:>8.1f} GB/s\n", "memory, copied",
             report.memory.copy_gbs);
  for (const auto& [compute, gops] : report.computes) {
    fmt::print("{:<28} {:>8.1f} Gop/s\n",
               fmt::format("{}, {}", compute.dtype, compute.instruction), gops);
  }
  fmt::print("\n{:<24} {:<17} {:>10} {:>15}  of limit\n", "kernel", "type",
             "ms", "rate");
  for (const Measured& kernel : report.kernels) {
    const Bound bound = bound_of(report, kernel);
    fmt::print("{:<24} {:<17} {:>10.3f} {:>9.1f} {:<5}  {:>4.0f}% {}\n",
               kernel.operation, qtype(kernel.qtype).name, 1e3 * kernel.seconds,
               rate(kernel), is_product(kernel) ? "Gop/s" : "GB/s",
               100 * bound.seconds / kernel.seconds, bound.limit);
  }
}

void run(int threads, bool json) {
  const int all = static_cast<int>(std::thread::hardware_concurrency());
  Report report;
  report.threads = threads > 0 ? threads : std::max(1, all);
  report.memory = limits::measure_memory(working_set_bytes(), report.threads);
  report.computes = limits::measure_computes(report.threads);
  ThreadPool executor(report.threads);
  report.kernels = measure_kernels(executor);
  if (json) {
    fmt::print("{}", io::json_text(json_of(report)));
  } else {
    print(report);
  }
}

}  // namespace

void add_bench(CLI::App& app) {
  struct Options {
    int threads = 0;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "bench", "Measure this machine's limits, and the kernels against them");
  command->footer(
      "Limits are memory bandwidth and the products and sums that registers\n"
      "allow in each type. Kernels are those in use (quanto --version;\n"
      "QUANTO_FORCE_ISA names others): a matrix of 4096 x 4096 in bfloat16\n"
      "(512 x 512 with ref), groups of 128 for 4 and 2 bits. Each has its\n"
      "share of the limit that bounds it. It takes a quarter of a minute, and\n"
      "a machine that does nothing else: what else runs lowers the limits.");
  command
      ->add_option("-j,--threads", options->threads,
                   "Threads; default: one for each CPU")
      ->check(CLI::Range(1, 1024));
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options] { run(options->threads, options->json); });
}

}  // namespace quanto::cli
