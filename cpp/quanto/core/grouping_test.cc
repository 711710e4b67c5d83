// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/grouping.h"

#include <gtest/gtest.h>

#include <vector>

namespace quanto {
namespace {

struct Shape {
  int64_t channels;
  int64_t groups;
  int64_t group_size;
};

constexpr Shape kShapes[] = {{1, 1, 1},  {5, 1, 7}, {3, 4, 2},
                             {2, 3, 32}, {1, 6, 5}, {4, 5, 1}};

/// Row and item of every element of a base [channels][groups * group_size],
/// walked in memory order.
TEST(GroupLayoutTest, Axis0CutsEachChannelIntoConsecutiveGroups) {
  for (const Shape& shape : kShapes) {
    const GroupLayout layout = {false, shape.channels, shape.groups,
                                shape.group_size};
    int64_t index = 0;
    for (int64_t channel = 0; channel < shape.channels; ++channel) {
      for (int64_t k = 0; k < shape.groups * shape.group_size; ++k, ++index) {
        const int64_t row = channel * shape.groups + k / shape.group_size;
        EXPECT_EQ(layout.base_index(row, k % shape.group_size), index);
        EXPECT_EQ(layout.code_index(row, k % shape.group_size), index);
      }
    }
    EXPECT_EQ(layout.numel(), index);
  }
}

/// The same for a base [groups * group_size][channels].
TEST(GroupLayoutTest, LastAxisCutsEachColumnIntoConsecutiveGroups) {
  for (const Shape& shape : kShapes) {
    const GroupLayout layout = {true, shape.channels, shape.groups,
                                shape.group_size};
    int64_t index = 0;
    for (int64_t k = 0; k < shape.groups * shape.group_size; ++k) {
      for (int64_t channel = 0; channel < shape.channels; ++channel, ++index) {
        const int64_t row = channel * shape.groups + k / shape.group_size;
        EXPECT_EQ(layout.base_index(row, k % shape.group_size), index);
      }
    }
    EXPECT_EQ(layout.numel(), index);
  }
}

TEST(GroupLayoutTest, LastAxisCodesAreColumnsOfGroups) {
  for (const Shape& shape : kShapes) {
    const GroupLayout layout = {true, shape.channels, shape.groups,
                                shape.group_size};
    int64_t index = 0;
    for (int64_t item = 0; item < layout.code_rows(); ++item) {
      for (int64_t row = 0; row < layout.code_columns(); ++row, ++index) {
        EXPECT_EQ(layout.code_index(row, item), index);
      }
    }
    EXPECT_EQ(layout.numel(), index);
  }
}

TEST(GroupLayoutTest, WithoutGroupsCodesHaveTheLayoutOfTheBase) {
  for (const bool last_axis : {false, true}) {
    const GroupLayout layout = {last_axis, 5, 1, 7};
    for (int64_t row = 0; row < layout.rows(); ++row) {
      for (int64_t item = 0; item < layout.group_size; ++item) {
        EXPECT_EQ(layout.base_index(row, item), layout.code_index(row, item));
      }
    }
  }
}

TEST(GroupLayoutTest, CodeMatrixHoldsEveryElement) {
  for (const Shape& shape : kShapes) {
    for (const bool last_axis : {false, true}) {
      const GroupLayout layout = {last_axis, shape.channels, shape.groups,
                                  shape.group_size};
      EXPECT_EQ(layout.code_rows() * layout.code_columns(), layout.numel());
    }
  }
}

TEST(AxisViewTest, CountsItsElements) {
  EXPECT_EQ((AxisView{2, 3, 5}).numel(), 30);
  EXPECT_EQ((AxisView{0, 3, 5}).numel(), 0);
}

TEST(AutomaticGroupSizeTest, TakesTheLargestDivisorAbove128Elements) {
  EXPECT_EQ(automatic_group_size(128), std::nullopt);
  EXPECT_EQ(automatic_group_size(129), std::nullopt);
  EXPECT_EQ(automatic_group_size(160), 32);
  EXPECT_EQ(automatic_group_size(192), 96);
  EXPECT_EQ(automatic_group_size(256), 128);
  EXPECT_EQ(automatic_group_size(320), 64);
  EXPECT_EQ(automatic_group_size(576), 96);
  EXPECT_EQ(automatic_group_size(1000), std::nullopt);
}

}  // namespace
}  // namespace quanto
