// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <string>

#include "quanto/kernels/cpu/linear_case.h"

// int8 codes by codes of integers, with powers of two for scales: fp32 holds
// every sum, so every variant must equal the reference, in whatever it
// computes.

namespace quanto::kernels {
namespace {

// Tails of vectors of 16, 32 and 64 bytes, groups that do and do not fill them,
// and more k than a panel holds.
constexpr WeightShape kShapes[] = {
    {1, 1, 1},    {7, 33, 33},   {36, 96, 32},   {20, 100, 100}, {68, 256, 64},
    {33, 70, 10}, {12, 576, 96}, {40, 640, 128}, {16, 31, 31}};
constexpr int64_t kRows[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 17, 33};
/// One of each way.
constexpr int64_t kFewRows[] = {1, 4, 5, 33};
constexpr int64_t kMostRows = 33;

/// Codes over the whole range; the first output and row hold the smallest only.
Weight exact_weight(QTypeId type, ShiftKind shift, WeightShape shape) {
  Weight weight({type, shift, false, DType::kFloat32}, shape, 1);
  for (int64_t i = 0; i < weight.scale.numel(); ++i) {
    weight.scale.set(i, std::ldexp(1.0F, -static_cast<int>(i % 3)));
  }
  if (shift == ShiftKind::kFloat) {
    for (int64_t i = 0; i < weight.shift.numel(); ++i) {
      weight.shift.set(i, 0.25F * static_cast<float>(i % 7));
    }
  }
  if (shift == ShiftKind::kNone) {
    for (int64_t i = 0; i < shape.k; ++i) weight.data.set_bits(i, 0x80);
  }
  return weight;
}

Input exact_input(InputScale scale, int64_t k) {
  Input input({DType::kFloat32, DType::kInt8, scale}, kMostRows, k, 2);
  for (size_t i = 0; i < input.scale.size(); ++i) {
    input.scale[i] = std::ldexp(1.0F, -static_cast<int>(i % 5));
  }
  for (int64_t i = 0; i < k; ++i) input.x.set_bits(i, 0x80);
  return input;
}

void expect_exact(const Weight& weight, const Input& input,
                  std::span<const int64_t> all_rows) {
  SerialExecutor executor;
  const TestTensor want = run_variant(ref_kernels().linear[0], weight, input,
                                      nullptr, kMostRows, executor);
  for (const int64_t m : all_rows) {
    for_each_variant(
        weight.problem(m, input.kind), [&](const LinearVariant& variant) {
          const TestTensor output =
              run_variant(variant, weight, input, nullptr, m, executor);
          for (int64_t i = 0; i < output.numel(); ++i) {
            ASSERT_EQ(output.at(i), want.at(i))
                << variant.name << " " << weight.type.name << " m=" << m
                << " n=" << weight.shape.n << " k=" << weight.shape.k
                << " group_size=" << weight.shape.group_size << " element "
                << i;
          }
        });
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(LinearExactTest, EveryVariantEqualsTheReference) {
  for (const InputScale scale : {InputScale::kTensor, InputScale::kRow}) {
    for (WeightShape shape : kShapes) {
      const Input input = exact_input(scale, shape.k);
      for (const QTypeId type : {QTypeId::kQInt2, QTypeId::kQInt4}) {
        for (const ShiftKind shift : {ShiftKind::kFloat, ShiftKind::kInteger}) {
          ASSERT_NO_FATAL_FAILURE(
              expect_exact(exact_weight(type, shift, shape), input, kRows));
        }
      }
      shape.group_size = shape.k;
      ASSERT_NO_FATAL_FAILURE(
          expect_exact(exact_weight(QTypeId::kQInt8, ShiftKind::kNone, shape),
                       input, kRows));
    }
  }
}

/// At the largest k that int32 holds, and the first beyond it.
TEST(LinearExactTest, TakesTheLongestRowsOfTheLargestCodes) {
  constexpr int64_t kMost = (int64_t{1} << 17) - 1;
  for (const int64_t k : {kMost, kMost + 1}) {
    for (const uint8_t x : {0x80, 0x7f}) {
      Input input = exact_input(InputScale::kTensor, k);
      input.x.fill_bytes(x);
      for (const QTypeId type :
           {QTypeId::kQInt8, QTypeId::kQInt4, QTypeId::kQInt2}) {
        const bool packed = type != QTypeId::kQInt8;
        // 127 has too many digits for fp32 sums of so many.
        if (packed && x == 0x7f) continue;
        Weight weight = exact_weight(
            type, packed ? ShiftKind::kFloat : ShiftKind::kNone, {4, k, k});
        weight.data.fill_bytes(packed ? 0xff : 0x80);
        ASSERT_NO_FATAL_FAILURE(expect_exact(weight, input, kFewRows));
      }
    }
  }
}

}  // namespace
}  // namespace quanto::kernels
