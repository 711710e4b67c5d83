// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstring>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "quanto/kernels/cpu/linear_case.h"

namespace quanto::kernels {
namespace {

// Tails of every unit a kernel works in (4, 16 and 32 rows, panels of 16 and 32
// outputs, 4, 8, 16, 32 and 64 k, blocks of 256 and 512 k), groups that do and
// do not fill vectors, and outputs whose planes do not pair.
constexpr WeightShape kShapes[] = {
    {1, 1, 1},       {2, 7, 7},      {3, 20, 10},    {4, 10, 10},
    {5, 64, 32},     {16, 96, 96},   {17, 128, 64},  {20, 30, 5},
    {24, 257, 257},  {31, 100, 100}, {32, 192, 96},  {33, 130, 10},
    {36, 256, 128},  {64, 576, 96},  {67, 300, 300}, {70, 320, 64},
    {132, 512, 128}, {8, 600, 600},  {40, 608, 32},  {12, 12, 3},
    {6, 1024, 1024}, {20, 768, 384}, {44, 160, 32}};

// In ascending order.
constexpr int64_t kRows[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                             12, 13, 15, 16, 17, 24, 31, 32, 33, 48, 49};
/// Of codes: they take the ways of floats from where they are loaded on.
constexpr int64_t kCodeRows[] = {1, 3, 4, 5, 12, 16, 33};
/// Of the reference, which is held against itself.
constexpr int64_t kRefRows[] = {1, 17};
std::span<const int64_t> rows_of(bool codes) {
  if (kernels().linear_count == 1) return kRefRows;
  if (codes) return kCodeRows;
  return kRows;
}

void check_variant(const LinearVariant& variant, const Weight& weight,
                   const Input& input, const TestTensor* bias, int64_t m,
                   const Expected& want) {
  const std::string what =
      std::string(variant.name) + " m=" + std::to_string(m) +
      " n=" + std::to_string(weight.shape.n) +
      " k=" + std::to_string(weight.shape.k) +
      " group_size=" + std::to_string(weight.shape.group_size);
  SerialExecutor serial;
  const TestTensor output =
      run_variant(variant, weight, input, bias, m, serial);
  for (int64_t i = 0; i < output.numel(); ++i) {
    ASSERT_NO_FATAL_FAILURE(expect_close_at(output, want, i, what));
  }
  static ThreadPool pool(3);
  const TestTensor threaded =
      run_variant(variant, weight, input, bias, m, pool);
  ASSERT_EQ(std::memcmp(output.data(), threaded.data(),
                        output.numel() * size_of(output.dtype())),
            0)
      << what << ": three threads differ from one";
}

struct Case {
  WeightKind kind;
  InputKind input;
};

std::string name_of_case(const Case& c) {
  const char* shift = c.kind.shift == ShiftKind::kNone    ? ""
                      : c.kind.shift == ShiftKind::kFloat ? "_float_shift"
                                                          : "_integer_shift";
  const char* scales[] = {"", "_scaled", "_scaled_by_row"};
  return std::string(qtype(c.kind.type).name) + shift +
         (c.kind.per_tensor ? "_per_tensor" : "") + "_scale_" +
         std::string(name_of(c.kind.scale)) + "_input_" +
         std::string(name_of(c.input.input)) +
         scales[static_cast<int>(c.input.scale)] +
         (c.input.scale == InputScale::kNone
              ? ""
              : "_to_" + std::string(name_of(c.input.activation)));
}
void PrintTo(const Case& c, std::ostream* out) { *out << name_of_case(c); }

/// Both kinds of weight of every type.
std::vector<WeightKind> weights_of(DType scale) {
  std::vector<WeightKind> kinds;
  for (const QType& type : kQTypes) {
    for (const bool second : {false, true}) {
      const ShiftKind shift = type.bits == 8 ? ShiftKind::kNone
                              : second       ? ShiftKind::kInteger
                                             : ShiftKind::kFloat;
      kinds.push_back({type.id, shift, type.bits == 8 && second, scale});
    }
  }
  return kinds;
}

std::vector<Case> float_cases() {
  std::vector<Case> cases;
  for (const DType activation : kActivations) {
    for (const DType scale : kActivations) {
      for (const WeightKind& kind : weights_of(scale)) {
        cases.push_back({kind, {activation, activation, InputScale::kNone}});
      }
    }
  }
  return cases;
}

std::vector<Case> code_cases() {
  std::vector<Case> cases;
  for (const DType activation : kActivations) {
    for (const DType storage : kStorages) {
      for (const InputScale scale : {InputScale::kTensor, InputScale::kRow}) {
        for (const WeightKind& kind : weights_of(activation)) {
          cases.push_back({kind, {activation, storage, scale}});
        }
      }
    }
  }
  return cases;
}

class LinearTest : public testing::TestWithParam<Case> {};

TEST_P(LinearTest, EveryVariantIsWithinTheBoundOfTheReference) {
  const auto& [kind, input_kind] = GetParam();
  const bool codes = input_kind.scale != InputScale::kNone;
  const std::span<const int64_t> all_rows = rows_of(codes);
  // Of codes every other shape, half of them for each scale.
  const size_t step = codes ? 2 : 1;
  bool with_bias = false;
  for (size_t i = input_kind.scale == InputScale::kRow ? 1 : 0;
       i < std::size(kShapes); i += step) {
    WeightShape shape = kShapes[i];
    if (qtype(kind.type).bits == 8) shape.group_size = shape.k;
    const Weight weight(kind, shape, static_cast<uint32_t>(i) + 1);
    const Input input(input_kind, all_rows.back(), shape.k, 7);
    const TestTensor bias =
        random_tensor(input_kind.activation, shape.n, -1, 1, 8);
    with_bias = !with_bias;
    const TestTensor* used_bias = with_bias ? &bias : nullptr;
    const Expected want = expected(weight, input, used_bias);
    for (const int64_t m : all_rows) {
      for_each_variant(
          weight.problem(m, input_kind), [&](const LinearVariant& variant) {
            check_variant(variant, weight, input, used_bias, m,
                          expected_of(variant, want, weight, input, m));
          });
      if (HasFatalFailure()) return;
    }
  }
}

/// `want` of weights that were rounded to bfloat16 on the way.
Expected with_rounded_weights(Expected want, int64_t k) {
  // The bound is that many fp32 roundings of sum |x| |w|.
  const double roundings = (kRoundings * static_cast<double>(k) + 2) * 0x1p-24;
  for (double& bound : want.bound) bound += bound / roundings * 0x1p-9;
  return want;
}

TEST(LinearDenseTest, ManyRowsAreWithinTheBoundOfTheReference) {
  constexpr int64_t kMany = 291;
  constexpr WeightShape kLarge[] = {
      {34, 96, 32}, {66, 300, 300}, {132, 512, 128}, {70, 672, 96}};
  bool rounded_some = false;
  for (const WeightKind& kind : weights_of(DType::kBFloat16)) {
    if (kind.shift == ShiftKind::kNone) continue;
    for (const WeightShape& shape : kLarge) {
      const InputKind input_kind = {DType::kBFloat16, DType::kBFloat16,
                                    InputScale::kNone};
      const Weight weight(kind, shape, 1);
      const Input input(input_kind, kMany, shape.k, 7);
      const Expected exact = expected(weight, input, nullptr);
      const Expected rounded = with_rounded_weights(exact, shape.k);
      for (const int64_t m : {int64_t{96}, kMany}) {
        for_each_variant(weight.problem(m, input_kind),
                         [&](const LinearVariant& variant) {
                           const bool rounds = variant.name.ends_with("_dense");
                           rounded_some |= rounds;
                           check_variant(variant, weight, input, nullptr, m,
                                         rounds ? rounded : exact);
                         });
        if (HasFatalFailure()) return;
      }
    }
  }
  EXPECT_EQ(rounded_some, kernels().isa.ends_with("bf16"));
}

std::string name_of_param(const testing::TestParamInfo<Case>& test) {
  return name_of_case(test.param);
}
INSTANTIATE_TEST_SUITE_P(Floats, LinearTest, testing::ValuesIn(float_cases()),
                         name_of_param);
INSTANTIATE_TEST_SUITE_P(Codes, LinearTest, testing::ValuesIn(code_cases()),
                         name_of_param);

}  // namespace
}  // namespace quanto::kernels
