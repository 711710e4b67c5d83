// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "quanto/kernels/ref/ref.h"
#include "quanto/kernels/test_tensor.h"

namespace quanto::kernels {
namespace {

constexpr AxisView kViews[] = {{1, 1, 600}, {1, 5, 120}, {120, 5, 1},
                               {3, 4, 50},  {1, 4, 0},   {0, 3, 1}};
constexpr GroupLayout kLayouts[] = {{false, 5, 1, 7}, {false, 3, 4, 32},
                                    {true, 5, 1, 7},  {true, 3, 4, 32},
                                    {false, 3, 1, 0}, {true, 0, 1, 4}};

/// Steps of a quarter scale, so that ties are frequent, and beyond the range.
TestTensor stepped_base(DType dtype, int64_t numel, float scale, float reach) {
  TestTensor base = random_tensor(dtype, numel, -reach, reach, 7);
  for (int64_t i = 0; i < numel; i += 2) {
    base.set(i, std::round(base.at(i) * 4) / 4 * scale);
  }
  return base;
}

class QuantizeSymmetricTest
    : public testing::TestWithParam<std::tuple<DType, DType>> {
 protected:
  TestTensor quantize(const TestTensor& base, AxisView view,
                      const TestTensor& scale) {
    SerialExecutor executor;
    TestTensor data(storage_, view.numel());
    data.fill_bytes(0x55);
    ref_kernels().quantize_symmetric(base.data(), dtype_, view, scale.data(),
                                     storage_, data.data(), executor);
    return data;
  }

  DType dtype_ = std::get<0>(GetParam());
  DType storage_ = std::get<1>(GetParam());
  const QType& type_ = *find_8bit_qtype(storage_);
};

TEST_P(QuantizeSymmetricTest, RoundsAndClampsEveryQuotient) {
  for (const AxisView view : kViews) {
    const TestTensor base =
        stepped_base(dtype_, view.numel(), 0.5F, type_.qmax);
    const TestTensor scale =
        random_tensor(dtype_, view.channels, 0.25F, 1.0F, 8);
    const TestTensor data = quantize(base, view, scale);
    for (int64_t i = 0; i < view.numel(); ++i) {
      const double quotient = static_cast<double>(base.at(i)) /
                              scale.at(i / view.inner % view.channels);
      float code = rounded(dtype_, quotient);
      if (!type_.is_floating_point) code = std::nearbyint(code);
      code = std::min(std::max(code, type_.qmin), type_.qmax);
      ASSERT_EQ(data.bits(i), to_bits(storage_, code)) << base.at(i);
    }
  }
}

TEST_P(QuantizeSymmetricTest, GivesCodeZeroUnderAZeroScale) {
  TestTensor base = random_tensor(dtype_, 8, -1, 1, 9);
  base.set(0, INFINITY);
  TestTensor scale(dtype_, 2);
  scale.set(0, 0.0F);
  scale.set(1, -0.0F);
  const TestTensor data = quantize(base, {1, 2, 4}, scale);
  for (int64_t i = 0; i < 8; ++i) EXPECT_EQ(data.bits(i), 0U);
}

TEST_P(QuantizeSymmetricTest, ClampsInfinityAndKeepsNanWhereThereIsOne) {
  TestTensor base(dtype_, 3);
  base.set(0, INFINITY);
  base.set(1, -INFINITY);
  base.set(2, std::numeric_limits<float>::quiet_NaN());
  TestTensor scale(dtype_, 1);
  scale.set(0, 1.0F);
  const TestTensor data = quantize(base, {1, 1, 3}, scale);
  EXPECT_EQ(data.at(0), type_.qmax);
  EXPECT_EQ(data.at(1), type_.qmin);
  if (type_.is_floating_point) {
    EXPECT_TRUE(std::isnan(data.at(2)));
  } else {
    EXPECT_EQ(data.at(2), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Types, QuantizeSymmetricTest,
    testing::Combine(testing::ValuesIn(kActivations),
                     testing::ValuesIn(kStorages)),
    [](const auto& param) {
      return std::string(name_of(std::get<0>(param.param))) + "_" +
             std::string(name_of(std::get<1>(param.param)));
    });

class QuantizeRowsTest
    : public testing::TestWithParam<std::tuple<DType, DType>> {
 protected:
  static constexpr int64_t kColumns = 40;

  void quantize(const TestTensor& base) {
    SerialExecutor executor;
    scale_.assign(base.numel() / kColumns, -1);
    data_ = TestTensor(storage_, base.numel());
    data_.fill_bytes(0x55);
    ref_kernels().quantize_rows(base.data(), dtype_, base.numel() / kColumns,
                                kColumns, storage_, data_.data(), scale_.data(),
                                executor);
  }

  DType dtype_ = std::get<0>(GetParam());
  DType storage_ = std::get<1>(GetParam());
  const QType& type_ = *find_8bit_qtype(storage_);
  std::vector<float> scale_;
  TestTensor data_ = TestTensor(storage_, 0);
};

TEST_P(QuantizeRowsTest, ScalesEachRowByItsLargestElement) {
  constexpr int64_t kRows = 5;
  TestTensor base = random_tensor(dtype_, kRows * kColumns, -2, 2, 7);
  for (int64_t row = 0; row < kRows; ++row) {
    base.set(row * kColumns + row, row % 2 == 0 ? 3.5F : -3.5F);
  }
  quantize(base);
  for (int64_t i = 0; i < base.numel(); ++i) {
    ASSERT_EQ(scale_[i / kColumns], 3.5F / type_.qmax);
    const float quotient = base.at(i) / scale_[i / kColumns];
    const float code =
        type_.is_floating_point ? quotient : std::nearbyint(quotient);
    ASSERT_EQ(data_.bits(i), to_bits(storage_, code)) << base.at(i);
  }
}

TEST_P(QuantizeRowsTest, GivesARowOfZerosAZeroScale) {
  quantize(TestTensor(dtype_, 2 * kColumns));
  for (const float scale : scale_) EXPECT_EQ(scale, 0);
  for (int64_t i = 0; i < data_.numel(); ++i) EXPECT_EQ(data_.bits(i), 0U);
}

TEST_P(QuantizeRowsTest, GivesARowThatIsNotFiniteThatScale) {
  TestTensor base = random_tensor(dtype_, 3 * kColumns, -2, 2, 7);
  base.set(3, -INFINITY);
  base.set(kColumns + 9, std::numeric_limits<float>::quiet_NaN());
  quantize(base);
  EXPECT_EQ(scale_[0], INFINITY);
  EXPECT_TRUE(std::isnan(scale_[1]));
  EXPECT_TRUE(std::isfinite(scale_[2]));
  // A finite element by an infinite scale is 0.
  EXPECT_EQ(data_.at(0), 0);
}

INSTANTIATE_TEST_SUITE_P(
    Types, QuantizeRowsTest,
    testing::Combine(testing::ValuesIn(kActivations),
                     testing::ValuesIn(kStorages)),
    [](const auto& param) {
      return std::string(name_of(std::get<0>(param.param))) + "_" +
             std::string(name_of(std::get<1>(param.param)));
    });

class QuantizeAffineTest
    : public testing::TestWithParam<std::tuple<DType, int, ShiftKind>> {
 protected:
  [[nodiscard]] DType shift_dtype() const {
    return kind_ == ShiftKind::kInteger ? DType::kUInt8 : dtype_;
  }

  std::vector<uint8_t> quantize(const TestTensor& base, GroupLayout layout,
                                const TestTensor& scale,
                                const TestTensor& shift) {
    SerialExecutor executor;
    std::vector<uint8_t> codes(layout.numel(), 0x55);
    ref_kernels().quantize_affine(base.data(), dtype_, layout, bits_,
                                  scale.data(), shift.data(), kind_,
                                  codes.data(), executor);
    return codes;
  }

  DType dtype_ = std::get<0>(GetParam());
  int bits_ = std::get<1>(GetParam());
  ShiftKind kind_ = std::get<2>(GetParam());
  float largest_ = static_cast<float>((1 << bits_) - 1);
};

TEST_P(QuantizeAffineTest, RoundsAndClampsEveryQuotient) {
  for (const GroupLayout layout : kLayouts) {
    const TestTensor base =
        stepped_base(dtype_, layout.numel(), 0.5F, largest_);
    const TestTensor scale = random_tensor(dtype_, layout.rows(), 0.5F, 1, 3);
    const TestTensor shift =
        random_tensor(shift_dtype(), layout.rows(), 0, largest_, 4);
    const std::vector<uint8_t> codes = quantize(base, layout, scale, shift);
    for (int64_t row = 0; row < layout.rows(); ++row) {
      for (int64_t i = 0; i < layout.group_size; ++i) {
        const double value = base.at(layout.base_index(row, i));
        const double step = scale.at(row);
        const double offset = shift.at(row);
        double code = 0;
        if (kind_ == ShiftKind::kInteger) {
          code = std::nearbyint(rounded(dtype_, value / step)) + offset;
        } else {
          const double sum = rounded(dtype_, value + offset);
          code = std::nearbyint(rounded(dtype_, sum / step));
        }
        code = std::clamp<double>(code, 0, largest_);
        ASSERT_EQ(codes[layout.code_index(row, i)], code) << value;
      }
    }
  }
}

TEST_P(QuantizeAffineTest, GivesTheCodeOfZeroUnderAZeroScale) {
  const GroupLayout layout = {false, 2, 1, 4};
  const TestTensor base = random_tensor(dtype_, layout.numel(), -1, 1, 5);
  const TestTensor scale(dtype_, 2);
  TestTensor shift(shift_dtype(), 2);
  shift.set(0, 1.0F);
  shift.set(1, 2.0F);
  const std::vector<uint8_t> codes = quantize(base, layout, scale, shift);
  for (int64_t i = 0; i < layout.numel(); ++i) {
    const float zero = kind_ == ShiftKind::kInteger ? shift.at(i / 4) : 0;
    EXPECT_EQ(codes[i], zero);
  }
}

TEST_P(QuantizeAffineTest, ClampsInfinityAndGivesCodeZeroForNan) {
  const GroupLayout layout = {false, 1, 1, 3};
  TestTensor base(dtype_, 3);
  base.set(0, INFINITY);
  base.set(1, -INFINITY);
  base.set(2, std::numeric_limits<float>::quiet_NaN());
  TestTensor scale(dtype_, 1);
  scale.set(0, 1.0F);
  TestTensor shift(shift_dtype(), 1);
  shift.set(0, 1.0F);
  const std::vector<uint8_t> codes = quantize(base, layout, scale, shift);
  EXPECT_EQ(codes[0], largest_);
  EXPECT_EQ(codes[1], 0);
  EXPECT_EQ(codes[2], 0);
}

INSTANTIATE_TEST_SUITE_P(
    Types, QuantizeAffineTest,
    testing::Combine(testing::ValuesIn(kActivations), testing::Values(2, 4),
                     testing::Values(ShiftKind::kFloat, ShiftKind::kInteger)),
    [](const auto& param) {
      const ShiftKind kind = std::get<2>(param.param);
      return std::string(name_of(std::get<0>(param.param))) + "_bits" +
             std::to_string(std::get<1>(param.param)) +
             (kind == ShiftKind::kInteger ? "_integer" : "_float");
    });

}  // namespace
}  // namespace quanto::kernels
