// SPDX-License-Identifier: Apache-2.0
#include "quanto/scale/max.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "quanto/scale/test_tensor.h"

namespace quanto::scale {
namespace {

constexpr GroupLayout kLayouts[] = {
    {false, 6, 1, 35}, {false, 6, 4, 16}, {true, 6, 1, 35}, {true, 6, 4, 16}};

class MaxTest : public testing::TestWithParam<DType> {};

TEST_P(MaxTest, ScaleAndShiftComeFromTheRange) {
  SerialExecutor executor;
  for (const GroupLayout& layout : kLayouts) {
    for (const int bits : {2, 4}) {
      const TestTensor base = random_tensor(GetParam(), layout.numel(), 1);
      TestTensor scale(GetParam(), layout.rows());
      TestTensor shift(GetParam(), layout.rows());
      max(base.data(), GetParam(), layout, bits, scale.data(), shift.data(),
          executor);
      for (int64_t row = 0; row < layout.rows(); ++row) {
        float low = base.get(layout.base_index(row, 0)), high = low;
        for (int64_t i = 1; i < layout.group_size; ++i) {
          const float value = base.get(layout.base_index(row, i));
          low = std::min(low, value);
          high = std::max(high, value);
        }
        const float range = rounded(GetParam(), high - low);
        const auto codes = static_cast<float>((1 << bits) - 1);
        EXPECT_EQ(scale.get(row), rounded(GetParam(), range / codes));
        EXPECT_EQ(shift.get(row), -low);
      }
    }
  }
}

TEST_P(MaxTest, RejectsEveryValueThatIsNotFinite) {
  SerialExecutor executor;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const GroupLayout& layout : kLayouts) {
    for (const float bad : {kInfinity, -kInfinity, std::nanf("")}) {
      TestTensor base = random_tensor(GetParam(), layout.numel(), 2);
      base.set(77, bad);
      TestTensor scale(GetParam(), layout.rows());
      TestTensor shift(GetParam(), layout.rows());
      EXPECT_THROW(max(base.data(), GetParam(), layout, 4, scale.data(),
                       shift.data(), executor),
                   std::invalid_argument);
    }
  }
}

TEST(MaxRangeTest, RejectsARangeThatOverflows) {
  SerialExecutor executor;
  TestTensor base(DType::kFloat16, 2), scale(DType::kFloat16, 1),
      shift(DType::kFloat16, 1);
  base.set(0, -60000.0F);
  base.set(1, 50000.0F);
  try {
    max(base.data(), DType::kFloat16, {false, 1, 1, 2}, 4, scale.data(),
        shift.data(), executor);
    FAIL() << "expected an error";
  } catch (const std::invalid_argument& error) {
    EXPECT_EQ(
        std::string(error.what())
            .find("max_scale: expected a range that float16 can hold, got "),
        0U);
  }
}

TEST_P(MaxTest, ZeroPointsAreTheCodesOfZero) {
  TestTensor scale(GetParam(), 7), shift(GetParam(), 7);
  const float scales[] = {0.5F, 0.5F, 0.5F, 0.5F, 0.0F, 0.0F, 0.0F};
  const float shifts[] = {2.0F, -1.0F, 99.0F, 1.25F, 3.0F, -3.0F, 0.0F};
  const uint8_t expected[] = {4, 0, 15, 2, 15, 0, 0};
  for (int64_t i = 0; i < 7; ++i) {
    scale.set(i, scales[i]);
    shift.set(i, shifts[i]);
  }
  uint8_t points[7];
  zero_points(scale.data(), shift.data(), GetParam(), 7, 4, points);
  for (int64_t i = 0; i < 7; ++i) EXPECT_EQ(points[i], expected[i]) << i;
}

INSTANTIATE_TEST_SUITE_P(Floats, MaxTest, testing::ValuesIn(kFloats),
                         [](const auto& test) {
                           return std::string(name_of(test.param));
                         });

}  // namespace
}  // namespace quanto::scale
