// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "quanto/core/packing.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/kernels/test_tensor.h"

// Linear on one thread, for every qtype and dtype of the input: floats, or
// codes with a scale per row and a bfloat16 result. "cold" walks over copies of
// the weight that together exceed the caches, "warm" uses one. The instruction
// set is that of QUANTO_FORCE_ISA. Rates are of the bytes of the weight (codes,
// scales, shifts) and of multiply-adds counted as two.

namespace quanto::kernels {
namespace {

constexpr int64_t kColdBytes = int64_t{512} << 20;

struct Weight {
  TestTensor data;
  TestTensor scale;
  TestTensor shift;
};

Weight random_weight(const LinearProblem& problem) {
  const QType& type = qtype(problem.weight);
  const int64_t groups = problem.n * problem.k / problem.group_size;
  const bool packed = type.bits < 8;
  Weight weight = {
      TestTensor(type.storage,
                 packed ? packed_rows(groups, type.bits) * problem.group_size
                        : problem.n * problem.k),
      random_tensor(problem.scale, groups, 0.01F, 0.02F, 1),
      random_tensor(problem.scale, packed ? groups : 0, 0.01F, 0.1F, 2)};
  std::mt19937 engine(3);
  for (int64_t i = 0; i < weight.data.numel(); ++i) {
    // Without the largest exponents: no infinity and no NaN.
    weight.data.set_bits(i,
                         engine() & (type.is_floating_point ? 0xbfU : 0xffU));
  }
  return weight;
}

int64_t bytes_of(const Weight& weight) {
  int64_t bytes = 0;
  for (const TestTensor* part : {&weight.data, &weight.scale, &weight.shift}) {
    bytes += part->numel() * size_of(part->dtype());
  }
  return bytes;
}

void run(benchmark::State& state, const LinearProblem& problem, bool cold) {
  std::vector<Weight> weights = {random_weight(problem)};
  const int64_t bytes = bytes_of(weights[0]);
  if (cold) weights.resize(kColdBytes / bytes + 1, weights[0]);
  const TestTensor input =
      random_tensor(problem.input, problem.m * problem.k, -1, 1, 4);
  const std::vector<float> input_scale(problem.m, 0.01F);
  TestTensor output(problem.activation, problem.m * problem.n);
  const LinearVariant& variant = plan_linear(kernels(), problem);
  SerialExecutor executor;
  size_t next = 0;
  for (auto _ : state) {
    const Weight& weight = weights[next++ % weights.size()];
    variant.run(
        problem,
        {input.data(), input_scale.data(), weight.data.data(),
         weight.scale.data(),
         problem.shift == ShiftKind::kNone ? nullptr : weight.shift.data(),
         nullptr, output.data()},
        executor);
  }
  state.SetLabel(std::string(kernels().isa) + " " + std::string(variant.name));
  state.SetBytesProcessed(state.iterations() * bytes);
  state.counters["op/s"] = benchmark::Counter(
      static_cast<double>(2 * problem.m * problem.n * problem.k),
      benchmark::Counter::kIsIterationInvariantRate);
}

struct Size {
  int64_t n;
  int64_t k;
  int64_t group_size;
};
constexpr Size kSizes[] = {
    {576, 576, 96}, {1024, 1024, 128}, {4096, 4096, 128}};

constexpr DType kInputs[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16,
                             DType::kInt8, DType::kFloat8E4M3FN};

void register_all() {
  for (const Size& size : kSizes) {
    for (const int64_t m : {1, 4, 16, 128, 1024}) {
      for (const DType input : kInputs) {
        for (const QType& type : kQTypes) {
          for (const bool cold : {false, true}) {
            if (cold && m > 4) continue;
            const bool codes = !is_activation(input);
            const DType activation = codes ? DType::kBFloat16 : input;
            const LinearProblem problem = {
                .m = m,
                .n = size.n,
                .k = size.k,
                .input = input,
                .input_scale = codes ? InputScale::kRow : InputScale::kNone,
                .activation = activation,
                .weight = type.id,
                .group_size = type.bits == 8 ? size.k : size.group_size,
                .per_tensor = false,
                .scale = activation,
                .shift = type.bits == 8 ? ShiftKind::kNone : ShiftKind::kFloat};
            const std::string name =
                std::string(type.name) + "/" + std::string(name_of(input)) +
                "/m" + std::to_string(m) + "/" + std::to_string(size.n) + "x" +
                std::to_string(size.k) + (cold ? "/cold" : "/warm");
            benchmark::RegisterBenchmark(
                name.c_str(), [problem, cold](benchmark::State& state) {
                  run(state, problem, cold);
                });
          }
        }
      }
    }
  }
}

const bool kRegistered = (register_all(), true);

}  // namespace
}  // namespace quanto::kernels
