// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "quanto/kernels/cpu/against_ref.h"

namespace quanto::kernels {
namespace {

using DTypes = std::tuple<DType, DType>;

std::string dtypes_name(const testing::TestParamInfo<DTypes>& info) {
  return std::string(quanto::name_of(std::get<0>(info.param))) + "_" +
         std::string(quanto::name_of(std::get<1>(info.param)));
}

int64_t binade_size(DType dtype) {
  return dtype == DType::kBFloat16 ? 1 << 7 : 1 << 10;
}

/// Every number of [2^exponent, 2^(exponent + 1)), of fp32 one in 2^13, times
/// `repeats`.
TestTensor binade(DType dtype, int exponent, int64_t repeats) {
  const int64_t size = binade_size(dtype);
  TestTensor tensor(dtype, size * repeats);
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    const auto step = static_cast<float>(i % size) / static_cast<float>(size);
    tensor.set(i, std::ldexp(1.0F + step, exponent));
  }
  return tensor;
}

class QuantizeSymmetricTest : public testing::TestWithParam<DTypes> {
 protected:
  void expect_equal(const TestTensor& base, AxisView view,
                    const TestTensor& scale) {
    expect_as_ref(storage_, view.numel(), Compare::kBits, name_of(view),
                  [&](const KernelTable& table, void* data, Executor& on) {
                    table.quantize_symmetric(base.data(), dtype_, view,
                                             scale.data(), storage_, data, on);
                  });
  }

