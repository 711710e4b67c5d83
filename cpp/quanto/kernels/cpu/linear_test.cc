// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "quanto/core/packing.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/kernels/ref/ref.h"
#include "quanto/kernels/test_tensor.h"

namespace quanto::kernels {
namespace {

/// What a weight is besides its shape.
struct WeightKind {
  QTypeId type;
  ShiftKind shift;
  bool per_tensor;
  DType scale;
};

struct WeightShape {
  int64_t n;
  int64_t k;
  int64_t group_size;
};

// Tails of every unit a kernel works in (4, 16 and 32 rows, panels of 16 and 32
// outputs, 8, 16, 32 and 64 k, blocks of 256 and 512 k), groups that do and do
// not fill vectors, and outputs whose planes do not pair.
constexpr WeightShape kShapes[] = {
    {1, 1, 1},       {2, 7, 7},      {3, 20, 10},    {4, 10, 10},
    {5, 64, 32},     {16, 96, 96},   {17, 128, 64},  {20, 30, 5},
    {24, 257, 257},  {31, 100, 100}, {32, 192, 96},  {33, 130, 10},
    {36, 256, 128},  {64, 576, 96},  {67, 300, 300}, {70, 320, 64},
    {132, 512, 128}, {8, 600, 600},  {40, 608, 32},  {12, 12, 3},
    {6, 1024, 1024}};

constexpr int64_t kRows[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                             12, 13, 15, 16, 17, 24, 31, 32, 33, 48, 49};
constexpr int64_t kMostRows = 49;

/// fp32 roundings of one product and sum, in units of k * 2^-24 times the sum
/// of |x| * (|scale * q| + |shift|): one for the weight, one for the product
/// and addition, and as many again for an integer shift that is multiplied
/// out or a shift that is applied to sums of x.
constexpr double kRoundings = 4;

bool is_finite_code(DType storage, uint8_t code) {
  return std::isfinite(from_bits(storage, code));
}

/// A random weight, packed, and what the bound needs of it.
class Weight {
 public:
  Weight(WeightKind its_kind, WeightShape its_shape, uint32_t seed)
      : kind(its_kind),
        shape(its_shape),
        type(qtype(kind.type)),
        groups(shape.k / shape.group_size),
        scale(random_tensor(kind.scale, scales(), 0.5F / type.qmax,
                            1.5F / type.qmax, seed)),
        shift(random_tensor(
            kind.shift == ShiftKind::kInteger ? DType::kUInt8 : kind.scale,
            kind.shift == ShiftKind::kNone ? 0 : scales(), 0.0F,
            kind.shift == ShiftKind::kInteger ? 16.0F : 3.0F, seed + 1)),
        data(type.storage, type.bits == 8
                               ? shape.n * shape.k
                               : packed_rows(shape.n * groups, type.bits) *
                                     shape.group_size) {
    std::mt19937 engine(seed + 2);
    for (int64_t i = 0; i < data.numel(); ++i) {
      uint8_t code = static_cast<uint8_t>(engine());
      while (!is_finite_code(type.storage, code)) {
        code = static_cast<uint8_t>(engine());
      }
      data.set_bits(i, code);
    }
  }

  [[nodiscard]] int64_t scales() const {
    return kind.per_tensor ? 1 : shape.n * groups;
  }

  /// |scale * q| + |shift| of one weight.
  [[nodiscard]] double parts(int64_t n, int64_t k) const {
    const int64_t row = n * groups + k / shape.group_size;
    const double s = scale.at(kind.per_tensor ? 0 : row);
    if (type.bits == 8) return std::abs(s * data.at(n * shape.k + k));
    const PackedRow place = packed_row(row, shape.n * groups, type.bits);
    const uint32_t byte =
        data.bits(place.row * shape.group_size + k % shape.group_size);
    const double q = (byte >> place.shift) & ((1U << type.bits) - 1);
    const bool integer = kind.shift == ShiftKind::kInteger;
    return s * q + (integer ? s * shift.at(row) : shift.at(row));
  }

  [[nodiscard]] LinearProblem problem(int64_t m, DType activation) const {
    return {.m = m,
            .n = shape.n,
            .k = shape.k,
            .activation = activation,
            .weight = kind.type,
            .group_size = shape.group_size,
            .per_tensor = kind.per_tensor,
            .scale = kind.scale,
            .shift = kind.shift};
  }
  [[nodiscard]] LinearArgs args(const TestTensor& input, const TestTensor* bias,
                                TestTensor& output) const {
    return {.input = input.data(),
            .data = data.data(),
            .scale = scale.data(),
            .shift = kind.shift == ShiftKind::kNone ? nullptr : shift.data(),
            .bias = bias != nullptr ? bias->data() : nullptr,
            .output = output.data()};
  }

