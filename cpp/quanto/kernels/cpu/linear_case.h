// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "quanto/core/packing.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/kernels/ref/ref.h"
#include "quanto/kernels/test_tensor.h"

// Random linear problems, and how far from the reference a result may be.

namespace quanto::kernels {

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

/// What activations are besides their shape: `input` is `activation` where
/// there is no scale, else the dtype of codes.
struct InputKind {
  DType activation;
  DType input;
  InputScale scale;
};

/// fp32 roundings of one product and sum, in units of 2^-24 times the sum of
/// |x| * (|scale * q| + |shift|). Three additions, one for each term that x may
/// be cut into, and one for the weight; the shift, where it is applied to sums
/// of x or multiplied out, takes no more of them.
inline constexpr double kRoundings = 4;

inline bool is_finite_code(DType storage, uint32_t code) {
  return std::isfinite(from_bits(storage, code));
}

/// Bytes drawn at random, of which none is an infinity or a NaN.
inline TestTensor finite_codes(DType storage, int64_t numel, uint32_t seed) {
  TestTensor codes(storage, numel);
  std::mt19937 engine(seed);
  for (int64_t i = 0; i < numel; ++i) {
    uint32_t code = engine() & 0xff;
    while (!is_finite_code(storage, code)) code = engine() & 0xff;
    codes.set_bits(i, code);
  }
  return codes;
}

/// Random activations.
struct Input {
  Input(InputKind its_kind, int64_t rows, int64_t k, uint32_t seed)
      : kind(its_kind),
        x(kind.scale == InputScale::kNone
              ? random_tensor(kind.input, rows * k, -1, 1, seed)
              : finite_codes(kind.input, rows * k, seed)) {
    if (kind.scale == InputScale::kNone) return;
    const float largest = find_8bit_qtype(kind.input)->qmax;
    std::mt19937 engine(seed + 1);
    std::uniform_real_distribution<float> value(0.5F / largest, 1.5F / largest);
    scale.resize(kind.scale == InputScale::kRow ? rows : 1);
    for (float& s : scale) s = value(engine);
  }

  [[nodiscard]] double row_scale(int64_t row) const {
    if (kind.scale == InputScale::kNone) return 1;
    return scale[kind.scale == InputScale::kRow ? row : 0];
  }

  InputKind kind;
  TestTensor x;
  std::vector<float> scale;
};

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
        data(finite_codes(
            type.storage,
            type.bits == 8
                ? shape.n * shape.k
                : packed_rows(shape.n * groups, type.bits) * shape.group_size,
            seed + 2)) {}

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

