// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <tuple>

#include "quanto/kernels/cpu/conv_case.h"

namespace quanto::kernels {
namespace {

ConvProblem problem_of(int64_t channels, int64_t outputs, Pair input) {
  return conv_problem(3, channels, outputs, input);
}

std::string name_of(Pair pair) {
  return "(" + std::to_string(pair.y) + ", " + std::to_string(pair.x) + ")";
}

std::string name_of(const ConvProblem& p) {
  return std::to_string(p.channels) + " channels, " +
         std::to_string(p.outputs) + " outputs, input " + name_of(p.input) +
         ", kernel " + name_of(p.kernel) + ", stride " + name_of(p.stride) +
         ", padding " + name_of(p.padding) + ", dilation " +
         name_of(p.dilation);
}

void expect_equal(ConvProblem problem, bool has_bias = true) {
  set_output(&problem);
  const int64_t planes = problem.images * problem.groups;
  const int64_t outputs = problem.groups * problem.outputs;
  const TestTensor input = random_tensor(
      problem.dtype,
      planes * problem.channels * problem.input.y * problem.input.x, -3.0F,
      3.0F, 1);
  const std::vector<float> taps = random_floats(outputs * problem.taps(), 2);
  const std::vector<float> scale = random_floats(outputs, 3);
  const std::vector<float> bias = random_floats(outputs, 4);
  const std::vector<float> input_scale = random_floats(problem.images, 5);
  expect_as_ref(problem.activation,
                problem.images * outputs * problem.output.y * problem.output.x,
                Compare::kNumbers, name_of(problem),
                [&](const KernelTable& table, void* out, Executor& executor) {
                  table.conv(
                      problem,
                      {input.data(), input_scale.data(), taps.data(),
                       scale.data(), has_bias ? bias.data() : nullptr, out},
                      executor);
                });
}

using Types = std::tuple<DType, DType>;

class ConvTest : public testing::TestWithParam<Types> {
 protected:
  void expect(ConvProblem problem) {
    problem.dtype = std::get<0>(GetParam());
    problem.activation = std::get<1>(GetParam());
    if (is_activation(problem.dtype)) return expect_equal(problem);
    for (const InputScale scale : {InputScale::kTensor, InputScale::kRow}) {
      problem.input_scale = scale;
      expect_equal(problem);
    }
  }
};

TEST_P(ConvTest, EqualsRef) {
  for (int64_t width = 1; width <= 40; width += 3) {
    expect(problem_of(2, 3, {5, width}));
    ConvProblem strided = problem_of(1, 1, {8, width + 40});
    strided.stride = {2, 2};
    expect(strided);
    if (HasFatalFailure()) return;
  }
}

std::vector<Types> all_types() {
  std::vector<Types> types;
  for (const DType activation : kActivations) {
    types.emplace_back(activation, activation);
    for (const DType code : kStorages) types.emplace_back(code, activation);
  }
  return types;
}

std::string types_name(const testing::TestParamInfo<Types>& info) {
  return std::string(quanto::name_of(std::get<0>(info.param))) + "_" +
         std::string(quanto::name_of(std::get<1>(info.param)));
}

INSTANTIATE_TEST_SUITE_P(All, ConvTest, testing::ValuesIn(all_types()),
                         types_name);

TEST(ConvShapeTest, EqualsRefForEveryGeometry) {
  for (const Pair kernel : {Pair{1, 1}, {3, 3}, {2, 5}, {7, 1}}) {
    for (const Pair stride : {Pair{1, 1}, {2, 2}, {1, 3}, {5, 2}}) {
      for (const Pair padding : {Pair{0, 0}, {1, 2}, {4, 3}}) {
        for (const Pair dilation : {Pair{1, 1}, {2, 1}, {1, 3}}) {
          ConvProblem problem = problem_of(2, 2, {13, 19});
          problem.kernel = kernel;
          problem.stride = stride;
          problem.padding = padding;
          problem.dilation = dilation;
          expect_equal(problem);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(ConvShapeTest, EqualsRefForEveryNumberOfOutputsAndChannels) {
  for (int64_t outputs = 1; outputs <= 9; ++outputs) {
    for (int64_t channels = 1; channels <= 5; ++channels) {
      expect_equal(problem_of(channels, outputs, {7, 9}), channels % 2 == 0);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(ConvShapeTest, EqualsRefInBands) {
  for (const Pair input : {Pair{40, 200}, {3, 20000}, {2000, 9}}) {
    ConvProblem problem = problem_of(9, 2, input);
    expect_equal(problem);
    problem.stride = {3, 2};
    expect_equal(problem);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace quanto::kernels
