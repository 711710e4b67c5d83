// SPDX-License-Identifier: Apache-2.0
#include "quanto/scale/hqq.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/scale/max.h"
#include "quanto/scale/test_tensor.h"

namespace quanto::scale {
namespace {

constexpr GroupLayout kLayouts[] = {{false, 48, 1, 80},
                                    {false, 48, 4, 32},
                                    {true, 48, 1, 80},
                                    {true, 48, 4, 32},
                                    {false, 48, 1, 77}};

struct Result {
  TestTensor scale;
  TestTensor shift;
};

Result search(const TestTensor& base, const GroupLayout& layout, int bits,
              const HqqOptions& options, Executor& executor) {
  Result result{TestTensor(base.dtype(), layout.rows()),
                TestTensor(base.dtype(), layout.rows())};
  hqq(base.data(), base.dtype(), layout, bits, options, result.scale.data(),
      result.shift.data(), executor);
  return result;
}

/// Mean absolute error of the weight made with this scale and shift.
double objective(const TestTensor& base, const GroupLayout& layout, int bits,
                 const Result& result) {
  SerialExecutor executor;
  std::vector<uint8_t> codes(static_cast<size_t>(layout.numel()));
  kernels::kernels().quantize_affine(
      base.data(), base.dtype(), layout, bits, result.scale.data(),
      result.shift.data(), kernels::ShiftKind::kFloat, codes.data(), executor);
  double sum = 0.0;
  for (int64_t row = 0; row < layout.rows(); ++row) {
    for (int64_t i = 0; i < layout.group_size; ++i) {
      const double code = codes[static_cast<size_t>(layout.code_index(row, i))];
      const double value = result.scale.get(row) * code - result.shift.get(row);
      sum += std::fabs(base.get(layout.base_index(row, i)) - value);
    }
  }
  return sum / static_cast<double>(layout.numel());
}

class HqqTest : public testing::TestWithParam<DType> {};

TEST_P(HqqTest, LowersTheErrorOfMaxAndKeepsItsScale) {
  SerialExecutor executor;
  for (const GroupLayout& layout : kLayouts) {
    for (const int bits : {2, 4}) {
      const TestTensor base = random_tensor(GetParam(), layout.numel(), 1);
      Result first{TestTensor(GetParam(), layout.rows()),
                   TestTensor(GetParam(), layout.rows())};
      max(base.data(), GetParam(), layout, bits, first.scale.data(),
          first.shift.data(), executor);
      const Result refined = search(base, layout, bits, {}, executor);
      EXPECT_EQ(refined.scale.bytes(), first.scale.bytes());
      EXPECT_LT(objective(base, layout, bits, refined),
                objective(base, layout, bits, first));
    }
  }
}

TEST_P(HqqTest, NoIterationsAreMax) {
  SerialExecutor executor;
  HqqOptions options;
  options.iterations = 0;
  const GroupLayout layout = kLayouts[1];
  const TestTensor base = random_tensor(GetParam(), layout.numel(), 2);
  const Result result = search(base, layout, 4, options, executor);
  TestTensor scale(GetParam(), layout.rows()), shift(GetParam(), layout.rows());
  max(base.data(), GetParam(), layout, 4, scale.data(), shift.data(), executor);
  EXPECT_EQ(result.scale.bytes(), scale.bytes());
  EXPECT_EQ(result.shift.bytes(), shift.bytes());
}

/// Errors so small that all shrink to 0: the next shift is the mean of those
/// that would make each element exact.
TEST_P(HqqTest, OneIterationTakesTheMeanShiftWhateverTheWidth) {
  SerialExecutor executor;
  HqqOptions options;
  options.iterations = 1;
  for (const int64_t width : {16, 63, 64, 77, 80, 128, 195, 256}) {
    const GroupLayout layout{false, 12, 1, width};
    TestTensor base = random_tensor(GetParam(), layout.numel(), 7);
    for (int64_t i = 0; i < layout.numel(); ++i) {
      base.set(i, 0.02F * static_cast<float>(base.get(i)));
    }
    Result first{TestTensor(GetParam(), layout.rows()),
                 TestTensor(GetParam(), layout.rows())};
    max(base.data(), GetParam(), layout, 4, first.scale.data(),
        first.shift.data(), executor);
    std::vector<uint8_t> codes(static_cast<size_t>(layout.numel()));
    kernels::kernels().quantize_affine(
        base.data(), GetParam(), layout, 4, first.scale.data(),
        first.shift.data(), kernels::ShiftKind::kFloat, codes.data(), executor);
    const Result next = search(base, layout, 4, options, executor);
    const double ulp = GetParam() == DType::kBFloat16  ? 0x1p-7
                       : GetParam() == DType::kFloat16 ? 0x1p-10
                                                       : 0x1p-20;
    ASSERT_NE(next.shift.bytes(), first.shift.bytes()) << width;
    for (int64_t row = 0; row < layout.rows(); ++row) {
      double sum = 0.0;
      for (int64_t i = 0; i < width; ++i) {
        const double code =
            codes[static_cast<size_t>(layout.code_index(row, i))];
        sum +=
            first.scale.get(row) * code - base.get(layout.base_index(row, i));
      }
      const double mean = sum / static_cast<double>(width);
      EXPECT_NEAR(next.shift.get(row), mean, ulp * mean) << width;
    }
  }
}

TEST_P(HqqTest, TheNumberOfThreadsDoesNotMatter) {
  SerialExecutor serial;
  ThreadPool pool(3);
  const GroupLayout layout{false, 300, 2, 128};
  const TestTensor base = random_tensor(GetParam(), layout.numel(), 3);
  const Result one = search(base, layout, 4, {}, serial);
  const Result three = search(base, layout, 4, {}, pool);
  EXPECT_EQ(one.scale.bytes(), three.scale.bytes());
  EXPECT_EQ(one.shift.bytes(), three.shift.bytes());
}

TEST_P(HqqTest, TheAxisDoesNotMatter) {
  SerialExecutor executor;
  const GroupLayout rows{false, 300, 1, 128}, columns{true, 300, 1, 128};
  const TestTensor base = random_tensor(GetParam(), rows.numel(), 5);
  TestTensor turned(GetParam(), rows.numel());
  for (int64_t row = 0; row < rows.rows(); ++row) {
    for (int64_t i = 0; i < rows.group_size; ++i) {
      turned.set(columns.base_index(row, i),
                 static_cast<float>(base.get(rows.base_index(row, i))));
    }
  }
  const Result one = search(base, rows, 4, {}, executor);
  const Result other = search(turned, columns, 4, {}, executor);
  EXPECT_EQ(one.scale.bytes(), other.scale.bytes());
  EXPECT_EQ(one.shift.bytes(), other.shift.bytes());
}

TEST_P(HqqTest, AWeightOnTheGridStaysExact) {
  SerialExecutor executor;
  const GroupLayout layout{false, 4, 1, 16};
  TestTensor base(GetParam(), layout.numel());
  for (int64_t i = 0; i < layout.numel(); ++i) {
    base.set(i, 0.25F * static_cast<float>(i % 16) - 1.0F);
  }
  const Result result = search(base, layout, 4, {}, executor);
  EXPECT_EQ(objective(base, layout, 4, result), 0.0);
}

TEST_P(HqqTest, ErrorsNameTheOperator) {
  SerialExecutor executor;
  TestTensor base = random_tensor(GetParam(), 64, 4);
  base.set(63, std::nanf(""));
  try {
    search(base, {false, 4, 1, 16}, 4, {}, executor);
    FAIL() << "expected an error";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "hqq_scale: expected finite values, got nan");
  }
}

INSTANTIATE_TEST_SUITE_P(Floats, HqqTest, testing::ValuesIn(kFloats),
                         [](const auto& test) {
                           return std::string(name_of(test.param));
                         });

}  // namespace
}  // namespace quanto::scale