  WeightKind kind;
  WeightShape shape;
  QType type;
  int64_t groups;
  TestTensor scale;
  TestTensor shift;
  TestTensor data;
};

TestTensor as_float32(const TestTensor& from) {
  TestTensor result(DType::kFloat32, from.numel());
  for (int64_t i = 0; i < from.numel(); ++i) result.set(i, from.at(i));
  return result;
}

/// The reference's result in fp32 for kMostRows rows, and how far from it a
/// kernel's sum may be.
struct Expected {
  TestTensor value;
  std::vector<double> bound;
};

Expected expected(const Weight& weight, const TestTensor& input,
                  const TestTensor* bias) {
  const auto [n, k, group_size] = weight.shape;
  Expected result = {TestTensor(DType::kFloat32, kMostRows * n),
                     std::vector<double>(kMostRows * n)};
  const TestTensor input32 = as_float32(input);
  const TestTensor bias32 =
      bias != nullptr ? as_float32(*bias) : TestTensor(DType::kFloat32, 0);
  const LinearProblem problem = weight.problem(kMostRows, DType::kFloat32);
  SerialExecutor executor;
  plan_linear(ref_kernels(), problem)
      .run(problem,
           weight.args(input32, bias != nullptr ? &bias32 : nullptr,
                       result.value),
           executor);
  std::vector<double> x(input.numel());
  for (int64_t i = 0; i < input.numel(); ++i) x[i] = std::abs(input.at(i));
  std::vector<double> parts(k);
  for (int64_t c = 0; c < n; ++c) {
    for (int64_t i = 0; i < k; ++i) parts[i] = weight.parts(c, i);
    for (int64_t m = 0; m < kMostRows; ++m) {
      double sum = bias != nullptr ? std::abs(bias->at(c)) : 0.0;
      for (int64_t i = 0; i < k; ++i) sum += x[m * k + i] * parts[i];
      result.bound[m * n + c] =
          kRoundings * static_cast<double>(k + 1) * 0x1p-24 * sum;
    }
  }
  return result;
}

void expect_close(const TestTensor& actual, const Expected& want,
                  const std::string& what) {
  for (int64_t i = 0; i < actual.numel(); ++i) {
    const double value = want.value.at(i);
    // The sum's error, then one rounding; the smallest subnormal of fp16.
    const double bound =
        want.bound[i] +
        (std::abs(value) + want.bound[i]) * half_ulp(actual.dtype()) +
        (actual.dtype() == DType::kFloat16 ? 0x1p-25 : 0.0);
    ASSERT_NEAR(actual.at(i), value, bound) << what << " element " << i;
  }
}

void check_variant(const LinearVariant& variant, const Weight& weight,
                   const TestTensor& input, const TestTensor* bias, int64_t m,
                   const Expected& want) {
  const LinearProblem problem = weight.problem(m, input.dtype());
  const std::string what =
      std::string(variant.name) + " m=" + std::to_string(m) +
      " n=" + std::to_string(problem.n) + " k=" + std::to_string(problem.k) +
      " group_size=" + std::to_string(problem.group_size);
  TestTensor rows(input.dtype(), m * problem.k);
  std::memcpy(rows.data(), input.data(), rows.numel() * size_of(rows.dtype()));
  TestTensor output(input.dtype(), m * problem.n);
  SerialExecutor serial;
  variant.run(problem, weight.args(rows, bias, output), serial);
  ASSERT_NO_FATAL_FAILURE(expect_close(output, want, what));

  static ThreadPool pool(3);
  TestTensor threaded(input.dtype(), m * problem.n);
  variant.run(problem, weight.args(rows, bias, threaded), pool);
  EXPECT_EQ(std::memcmp(output.data(), threaded.data(),
                        output.numel() * size_of(output.dtype())),
            0)
      << what << ": three threads differ from one";
}

/// Runs every variant of the table in use that supports the problem.
void check_all(const Weight& weight, DType activation, bool with_bias) {
  const TestTensor input =
      random_tensor(activation, kMostRows * weight.shape.k, -1, 1, 7);
  const TestTensor bias = random_tensor(activation, weight.shape.n, -1, 1, 8);
  const TestTensor* used_bias = with_bias ? &bias : nullptr;
  const Expected want = expected(weight, input, used_bias);
  const KernelTable& table = kernels();
  for (const int64_t m : kRows) {
    const LinearProblem problem = weight.problem(m, activation);
    for (int64_t v = 0; v < table.linear_count; ++v) {
      if (!table.linear[v].supports(problem)) continue;
      ASSERT_NO_FATAL_FAILURE(
          check_variant(table.linear[v], weight, input, used_bias, m, want));
    }
  }
}

struct Case {
  WeightKind kind;
  DType activation;
};

std::string name_of_case(const Case& c) {
  const char* shift = c.kind.shift == ShiftKind::kNone    ? ""
                      : c.kind.shift == ShiftKind::kFloat ? "_float_shift"
                                                          : "_integer_shift";
  return std::string(qtype(c.kind.type).name) + shift +
         (c.kind.per_tensor ? "_per_tensor" : "") + "_scale_" +
         std::string(name_of(c.kind.scale)) + "_input_" +
         std::string(name_of(c.activation));
}
void PrintTo(const Case& c, std::ostream* out) { *out << name_of_case(c); }

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const DType activation : kActivations) {
    for (const DType scale : kActivations) {
      for (const QType& type : kQTypes) {
        for (const bool second : {false, true}) {
          const ShiftKind shift = type.bits == 8 ? ShiftKind::kNone
                                  : second       ? ShiftKind::kInteger
                                                 : ShiftKind::kFloat;
          cases.push_back(
              {{type.id, shift, type.bits == 8 && second, scale}, activation});
        }
      }
    }
  }
  return cases;
}

