// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/conv.h"

#include <gtest/gtest.h>

#include <tuple>

#include "quanto/kernels/cpu/against_ref.h"

namespace quanto::kernels {
namespace {

/// Everything but the types: 3 by 3 taps in the middle of a small image.
ConvProblem problem_of(int64_t channels, int64_t outputs, Pair input) {
  return {.images = 2,
          .groups = 3,
          .channels = channels,
          .outputs = outputs,
          .input = input,
          .kernel = {3, 3},
          .stride = {1, 1},
          .padding = {1, 1},
          .dilation = {1, 1},
          .output = {},
          .dtype = DType::kFloat32,
          .input_scale = InputScale::kNone,
          .activation = DType::kFloat32};
}

int64_t places(int64_t input, int64_t kernel, int64_t stride, int64_t padding,
               int64_t dilation) {
  return (input + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
}

void set_output(ConvProblem* p) {
  p->output = {
      places(p->input.y, p->kernel.y, p->stride.y, p->padding.y, p->dilation.y),
      places(p->input.x, p->kernel.x, p->stride.x, p->padding.x,
             p->dilation.x)};
}

std::vector<float> random_floats(int64_t count, uint32_t seed) {
  const TestTensor values =
      random_tensor(DType::kFloat32, count, -2.0F, 2.0F, seed);
  std::vector<float> floats(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    floats[static_cast<size_t>(i)] = values.at(i);
  }
  return floats;
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
