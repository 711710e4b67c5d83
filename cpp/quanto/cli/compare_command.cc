// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "quanto/cli/commands.h"
#include "quanto/cli/elements.h"
#include "quanto/cli/failure.h"
#include "quanto/core/executor.h"
#include "quanto/formats/model.h"

namespace quanto::cli {
namespace {

using formats::Model;
using formats::ModelTensor;
using io::Json;

/// How far B is from A in one tensor.
struct Distance {
  std::string name;
  double signal = 0.0;     ///< sum of a^2
  double noise = 0.0;      ///< sum of (a - b)^2
  double max_error = 0.0;  ///< largest |a - b|

  /// Signal to noise in dB; infinite where all is equal.
  [[nodiscard]] double sqnr() const {
    if (noise == 0.0) return std::numeric_limits<double>::infinity();
    return 10.0 * std::log10(signal / noise);
  }
};

struct Values {
  std::span<const std::byte> data;
  DType dtype;
};

/// Sums of fixed blocks, added in order: the same for any number of threads.
Distance distance(const Values& a, const Values& b, int64_t count,
                  Executor& executor) {
  constexpr int64_t kBlock = 1 << 16;
  const int64_t blocks = (count + kBlock - 1) / kBlock;
  std::vector<Distance> parts(static_cast<size_t>(blocks));
  executor.parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      Distance& part = parts[static_cast<size_t>(block)];
      const int64_t last = std::min(count, (block + 1) * kBlock);
      for (int64_t i = block * kBlock; i < last; ++i) {
        const double x = element(a.data, a.dtype, i);
        const double error = x - element(b.data, b.dtype, i);
        part.signal += x * x;
        part.noise += error * error;
        part.max_error = std::max(part.max_error, std::fabs(error));
      }
    }
  });
  Distance all;
  for (const Distance& part : parts) {
    all.signal += part.signal;
    all.noise += part.noise;
    all.max_error = std::max(all.max_error, part.max_error);
  }
  return all;
}

const ModelTensor& counterpart(const Model& model, const ModelTensor& tensor,
                               const std::string& path) {
  const auto found = std::ranges::lower_bound(
      model.tensors, tensor,
      [](const auto& x, const auto& y) { return x.name < y.name; });
  if (found == model.tensors.end() || found->name != tensor.name) {
    fail("{}: expected '{}', which the other checkpoint has, got none", path,
         tensor.name);
  }
  const bool shapes = found->shape_known && tensor.shape_known;
  if (found->numel() != tensor.numel() ||
      (shapes && found->shape != tensor.shape)) {
    fail("{}: expected the shape of the other checkpoint for '{}', got another",
         path, tensor.name);
  }
  return *found;
}

std::vector<Distance> distances(const Model& a, const Model& b,
                                const std::string& a_path,
                                const std::string& b_path) {
  for (const ModelTensor& tensor : b.tensors) counterpart(a, tensor, a_path);
  ThreadPool executor(
      std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  formats::Buffer a_room, b_room;
  std::vector<Distance> result;
  for (const ModelTensor& tensor : a.tensors) {
    const ModelTensor& other = counterpart(b, tensor, b_path);
    const auto a_values = formats::values(tensor, a_room, executor);
    const auto b_values = formats::values(other, b_room, executor);
    if (a_values.empty() || b_values.empty()) continue;
    result.push_back(distance({a_values, io::core_type(*tensor.type)},
                              {b_values, io::core_type(*other.type)},
                              tensor.numel(), executor));
    result.back().name = tensor.name;
  }
  std::ranges::stable_sort(
      result, [](const auto& x, const auto& y) { return x.sqnr() < y.sqnr(); });
  return result;
}

Json json_of(const std::vector<Distance>& all) {
  Json json = Json::array();
  for (const Distance& one : all) {
    Json entry;
    entry["name"] = one.name;
    entry["sqnr_db"] = one.noise == 0.0 ? Json(nullptr) : Json(one.sqnr());
    entry["max_error"] = one.max_error;
    json.push_back(std::move(entry));
  }
  return json;
}

void print_histogram(const std::vector<Distance>& all) {
  constexpr double kStep = 5.0;
  constexpr int kWidth = 50;
  std::map<int64_t, int64_t> bins;
  for (const Distance& one : all) {
    if (std::isfinite(one.sqnr())) {
      ++bins[static_cast<int64_t>(std::floor(one.sqnr() / kStep))];
    }
  }
  int64_t largest = 1;
  for (const auto& [bin, count] : bins) largest = std::max(largest, count);
  for (const auto& [bin, count] : bins) {
    const auto low = static_cast<double>(bin) * kStep;
    const auto length =
        static_cast<size_t>(std::max<int64_t>(1, count * kWidth / largest));
    fmt::print("{:>4.0f} to {:>3.0f} dB {:>6} {}\n", low, low + kStep, count,
               std::string(length, '#'));
  }
}

void print(const std::vector<Distance>& all, size_t worst) {
  const auto equal = std::count_if(
      all.begin(), all.end(), [](const auto& one) { return one.noise == 0.0; });
  Distance total;
  for (const Distance& one : all) {
    total.signal += one.signal;
    total.noise += one.noise;
    total.max_error = std::max(total.max_error, one.max_error);
  }
  fmt::print("{} tensors, {} of them equal\n", all.size(), equal);
  if (total.noise == 0.0) return;
  fmt::print("SQNR {:.2f} dB, largest error {:.6g}\n\n", total.sqnr(),
             total.max_error);
  print_histogram(all);
  fmt::print("\n{:>10} {:>12}  worst\n", "SQNR", "max error");
  for (size_t i = 0; i < std::min(worst, all.size()); ++i) {
    if (all[i].noise == 0.0) break;
    fmt::print("{:>7.2f} dB {:>12.6g}  {}\n", all[i].sqnr(), all[i].max_error,
               all[i].name);
  }
}

}  // namespace

void add_compare(CLI::App& app) {
  struct Options {
    std::string a, b;
    bool json = false;
    size_t worst = 10;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "compare",
      "Show how far the values of checkpoint B are from those of "
      "A, tensor by tensor");
  command->add_option("A", options->a, "The reference")->required();
  command->add_option("B", options->b, "What is compared with it")->required();
  command->add_option("--worst", options->worst,
                      "How many of the worst tensors to list (10)");
  command->add_flag("--json", options->json, "Print every tensor as JSON");
  command->callback([options] {
    const auto a = unwrap(io::Checkpoint::open(options->a));
    const auto b = unwrap(io::Checkpoint::open(options->b));
    const auto all =
        distances(unwrap(formats::describe(a)), unwrap(formats::describe(b)),
                  options->a, options->b);
    if (options->json) {
      fmt::print("{}", io::json_text(json_of(all)));
    } else {
      print(all, options->worst);
    }
  });
}

}  // namespace quanto::cli
