// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>

#include "quanto/kernels/cpu/conv_case.h"

namespace quanto::kernels {
namespace {

/// A convolution of bfloat16 whose taps are of `taps_dtype`.
struct Case {
  ConvProblem problem;
  TestTensor input;
  TestTensor taps;
  std::vector<float> scale;
  std::vector<float> bias;
};

ConvProblem problem_of(int64_t channels, int64_t outputs, Pair input) {
  ConvProblem problem = conv_problem(2, channels, outputs, input);
  problem.dtype = problem.activation = DType::kBFloat16;
  problem.taps_dtype = DType::kBFloat16;
  return problem;
}

Case case_of(ConvProblem problem) {
  set_output(&problem);
  const ConvProblem& p = problem;
  const int64_t outputs = p.groups * p.outputs;
  return {p,
          random_tensor(
              p.dtype, p.images * p.groups * p.channels * p.input.y * p.input.x,
              -3.0F, 3.0F, 1),
          random_tensor(p.taps_dtype, outputs * p.taps(), -2.0F, 2.0F, 2),
          random_floats(outputs, 3), random_floats(outputs, 4)};
}

/// The taps, rounded to bfloat16, in the blocks that `conv` takes.
std::vector<float> blocks(const Case& c, bool absolute) {
  const ConvProblem& p = c.problem;
  std::vector<float> result;
  for (int64_t g = 0; g < p.groups; ++g) {
    for (int64_t first = 0; first < p.outputs; first += kConvOutputs) {
      const int64_t end = std::min(p.outputs, first + kConvOutputs);
      for (int64_t t = 0; t < p.taps(); ++t) {
        for (int64_t o = first; o < end; ++o) {
          TestTensor tap(DType::kBFloat16, 1);
          tap.set(0, c.taps.at((g * p.outputs + o) * p.taps() + t));
          result.push_back(absolute ? std::abs(tap.at(0)) : tap.at(0));
        }
      }
    }
  }
  return result;
}

/// The reference's result in fp32; `absolute`: of the magnitudes.
TestTensor reference(Case c, bool absolute) {
  const std::vector<float> taps = blocks(c, absolute);
  if (absolute) {
    for (int64_t i = 0; i < c.input.numel(); ++i) {
      c.input.set(i, std::abs(c.input.at(i)));
    }
    for (float& value : c.scale) value = std::abs(value);
    for (float& value : c.bias) value = std::abs(value);
  }
  const ConvProblem& p = c.problem;
  TestTensor out(DType::kFloat32,
                 p.images * p.groups * p.outputs * p.output.y * p.output.x);
  c.problem.activation = DType::kFloat32;
  SerialExecutor executor;
  ref_kernels().conv(c.problem,
                     {c.input.data(), nullptr, taps.data(), c.scale.data(),
                      c.bias.data(), out.data()},
                     executor);
  return out;
}

TestTensor run(const Case& c, Executor& executor) {
  const ConvProblem& p = c.problem;
  const int64_t numel =
      p.images * p.groups * p.outputs * p.output.y * p.output.x;
  TestTensor out(DType::kBFloat16, numel + kGuard);
  out.fill_bytes(0x55);
  kernels().conv_tiles(p,
                       {c.input.data(), nullptr, c.taps.data(), c.scale.data(),
                        c.bias.data(), out.data()},
                       executor);
  return out;
}

void expect_close(const ConvProblem& problem) {
  static ThreadPool pool(3);
  SerialExecutor serial;
  const Case c = case_of(problem);
  const TestTensor out = run(c, serial);
  expect_same(out, run(c, pool), Compare::kBits, "3 threads");
  const TestTensor value = reference(c, false);
  const TestTensor magnitude = reference(c, true);
  for (int64_t i = 0; i < value.numel(); ++i) {
    // Sums of products in two orders, then scale and bias; then one rounding.
    const double sum = 2 * (static_cast<double>(c.problem.taps()) + 2) *
                       0x1p-24 * magnitude.at(i);
    const double bound =
        sum + (std::abs(value.at(i)) + sum) * half_ulp(DType::kBFloat16);
    ASSERT_NEAR(out.at(i), value.at(i), bound)
        << problem.channels << " channels, " << problem.outputs
        << " outputs, element " << i;
  }
  for (int64_t i = value.numel(); i < out.numel(); ++i) {
    ASSERT_EQ(out.bits(i), 0x5555U) << "past the end";
  }
}

class ConvTilesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (kernels().conv_tiles == nullptr) {
      GTEST_SKIP() << kernels().isa << " has no tile registers";
    }
  }
};

TEST_F(ConvTilesTest, EveryNumberOfOutputsAndChannels) {
  for (const int64_t channels : {2, 32, 50}) {
    for (const int64_t outputs : {1, 16, 17, 33}) {
      ConvProblem problem = problem_of(channels, outputs, {5, 7});
      expect_close(problem);
      problem.taps_dtype = DType::kFloat32;
      expect_close(problem);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(ConvTilesTest, EveryGeometry) {
  for (const Pair kernel : {Pair{1, 1}, {3, 3}, {2, 5}}) {
    for (const Pair stride : {Pair{1, 1}, {2, 2}, {1, 3}}) {
      for (const Pair padding : {Pair{0, 0}, {1, 2}}) {
        for (const Pair dilation : {Pair{1, 1}, {2, 3}}) {
          ConvProblem problem = problem_of(6, 3, {9, 17});
          problem.kernel = kernel;
          problem.stride = stride;
          problem.padding = padding;
          problem.dilation = dilation;
          expect_close(problem);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_F(ConvTilesTest, InBands) {
  for (const Pair input : {Pair{40, 50}, {2, 1000}, {300, 5}}) {
    ConvProblem problem = problem_of(34, 2, input);
    problem.images = 1;
    expect_close(problem);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace quanto::kernels
