// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <string>
#include <vector>

#include "kernels_machine.h"
#include "kernels_turns.h"
#include "quanto/core/packing.h"
#include "quanto/kernels/cpu/dispatch.h"

// Linear of every activation by every weight. The weights rotate through memory
// that no cache holds; "warm" stays with one whose codes are warm_bytes(), and
// "small" with one of 64 x 64, which has no limit. GB/s are of the bytes of the
// weight (codes, scales, shifts), a multiply-add is two operations.

namespace quanto::bench {
namespace {

using kernels::InputScale;
using kernels::LinearArgs;
using kernels::LinearProblem;
using kernels::ShiftKind;

struct WeightKind {
  const char* name;
  QTypeId type;
  int64_t group_size;  ///< 0: one scale for each output
};
constexpr WeightKind kWeights[] = {
    {"int8", QTypeId::kQInt8, 0},      {"int4_g128", QTypeId::kQInt4, 128},
    {"int4_g64", QTypeId::kQInt4, 64}, {"int4_g32", QTypeId::kQInt4, 32},
    {"int2_g64", QTypeId::kQInt2, 64}, {"float8", QTypeId::kQFloat8E4M3FN, 0}};

struct InputKind {
  const char* name;
  DType input;
  DType activation;
};
constexpr InputKind kInputs[] = {{"fp32", DType::kFloat32, DType::kFloat32},
                                 {"bf16", DType::kBFloat16, DType::kBFloat16},
                                 {"fp16", DType::kFloat16, DType::kFloat16},
                                 {"int8", DType::kInt8, DType::kBFloat16}};

constexpr int64_t kSize = 4096;

struct Place {
  const char* name;
  int64_t n;
  int64_t k;
  const char* source;             ///< of the weights
  double (Machine::*read_gbs)();  ///< from there; null: no limit
  [[nodiscard]] bool rotates() const { return read_gbs == &Machine::read_gbs; }
};
constexpr Place kCold = {"cold", kSize, kSize, "memory", &Machine::read_gbs};
constexpr Place kSmall = {"small", 64, 64, "", nullptr};  // the cost of a call

Place warm(const WeightKind& weight) {
  const int64_t row = kSize * qtype(weight.type).bits / 8;
  const int64_t rows = static_cast<int64_t>(warm_bytes()) / row;
  return {"warm", std::max<int64_t>(rows / 32 * 32, 64), kSize, "cache",
          &Machine::cache_gbs};
}

LinearProblem problem_of(const WeightKind& weight, const InputKind& input,
                         int64_t rows, const Place& place) {
  const bool codes = input.input == DType::kInt8;
  return {
      .m = rows,
      .n = place.n,
      .k = place.k,
      .input = input.input,
      .input_scale = codes ? InputScale::kRow : InputScale::kNone,
      .activation = input.activation,
      .weight = weight.type,
      .group_size = weight.group_size == 0 ? place.k : weight.group_size,
      .per_tensor = false,
      .scale = input.activation,
      .shift = weight.group_size == 0 ? ShiftKind::kNone : ShiftKind::kFloat};
}

/// Where the parts of a weight stand, one after the other in one piece.
struct Layout {
  int64_t data;
  int64_t scale;
  int64_t shift;

  explicit Layout(const LinearProblem& problem)
      : data(problem.n * problem.k * qtype(problem.weight).bits / 8),
        scale(problem.n * problem.k / problem.group_size *
              size_of(problem.scale)),
        shift(problem.shift == ShiftKind::kNone ? 0 : scale) {}
  [[nodiscard]] int64_t bytes() const { return data + scale + shift; }
};

/// One call after the other, each on the next weight.
class Calls {
 public:
  Calls(const LinearProblem& problem, bool rotate)
      : problem_(problem),
        layout_(problem),
        weights_(rotate ? static_cast<int64_t>(cold_bytes()) / layout_.bytes()
                        : 1),
        input_scale_(static_cast<size_t>(problem.m), 0.01F),
        output_(static_cast<size_t>(problem.m * problem.n *
                                    size_of(problem.activation))),
        variant_(plan_linear(kernels::kernels(), problem)) {}

