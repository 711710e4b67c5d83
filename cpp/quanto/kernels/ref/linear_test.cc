// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <ostream>
#include <string>
#include <tuple>
#include <vector>

#include "quanto/core/packing.h"
#include "quanto/kernels/ref/ref.h"
#include "quanto/kernels/test_tensor.h"

namespace quanto::kernels {
namespace {

/// What a problem is besides its dtypes.
struct Shape {
  int64_t m;
  int64_t n;
  int64_t k;
  int64_t group_size;
  bool per_tensor;
  bool bias;
};

constexpr Shape kShapes[] = {
    {1, 8, 32, 32, false, false}, {3, 5, 7, 7, false, true},
    {2, 5, 24, 8, false, true},   {4, 1, 96, 32, false, false},
    {2, 3, 10, 10, true, true},   {0, 5, 8, 8, false, true},
    {2, 0, 8, 8, false, false},   {2, 3, 0, 0, false, true}};

/// A problem with random operands, and the weight they stand for.
class Operands {
 public:
  Operands(LinearProblem problem, bool with_bias)
      : problem_(problem),
        type_(qtype(problem.weight)),
        groups_(problem.k == 0 ? 0 : problem.k / problem.group_size),
        input_(random_input(problem)),
        input_scale_(random_tensor(
            DType::kFloat32,
            problem.input_scale == InputScale::kRow ? problem.m : 1, 0.01F,
            0.1F, 6)),
        bias_(random_tensor(problem.activation, problem.n, -1, 1, 2)),
        scale_(random_tensor(problem.scale,
                             problem.per_tensor ? 1 : problem.n * groups_,
                             0.01F, 0.1F, 3)),
        shift_(random_tensor(problem.shift == ShiftKind::kInteger
                                 ? DType::kUInt8
                                 : problem.scale,
                             problem.n * groups_, 0, 3, 4)),
        codes_(random_codes()),
        with_bias_(with_bias) {}

  [[nodiscard]] LinearProblem problem() const { return problem_; }
  [[nodiscard]] double x(int64_t m, int64_t k) const {
    const double code = input_.at(m * problem_.k + k);
    if (problem_.input_scale == InputScale::kNone) return code;
    return code *
           input_scale_.at(problem_.input_scale == InputScale::kRow ? m : 0);
  }
  [[nodiscard]] double w(int64_t n, int64_t k) const {
    const int64_t group = n * groups_ + k / problem_.group_size;
    const double scale = scale_.at(problem_.per_tensor ? 0 : group);
    const double code = codes_.at(n * problem_.k + k);
    if (problem_.shift == ShiftKind::kNone) return scale * code;
    const double shift = shift_.at(group);
    return problem_.shift == ShiftKind::kInteger ? scale * (code - shift)
                                                 : scale * code - shift;
  }
  [[nodiscard]] double bias(int64_t n) const {
    return with_bias_ ? bias_.at(n) : 0;
  }

  [[nodiscard]] TestTensor run(Executor& executor) const {
    std::vector<uint8_t> packed;
    const void* data = codes_.data();
    if (type_.bits < 8) {
      const int64_t rows = problem_.n * groups_;
      packed.resize(packed_rows(rows, type_.bits) * problem_.group_size);
      ref_kernels().pack(static_cast<const uint8_t*>(data), rows,
                         problem_.group_size, type_.bits, packed.data(),
                         executor);
      data = packed.data();
    }
    TestTensor output(problem_.activation, problem_.m * problem_.n);
    output.fill_bytes(0x55);
    std::vector<float> scale(input_scale_.numel());
    for (size_t i = 0; i < scale.size(); ++i) {
      scale[i] = input_scale_.at(static_cast<int64_t>(i));
    }
    const LinearVariant& variant = plan_linear(ref_kernels(), problem_);
    variant.run(
        problem_,
        {.input = input_.data(),
         .input_scale =
             problem_.input_scale == InputScale::kNone ? nullptr : scale.data(),
         .data = data,
         .scale = scale_.data(),
         .shift = shift_.data(),
         .bias = with_bias_ ? bias_.data() : nullptr,
         .output = output.data()},
        executor);
    return output;
  }

 private:
  [[nodiscard]] static TestTensor random_input(const LinearProblem& problem) {
    const float largest = problem.input == DType::kInt8 ? 128 : 1;
    return random_tensor(problem.input, problem.m * problem.k, -largest,
                         largest - 0.1F, 1);
  }

  [[nodiscard]] TestTensor random_codes() const {
    const int64_t numel = problem_.n * problem_.k;
    if (type_.is_floating_point) {
      return random_tensor(type_.storage, numel, -8, 8, 5);
    }
    if (type_.bits == 8) {
      return random_tensor(type_.storage, numel, -128.9F, 127.9F, 5);
    }
    const auto end = static_cast<float>(1 << type_.bits);
    return random_tensor(type_.storage, numel, 0, end - 0.01F, 5);
  }