class LinearTest : public testing::TestWithParam<Case> {};

TEST_P(LinearTest, EveryVariantIsWithinTheBoundOfTheReference) {
  uint32_t seed = 1;
  bool with_bias = false;
  for (WeightShape shape : kShapes) {
    if (qtype(GetParam().kind.type).bits == 8) shape.group_size = shape.k;
    const Weight weight(GetParam().kind, shape, seed++);
    with_bias = !with_bias;
    ASSERT_NO_FATAL_FAILURE(
        check_all(weight, GetParam().activation, with_bias));
  }
}

INSTANTIATE_TEST_SUITE_P(All, LinearTest, testing::ValuesIn(all_cases()),
                         [](const auto& test) {
                           return name_of_case(test.param);
                         });

/// A code that is not finite reaches its own output, and no other.
TEST(LinearSpecialTest, InfiniteAndNanCodesReachTheirOutputOnly) {
  const KernelTable& table = kernels();
  for (const DType storage : kStorages) {
    for (int code = 0; code < 256; ++code) {
      if (is_finite_code(storage, static_cast<uint8_t>(code))) continue;
      const QTypeId type = find_8bit_qtype(storage)->id;
      const WeightShape shape = {37, 100, 100};
      Weight weight({type, ShiftKind::kNone, false, DType::kFloat32}, shape, 1);
      weight.data.set_bits(5 * shape.k + 33, static_cast<uint32_t>(code));
      weight.data.set_bits(36 * shape.k + 99, static_cast<uint32_t>(code));
      for (const DType activation : kActivations) {
        for (const int64_t m : {1, 4, 13}) {
          const LinearProblem problem = weight.problem(m, activation);
          const TestTensor input =
              random_tensor(activation, m * shape.k, 0.5F, 1, 3);
          for (int64_t v = 0; v < table.linear_count; ++v) {
            if (!table.linear[v].supports(problem)) continue;
            TestTensor output(activation, m * shape.n);
            SerialExecutor executor;
            table.linear[v].run(problem, weight.args(input, nullptr, output),
                                executor);
            const float special = from_bits(storage, code);
            for (int64_t i = 0; i < output.numel(); ++i) {
              const int64_t n = i % shape.n;
              const float value = output.at(i);
              if (n != 5 && n != 36) {
                ASSERT_TRUE(std::isfinite(value));
              } else if (std::isnan(special)) {
                ASSERT_TRUE(std::isnan(value)) << table.linear[v].name;
              } else {
                ASSERT_EQ(value, special) << table.linear[v].name;
              }
            }
          }
        }
      }
    }
  }
}

TEST(LinearSpecialTest, EveryProblemHasAVariant) {
  const KernelTable& table = kernels();
  const WeightShape shape = {3, 20, 10};
  const Weight weight(
      {QTypeId::kQInt4, ShiftKind::kFloat, false, DType::kFloat16}, shape, 1);
  for (const int64_t m : {0, 1, 5, 1000}) {
    const LinearProblem problem = weight.problem(m, DType::kFloat16);
    EXPECT_TRUE(plan_linear(table, problem).supports(problem));
  }
}

}  // namespace
}  // namespace quanto::kernels
