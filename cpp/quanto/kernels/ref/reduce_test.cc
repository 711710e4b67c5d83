// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "quanto/kernels/ref/ref.h"
#include "quanto/kernels/test_tensor.h"

namespace quanto::kernels {
namespace {

constexpr AxisView kViews[] = {{1, 1, 60}, {1, 5, 12}, {12, 5, 1},
                               {3, 4, 5},  {1, 4, 0},  {0, 3, 1}};
constexpr GroupLayout kLayouts[] = {{false, 5, 1, 7}, {false, 3, 4, 2},
                                    {true, 5, 1, 7},  {true, 3, 4, 2},
                                    {false, 3, 1, 0}, {true, 0, 1, 4}};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> absmax_of(const TestTensor& base, AxisView view) {
  SerialExecutor executor;
  std::vector<float> result(view.channels, -1);
  ref_kernels().absmax(base.data(), base.dtype(), view, result.data(),
                       executor);
  return result;
}

class ReduceTest : public testing::TestWithParam<DType> {};

TEST_P(ReduceTest, AbsmaxFindsTheLargestOfEachChannel) {
  for (const AxisView view : kViews) {
    const TestTensor base = random_tensor(GetParam(), view.numel(), -9, 4, 1);
    std::vector<float> expected(view.channels, 0);
    for (int64_t i = 0; i < base.numel(); ++i) {
      float& largest = expected[i / view.inner % view.channels];
      largest = std::max(largest, std::fabs(base.at(i)));
    }
    EXPECT_EQ(absmax_of(base, view), expected);
  }
}

TEST_P(ReduceTest, AbsmaxKeepsNanAndInfinityInTheirChannel) {
  const AxisView view = {2, 3, 4};
  TestTensor base = random_tensor(GetParam(), view.numel(), -1, 1, 2);
  base.set(view.inner, kNan);  // channel 1
  base.set(3 * view.inner + 2 * view.inner + 3, -INFINITY);
  const std::vector<float> result = absmax_of(base, view);
  EXPECT_LE(result[0], 1);
  EXPECT_TRUE(std::isnan(result[1]));
  EXPECT_EQ(result[2], INFINITY);
}

TEST_P(ReduceTest, MinMaxFindsTheRangeOfEachRow) {
  SerialExecutor executor;
  for (const GroupLayout layout : kLayouts) {
    const TestTensor base = random_tensor(GetParam(), layout.numel(), 1, 8, 3);
    std::vector<float> min(layout.rows(), -1);
    std::vector<float> max(layout.rows(), -1);
    ref_kernels().min_max(base.data(), base.dtype(), layout, min.data(),
                          max.data(), executor);
    for (int64_t row = 0; row < layout.rows(); ++row) {
      std::vector<float> items;
      items.reserve(layout.group_size + 1);
      for (int64_t i = 0; i < layout.group_size; ++i) {
        items.push_back(base.at(layout.base_index(row, i)));
      }
      if (items.empty()) items.push_back(0);
      EXPECT_EQ(min[row], std::ranges::min(items));
      EXPECT_EQ(max[row], std::ranges::max(items));
    }
  }
}

TEST_P(ReduceTest, MinMaxKeepsNanInItsRow) {
  SerialExecutor executor;
  const GroupLayout layout = {true, 2, 3, 4};
  TestTensor base = random_tensor(GetParam(), layout.numel(), -1, 1, 4);
  base.set(layout.base_index(4, 3), kNan);
  std::vector<float> min(layout.rows());
  std::vector<float> max(layout.rows());
  ref_kernels().min_max(base.data(), base.dtype(), layout, min.data(),
                        max.data(), executor);
  for (int64_t row = 0; row < layout.rows(); ++row) {
    EXPECT_EQ(std::isnan(min[row]), row == 4);
    EXPECT_EQ(std::isnan(max[row]), row == 4);
  }
}

INSTANTIATE_TEST_SUITE_P(DTypes, ReduceTest, testing::ValuesIn(kActivations),
                         [](const auto& param) {
                           return std::string(name_of(param.param));
                         });

}  // namespace
}  // namespace quanto::kernels