  LinearProblem problem_;
  const QType& type_;
  int64_t groups_;
  TestTensor input_;
  TestTensor input_scale_;
  TestTensor bias_;
  TestTensor scale_;
  TestTensor shift_;
  TestTensor codes_;
  bool with_bias_;
};

/// y[m][n] in double, and how far a result may be: k additions and the products
/// with scales in double in any order, then one rounding to fp32 and one to the
/// activation's dtype.
void expect_result(const Operands& operands, const TestTensor& output,
                   int64_t m, int64_t n) {
  const LinearProblem problem = operands.problem();
  double sum = operands.bias(n);
  double magnitude = std::fabs(sum);
  for (int64_t k = 0; k < problem.k; ++k) {
    const double product = operands.x(m, k) * operands.w(n, k);
    sum += product;
    magnitude += std::fabs(product);
  }
  const double order = static_cast<double>(2 * problem.k + 4) *
                       std::numeric_limits<double>::epsilon() * magnitude;
  const double rounding =
      (half_ulp(problem.activation) + half_ulp(DType::kFloat32)) *
      std::fabs(sum);
  // Half a step between subnormals, where no relative bound holds.
  const double subnormal =
      problem.activation == DType::kFloat16 ? 0x1p-25 : 0x1p-140;
  ASSERT_NEAR(output.at(m * problem.n + n), sum, order + rounding + subnormal);
}

class RefLinearTest : public testing::TestWithParam<
                          std::tuple<DType, QTypeId, DType, ShiftKind>> {
 protected:
  /// Whether this shift belongs to this type: 8 bits have none, others do.
  [[nodiscard]] static LinearProblem problem_of(const Shape& shape) {
    const auto [activation, weight, scale, shift] = GetParam();
    return {.m = shape.m,
            .n = shape.n,
            .k = shape.k,
            .input = activation,
            .input_scale = InputScale::kNone,
            .activation = activation,
            .weight = weight,
            .group_size = shape.group_size,
            .per_tensor = shape.per_tensor,
            .scale = scale,
            .shift = shift};
  }
};

TEST_P(RefLinearTest, EqualsTheProductWithTheDequantizedWeight) {
  SerialExecutor executor;
  for (const Shape& shape : kShapes) {
    const LinearProblem problem = problem_of(shape);
    if (shape.per_tensor && problem.shift != ShiftKind::kNone) continue;
    const Operands operands(problem, shape.bias);
    const TestTensor output = operands.run(executor);
    for (int64_t m = 0; m < shape.m; ++m) {
      for (int64_t n = 0; n < shape.n; ++n) {
        expect_result(operands, output, m, n);
      }
    }
  }
}

TEST_P(RefLinearTest, TakesCodesAndTheirScales) {
  SerialExecutor executor;
  for (const Shape& shape : kShapes) {
    LinearProblem problem = problem_of(shape);
    if (shape.per_tensor && problem.shift != ShiftKind::kNone) continue;
    for (const DType storage : kStorages) {
      for (const InputScale scale : {InputScale::kTensor, InputScale::kRow}) {
        problem.input = storage;
        problem.input_scale = scale;
        const Operands operands(problem, shape.bias);
        const TestTensor output = operands.run(executor);
        for (int64_t m = 0; m < shape.m; ++m) {
          for (int64_t n = 0; n < shape.n; ++n) {
            expect_result(operands, output, m, n);
          }
        }
      }
    }
  }
}

TEST_P(RefLinearTest, DoesNotDependOnTheThreads) {
  SerialExecutor serial;
  ThreadPool pool(3);
  // Enough multiplications for more than one range.
  const Operands operands(problem_of({300, 7, 64, 32, false, true}), true);
  const TestTensor expected = operands.run(serial);
  const TestTensor output = operands.run(pool);
  for (int64_t i = 0; i < output.numel(); ++i) {
    ASSERT_EQ(output.bits(i), expected.bits(i));
  }
}

std::string name_of_case(
    const testing::TestParamInfo<RefLinearTest::ParamType>& info) {
  const auto& [activation, weight, scale, shift] = info.param;
  const std::string kinds[] = {"", "_float_shift", "_integer_shift"};
  return std::string(name_of(activation)) + "_" +
         std::string(qtype(weight).name) + "_" + std::string(name_of(scale)) +
         kinds[static_cast<int>(shift)];
}

INSTANTIATE_TEST_SUITE_P(
    EightBits, RefLinearTest,
    testing::Combine(testing::ValuesIn(kActivations),
                     testing::Values(QTypeId::kQInt8, QTypeId::kQFloat8E4M3FN,
                                     QTypeId::kQFloat8E5M2,
                                     QTypeId::kQFloat8E4M3FNUZ),
                     testing::ValuesIn(kActivations),
                     testing::Values(ShiftKind::kNone)),
    name_of_case);

INSTANTIATE_TEST_SUITE_P(
    Packed, RefLinearTest,
    testing::Combine(testing::ValuesIn(kActivations),
                     testing::Values(QTypeId::kQInt2, QTypeId::kQInt4),
                     testing::ValuesIn(kActivations),
                     testing::Values(ShiftKind::kFloat, ShiftKind::kInteger)),
    name_of_case);

}  // namespace
}  // namespace quanto::kernels