  [[nodiscard]] LinearProblem problem(int64_t m, InputKind input) const {
    return {.m = m,
            .n = shape.n,
            .k = shape.k,
            .input = input.input,
            .input_scale = input.scale,
            .activation = input.activation,
            .weight = kind.type,
            .group_size = shape.group_size,
            .per_tensor = kind.per_tensor,
            .scale = kind.scale,
            .shift = kind.shift};
  }
  [[nodiscard]] LinearProblem problem(int64_t m, DType activation) const {
    return problem(m, InputKind{activation, activation, InputScale::kNone});
  }
  [[nodiscard]] LinearArgs args(const Input& input, const TestTensor* bias,
                                TestTensor& output) const {
    return {.input = input.x.data(),
            .input_scale = input.scale.empty() ? nullptr : input.scale.data(),
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

inline TestTensor as_float32(const TestTensor& from) {
  TestTensor result(DType::kFloat32, from.numel());
  for (int64_t i = 0; i < from.numel(); ++i) result.set(i, from.at(i));
  return result;
}

/// Of absolute values; in several partial sums, which do not wait for one
/// another.
inline double dot(const double* a, const double* b, int64_t count) {
  constexpr int kSums = 8;
  double sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int j = 0; j < kSums; ++j) sums[j] += a[i + j] * b[i + j];
  }
  for (; i < count; ++i) sums[0] += a[i] * b[i];
  return std::accumulate(sums, sums + kSums, 0.0);
}

/// The reference's result in fp32, and how far from it a kernel's sum may be.
struct Expected {
  TestTensor value;
  std::vector<double> bound;
};

inline Expected expected(const Weight& weight, const Input& input,
                         const TestTensor* bias) {
  const auto [n, k, group_size] = weight.shape;
  const int64_t rows = input.x.numel() / k;
  Expected result = {TestTensor(DType::kFloat32, rows * n),
                     std::vector<double>(rows * n)};
  Input wide = input;
  if (input.kind.scale == InputScale::kNone) {
    wide.x = as_float32(input.x);
    wide.kind.input = DType::kFloat32;
  }
  wide.kind.activation = DType::kFloat32;
  const TestTensor bias32 =
      bias != nullptr ? as_float32(*bias) : TestTensor(DType::kFloat32, 0);
  SerialExecutor executor;
  const LinearProblem problem = weight.problem(rows, wide.kind);
  ref_kernels().linear[0].run(
      problem,
      weight.args(wide, bias != nullptr ? &bias32 : nullptr, result.value),
      executor);
  std::vector<double> x(input.x.numel());
  for (int64_t i = 0; i < input.x.numel(); ++i) {
    x[i] = std::abs(input.x.at(i)) * input.row_scale(i / k);
  }
  std::vector<double> parts(k);
  for (int64_t c = 0; c < n; ++c) {
    for (int64_t i = 0; i < k; ++i) parts[i] = weight.parts(c, i);
    for (int64_t m = 0; m < rows; ++m) {
      const double sum = (bias != nullptr ? std::abs(bias->at(c)) : 0.0) +
                         dot(x.data() + m * k, parts.data(), k);
      // Two more for the scale of x and the bias.
      result.bound[m * n + c] =
          (kRoundings * static_cast<double>(k) + 2) * 0x1p-24 * sum;
    }
  }
  return result;
}

/// `want` where rows of x are fixed-point numbers (linear_fixed16.h): half a
/// unit may be lost of every element, less than 1 / 32639 of the largest of its
/// group.
inline Expected with_fixed_activations(Expected want, const Weight& weight,
                                       const Input& input, int64_t rows) {
  const auto [n, k, group_size] = weight.shape;
  std::vector<double> lost(rows * k);
  for (int64_t i = 0; i < rows * k; ++i) {
    const int64_t group = i / group_size * group_size;
    for (int64_t j = group; j < group + group_size; ++j) {
      lost[i] = std::max(lost[i], std::abs(input.x.at(j)) / 32639.0);
    }
  }
  std::vector<double> parts(k);
  for (int64_t c = 0; c < n; ++c) {
    for (int64_t i = 0; i < k; ++i) parts[i] = weight.parts(c, i);
    for (int64_t m = 0; m < rows; ++m) {
      want.bound[m * n + c] += dot(lost.data() + m * k, parts.data(), k);
    }
  }
  return want;
}

/// What a variant is held against, of m rows.
inline Expected expected_of(const LinearVariant& variant, const Expected& want,
                            const Weight& weight, const Input& input,
                            int64_t m) {
  return variant.name == "gemv_fixed16"
             ? with_fixed_activations(want, weight, input, m)
             : want;
}

/// Element i of the output against that of `want`.
inline void expect_close_at(const TestTensor& actual, const Expected& want,
                            int64_t i, const std::string& what) {
  const double value = want.value.at(i);
  // The sum's error, then one rounding; the smallest subnormal of fp16.
  const double bound =
      want.bound[i] +
      (std::abs(value) + want.bound[i]) * half_ulp(actual.dtype()) +
      (actual.dtype() == DType::kFloat16 ? 0x1p-25 : 0.0);
  ASSERT_NEAR(actual.at(i), value, bound) << what << " element " << i;
}

/// The output of the first m rows.
inline TestTensor run_variant(const LinearVariant& variant,
                              const Weight& weight, const Input& input,
                              const TestTensor* bias, int64_t m,
                              Executor& executor) {
  Input rows = input;
  // Exactly as long as it must be.
  rows.x = TestTensor(input.x.dtype(), m * weight.shape.k);
  std::memcpy(rows.x.data(), input.x.data(),
              rows.x.numel() * size_of(rows.x.dtype()));
  TestTensor output(input.kind.activation, m * weight.shape.n);
  variant.run(weight.problem(m, input.kind), weight.args(rows, bias, output),
              executor);
  return output;
}

/// Calls body(variant) for those of the table in use that support the problem,
/// without the reference's unless that is the table.
template <typename Body>
void for_each_variant(const LinearProblem& problem, Body body) {
  const KernelTable& table = kernels();
  const int64_t vectors = table.linear_count > 1 ? table.linear_count - 1 : 1;
  for (int64_t v = 0; v < vectors; ++v) {
    if (!table.linear[v].supports(problem)) continue;
    body(table.linear[v]);
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace quanto::kernels
