// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "quanto/core/packing.h"
#include "quanto/kernels/ref/ref.h"
#include "quanto/kernels/test_tensor.h"

namespace quanto::kernels {
namespace {

constexpr AxisView kViews[] = {{1, 1, 256}, {1, 4, 64}, {64, 4, 1},
                               {2, 4, 32},  {1, 4, 0},  {0, 3, 1}};
/// Row counts that leave the last packed row incomplete among them.
constexpr GroupLayout kLayouts[] = {
    {false, 5, 1, 7}, {false, 3, 5, 32}, {true, 5, 1, 7}, {true, 3, 5, 32},
    {false, 1, 1, 1}, {true, 1, 1, 9},   {false, 3, 1, 0}};

class DequantizeSymmetricTest
    : public testing::TestWithParam<std::tuple<DType, DType>> {};

TEST_P(DequantizeSymmetricTest, MultipliesEveryCode) {
  const auto [dtype, storage] = GetParam();
  SerialExecutor executor;
  for (const AxisView view : kViews) {
    TestTensor data(storage, view.numel());
    for (int64_t i = 0; i < view.numel(); ++i) {
      data.set_bits(i, static_cast<uint32_t>(i) & 0xff);
    }
    const TestTensor scale = random_tensor(dtype, view.channels, 0.1F, 1, 3);
    TestTensor out(dtype, view.numel());
    out.fill_bytes(0x55);
    ref_kernels().dequantize_symmetric(data.data(), storage, view, scale.data(),
                                       dtype, out.data(), executor);
    for (int64_t i = 0; i < view.numel(); ++i) {
      const double product = static_cast<double>(data.at(i)) *
                             scale.at(i / view.inner % view.channels);
      if (std::isnan(product)) {
        ASSERT_TRUE(std::isnan(out.at(i)));
      } else {
        ASSERT_EQ(out.at(i), rounded(dtype, product));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Types, DequantizeSymmetricTest,
    testing::Combine(testing::ValuesIn(kActivations),
                     testing::ValuesIn(kStorages)),
    [](const auto& param) {
      return std::string(name_of(std::get<0>(param.param))) + "_" +
             std::string(name_of(std::get<1>(param.param)));
    });

class DequantizeAffineTest
    : public testing::TestWithParam<std::tuple<DType, int, ShiftKind>> {};

TEST_P(DequantizeAffineTest, RestoresEveryElementOfTheBase) {
  const auto [dtype, bits, kind] = GetParam();
  SerialExecutor executor;
  const DType shift_dtype = kind == ShiftKind::kInteger ? DType::kUInt8 : dtype;
  const auto largest = static_cast<float>((1 << bits) - 1);
  for (const GroupLayout layout : kLayouts) {
    const TestTensor codes =
        random_tensor(DType::kUInt8, layout.numel(), 0, largest + 0.99F, 1);
    std::vector<uint8_t> packed(packed_rows(layout.code_rows(), bits) *
                                layout.code_columns());
    ref_kernels().pack(static_cast<const uint8_t*>(codes.data()),
                       layout.code_rows(), layout.code_columns(), bits,
                       packed.data(), executor);
    const TestTensor scale = random_tensor(dtype, layout.rows(), 0.1F, 1, 2);
    const TestTensor shift =
        random_tensor(shift_dtype, layout.rows(), 0, largest, 3);
    TestTensor out(dtype, layout.numel());
    out.fill_bytes(0x55);
    ref_kernels().dequantize_affine(packed.data(), layout, bits, scale.data(),
                                    shift.data(), kind, dtype, out.data(),
                                    executor);
    for (int64_t row = 0; row < layout.rows(); ++row) {
      for (int64_t i = 0; i < layout.group_size; ++i) {
        const double code = codes.at(layout.code_index(row, i));
        const double step = scale.at(row);
        const double value = kind == ShiftKind::kInteger
                                 ? step * (code - shift.at(row))
                                 : rounded(dtype, step * code) -
                                       static_cast<double>(shift.at(row));
        ASSERT_EQ(out.at(layout.base_index(row, i)), rounded(dtype, value));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Types, DequantizeAffineTest,
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
