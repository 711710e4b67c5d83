// SPDX-License-Identifier: Apache-2.0
#include "quanto/scale/absmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

#include "quanto/scale/test_tensor.h"

namespace quanto::scale {
namespace {

constexpr AxisView kViews[] = {{1, 1, 100}, {1, 7, 33}, {33, 7, 1}, {3, 5, 4}};

class AbsmaxTest : public testing::TestWithParam<DType> {};

float largest(const TestTensor& base, AxisView view, int64_t channel) {
  float result = 0.0F;
  for (int64_t o = 0; o < view.outer; ++o) {
    for (int64_t i = 0; i < view.inner; ++i) {
      const int64_t index = (o * view.channels + channel) * view.inner + i;
      result = std::max(result, std::fabs(base.get(index)));
    }
  }
  return result;
}

TEST_P(AbsmaxTest, DividesTheLargestMagnitudeByTheLargestCode) {
  SerialExecutor executor;
  for (const AxisView view : kViews) {
    const TestTensor base = random_tensor(GetParam(), view.numel(), 1);
    for (const QType& type : kQTypes) {
      TestTensor scale(GetParam(), view.channels);
      absmax(base.data(), GetParam(), view, type, scale.data(), executor);
      for (int64_t c = 0; c < view.channels; ++c) {
        EXPECT_EQ(scale.get(c),
                  rounded(GetParam(), largest(base, view, c) / type.qmax));
      }
    }
  }
}

TEST_P(AbsmaxTest, RejectsEveryValueThatIsNotFinite) {
  SerialExecutor executor;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float bad : {kInfinity, -kInfinity, std::nanf("")}) {
    TestTensor base = random_tensor(GetParam(), 231, 2);
    base.set(200, bad);
    TestTensor scale(GetParam(), 7);
    EXPECT_THROW(absmax(base.data(), GetParam(), {1, 7, 33},
                        qtype(QTypeId::kQInt8), scale.data(), executor),
                 std::invalid_argument);
  }
}

TEST_P(AbsmaxTest, ChannelsWithoutElementsHaveAZeroScale) {
  SerialExecutor executor;
  TestTensor scale(GetParam(), 3);
  for (int64_t c = 0; c < 3; ++c) scale.set(c, 1.0F);
  absmax(nullptr, GetParam(), {1, 3, 0}, qtype(QTypeId::kQInt8), scale.data(),
         executor);
  for (int64_t c = 0; c < 3; ++c) EXPECT_EQ(scale.get(c), 0.0F);
}

INSTANTIATE_TEST_SUITE_P(Floats, AbsmaxTest, testing::ValuesIn(kFloats),
                         [](const auto& test) {
                           return std::string(name_of(test.param));
                         });

}  // namespace
}  // namespace quanto::scale