  void next(Executor& executor) {
    const std::byte* weight = weight_ + turn_++ % weights_ * layout_.bytes();
    const std::byte* scale = weight + layout_.data;
    const LinearArgs args = {
        input_,
        problem_.input_scale == InputScale::kNone ? nullptr
                                                  : input_scale_.data(),
        weight,
        scale,
        layout_.shift == 0 ? nullptr : scale + layout_.scale,
        nullptr,
        output_.data()};
    variant_.run(problem_, args, executor);
  }

  [[nodiscard]] double gigabytes() const {
    return 1e-9 * static_cast<double>(layout_.bytes());
  }
  [[nodiscard]] double gigaoperations() const {
    return 2e-9 * static_cast<double>(problem_.m * problem_.n * problem_.k);
  }
  [[nodiscard]] std::string_view variant() const { return variant_.name; }

 private:
  LinearProblem problem_;
  Layout layout_;
  int64_t weights_;
  std::vector<float> input_scale_;
  std::vector<std::byte> output_;
  const kernels::LinearVariant& variant_;
  const std::byte* weight_ = numbers();
  const std::byte* input_ = weight_ + cold_bytes();
  int64_t turn_ = 0;
};

void run(benchmark::State& state, const LinearProblem& problem,
         const Place& place, Machine& machine) {
  using benchmark::Counter;
  const std::string_view isa = kernels::kernels().isa;
  const limits::Compute* compute =
      best_compute(isa, problem.input, problem.weight);
  Calls calls(problem, place.rotates());
  const bool limited = compute != nullptr && place.read_gbs != nullptr;
  Samples read;
  Samples gops;
  const double seconds = time_in_turns(
      state, [&] { calls.next(machine.executor()); },
      [&] {
        if (!limited) return;
        read.add((machine.*place.read_gbs)());
        gops.add(machine.gops(*compute));
      });
  auto& counters = state.counters;
  counters["us"] = Counter(1e6 * seconds);
  counters["GB/s"] = Counter(calls.gigabytes() / seconds);
  counters["GOP/s"] = Counter(calls.gigaoperations() / seconds);
  std::string label = fmt::format("{} {}", isa, calls.variant());
  if (limited) {
    counters["limit_GB/s"] = Counter(read.median());
    counters["limit_GOP/s"] = Counter(gops.median());
    const double reading = calls.gigabytes() / read.median();
    const double computing = calls.gigaoperations() / gops.median();
    counters["%limit"] = Counter(100 * std::max(reading, computing) / seconds);
    label += fmt::format(
        ", {}", reading > computing ? place.source : compute->instruction);
  }
  state.SetLabel(label);
}

void add(const InputKind& input, const WeightKind& weight, int64_t rows,
         const Place& place, int threads) {
  const LinearProblem problem = problem_of(weight, input, rows, place);
  const std::string name = fmt::format("linear/{}/{}/m{}/{}/t{}", input.name,
                                       weight.name, rows, place.name, threads);
  benchmark::RegisterBenchmark(name.c_str(), [problem, place, threads](
                                                 benchmark::State& state) {
    run(state, problem, place, machine(threads));
  })->UseManualTime();
}

}  // namespace

void register_linear(int threads) {
  for (const InputKind& input : kInputs) {
    for (const WeightKind& weight : kWeights) {
      if (threads == 1 && weight.group_size <= kSmall.k) {
        add(input, weight, 1, kSmall, threads);
      }
      add(input, weight, 1, warm(weight), threads);
      for (const int64_t rows : {1, 8, 16, 32, 128, 512}) {
        add(input, weight, rows, kCold, threads);
      }
    }
  }
}

}  // namespace quanto::bench