  DType dtype_ = std::get<0>(GetParam());
  DType storage_ = std::get<1>(GetParam());
};

TEST_P(QuantizeSymmetricTest, EqualsRefForEveryShape) {
  for (const AxisView view : test_views()) {
    expect_equal(hard_tensor(dtype_, view.numel(), 1), view,
                 hard_scales(dtype_, view.channels, 2));
    if (HasFatalFailure()) return;
  }
}

TEST_P(QuantizeSymmetricTest, EqualsRefForEveryScale) {
  constexpr AxisView kView = {1, 2000, 40};
  expect_equal(hard_tensor(dtype_, kView.numel(), 3), kView,
               hard_tensor(dtype_, kView.channels, 4));
}

TEST_P(QuantizeSymmetricTest, EqualsRefForEveryValue) {
  // All values of 16 bits; of fp32 those, and the ones next to the ties of
  // every narrower type.
  constexpr uint32_t kLow[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
  const bool wide = dtype_ == DType::kFloat32;
  TestTensor scale(dtype_, 1);
  scale.set(0, 1.0F);
  for (const uint32_t low : kLow) {
    TestTensor base(dtype_, 1 << 16);
    for (uint32_t i = 0; i < 1 << 16; ++i) {
      base.set_bits(i, wide ? i << 16 | low : i);
    }
    expect_equal(base, {1, 1, base.numel()}, scale);
    if (!wide) break;
  }
}

TEST_P(QuantizeSymmetricTest, EqualsRefForEveryQuotient) {
  const int64_t size = binade_size(dtype_);
  std::vector<int> exponents = {-15, -1, 0, 5, 6};
  // The subnormals of every float8 type, where there are few numbers.
  for (int i = -19; size == 128 && i < -5; ++i) exponents.push_back(i);
  for (const int exponent : exponents) {
    expect_equal(binade(dtype_, exponent, size), {1, size, size},
                 binade(dtype_, 0, 1));
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(All, QuantizeSymmetricTest,
                         testing::Combine(testing::ValuesIn(kActivations),
                                          testing::ValuesIn(kStorages)),
                         dtypes_name);

class QuantizeRowsTest : public testing::TestWithParam<DTypes> {
 protected:
  /// Codes bit by bit, scales as numbers.
  void expect_equal(const TestTensor& base, int64_t rows) {
    const int64_t columns = base.numel() / rows;
    const std::string what =
        std::to_string(rows) + " rows of " + std::to_string(columns);
    std::vector<float> scale(rows);
    expect_as_ref(storage_, base.numel(), Compare::kBits, what,
                  [&](const KernelTable& table, void* data, Executor& on) {
                    table.quantize_rows(base.data(), dtype_, rows, columns,
                                        storage_, data, scale.data(), on);
                  });
    expect_as_ref(DType::kFloat32, rows, Compare::kNumbers, what + ", scales",
                  [&](const KernelTable& table, void* scales, Executor& on) {
                    std::vector<uint8_t> data(base.numel());
                    table.quantize_rows(base.data(), dtype_, rows, columns,
                                        storage_, data.data(), scale.data(),
                                        on);
                    std::memcpy(scales, scale.data(), rows * sizeof(float));
                  });
  }

  DType dtype_ = std::get<0>(GetParam());
  DType storage_ = std::get<1>(GetParam());
};

TEST_P(QuantizeRowsTest, EqualsRefForEveryWidth) {
  for (int64_t columns = 0; columns <= kSmallSizes; ++columns) {
    expect_equal(random_tensor(dtype_, 3 * columns, -3, 3, 11), 3);
    expect_equal(hard_tensor(dtype_, 3 * columns, 12), 3);
    if (HasFatalFailure()) return;
  }
  expect_equal(random_tensor(dtype_, 9 * kBigSize, -3, 3, 13), 9);
}

TEST_P(QuantizeRowsTest, EqualsRefForEveryMagnitude) {
  // Rows of one special element among ordinary ones, from zero to the largest.
  constexpr int64_t kRows = 300;
  TestTensor base = random_tensor(dtype_, kRows * 20, -1, 1, 14);
  const TestTensor special = hard_tensor(dtype_, kRows, 15);
  for (int64_t row = 0; row < kRows; ++row) {
    base.set(row * 20 + row % 20, special.at(row));
  }
  for (int64_t i = 0; i < 20; ++i) base.set(7 * 20 + i, 0.0F);
  expect_equal(base, kRows);
}

INSTANTIATE_TEST_SUITE_P(All, QuantizeRowsTest,
                         testing::Combine(testing::ValuesIn(kActivations),
                                          testing::ValuesIn(kStorages)),
                         dtypes_name);

using AffineParam = std::tuple<DType, ShiftKind>;

std::string affine_name(const testing::TestParamInfo<AffineParam>& info) {
  return std::string(quanto::name_of(std::get<0>(info.param))) +
         (std::get<1>(info.param) == ShiftKind::kFloat ? "_float_shift"
                                                       : "_integer_shift");
}

class QuantizeAffineTest : public testing::TestWithParam<AffineParam> {
 protected:
  void expect_equal(const TestTensor& base, const GroupLayout& layout,
                    const TestTensor& scale, const TestTensor& shift) {
    for (const int bits : {2, 4}) {
      expect_as_ref(
          DType::kUInt8, layout.numel(), Compare::kBits, name_of(layout),
          [&](const KernelTable& table, void* codes, Executor& executor) {
            table.quantize_affine(base.data(), dtype_, layout, bits,
                                  scale.data(), shift.data(), kind_,
                                  static_cast<uint8_t*>(codes), executor);
          });
      if (HasFatalFailure()) return;
    }
  }

  DType dtype_ = std::get<0>(GetParam());
  ShiftKind kind_ = std::get<1>(GetParam());
};

TEST_P(QuantizeAffineTest, EqualsRefForEveryLayout) {
  for (const GroupLayout& layout : test_layouts()) {
    expect_equal(hard_tensor(dtype_, layout.numel(), 5), layout,
                 hard_scales(dtype_, layout.rows(), 6),
                 kind_ == ShiftKind::kInteger
                     ? random_codes(layout.rows(), 7)
                     : hard_tensor(dtype_, layout.rows(), 8));
    if (HasFatalFailure()) return;
  }
}

TEST_P(QuantizeAffineTest, EqualsRefForEveryQuotient) {
  const int64_t size = binade_size(dtype_);
  TestTensor shift(kind_ == ShiftKind::kInteger ? DType::kUInt8 : dtype_, size);
  for (int64_t i = 0; i < size; ++i) shift.set_bits(i, 0);
  for (const int exponent : {-1, 0, 1, 2, 3}) {
    expect_equal(binade(dtype_, exponent, size), {false, size, 1, size},
                 binade(dtype_, 0, 1), shift);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(All, QuantizeAffineTest,
                         testing::Combine(testing::ValuesIn(kActivations),
                                          testing::Values(ShiftKind::kFloat,
                                                          ShiftKind::kInteger)),
                         affine_name);

}  // namespace
}  // namespace quanto::kernels
