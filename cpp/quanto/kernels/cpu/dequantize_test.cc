// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <tuple>

#include "quanto/core/packing.h"
#include "quanto/kernels/cpu/against_ref.h"

namespace quanto::kernels {
namespace {

using DTypes = std::tuple<DType, DType>;

std::string dtypes_name(const testing::TestParamInfo<DTypes>& info) {
  return std::string(quanto::name_of(std::get<0>(info.param))) + "_" +
         std::string(quanto::name_of(std::get<1>(info.param)));
}

class DequantizeSymmetricTest : public testing::TestWithParam<DTypes> {
 protected:
  void expect_equal(const TestTensor& data, AxisView view,
                    const TestTensor& scale) {
    expect_as_ref(dtype_, view.numel(), Compare::kNumbers, name_of(view),
                  [&](const KernelTable& table, void* out, Executor& executor) {
                    table.dequantize_symmetric(data.data(), storage_, view,
                                               scale.data(), dtype_, out,
                                               executor);
                  });
  }

  DType dtype_ = std::get<0>(GetParam());
  DType storage_ = std::get<1>(GetParam());
};

TEST_P(DequantizeSymmetricTest, EqualsRefForEveryShape) {
  for (const AxisView view : test_views()) {
    expect_equal(random_codes(view.numel(), 1), view,
                 hard_scales(dtype_, view.channels, 2));
    if (HasFatalFailure()) return;
  }
}

TEST_P(DequantizeSymmetricTest, EqualsRefForEveryCodeAndManyScales) {
  constexpr AxisView kView = {1, 1000, 256};
  TestTensor data(storage_, kView.numel());
  for (int64_t i = 0; i < kView.numel(); ++i) {
    data.set_bits(i, static_cast<uint32_t>(i & 0xff));
  }
  TestTensor scale = hard_tensor(dtype_, kView.channels, 3);
  scale.set(0, 1.0F);
  expect_equal(data, kView, scale);
}

INSTANTIATE_TEST_SUITE_P(All, DequantizeSymmetricTest,
                         testing::Combine(testing::ValuesIn(kActivations),
                                          testing::ValuesIn(kStorages)),
                         dtypes_name);

using AffineParam = std::tuple<DType, ShiftKind>;

std::string affine_name(const testing::TestParamInfo<AffineParam>& info) {
  return std::string(quanto::name_of(std::get<0>(info.param))) +
         (std::get<1>(info.param) == ShiftKind::kFloat ? "_float_shift"
                                                       : "_integer_shift");
}

class DequantizeAffineTest : public testing::TestWithParam<AffineParam> {
 protected:
  DType dtype_ = std::get<0>(GetParam());
  ShiftKind kind_ = std::get<1>(GetParam());
};

TEST_P(DequantizeAffineTest, EqualsRefForEveryLayout) {
  for (const GroupLayout& layout : test_layouts()) {
    const TestTensor scale = hard_scales(dtype_, layout.rows(), 6);
    const TestTensor shift = kind_ == ShiftKind::kInteger
                                 ? random_codes(layout.rows(), 7)
                                 : hard_tensor(dtype_, layout.rows(), 8);
    for (const int bits : {2, 4}) {
      const TestTensor packed = random_codes(
          packed_rows(layout.code_rows(), bits) * layout.code_columns(), 9);
      expect_as_ref(
          dtype_, layout.numel(), Compare::kNumbers, name_of(layout),
          [&](const KernelTable& table, void* out, Executor& executor) {
            table.dequantize_affine(static_cast<const uint8_t*>(packed.data()),
                                    layout, bits, scale.data(), shift.data(),
                                    kind_, dtype_, out, executor);
          });
      if (HasFatalFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, DequantizeAffineTest,
                         testing::Combine(testing::ValuesIn(kActivations),
                                          testing::Values(ShiftKind::kFloat,
                                                          ShiftKind::kInteger)),
                         affine_name);

}  // namespace
}  // namespace quanto::kernels
