// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_dot_int8.h"
#include "quanto/kernels/cpu/linear_gemv_run.h"

// "gemv_int8": up to four rows of int8 codes by codes of an integer type,
// multiplied as integers; scales and shifts are applied to the sums of groups.

namespace quanto::kernels {
namespace {

/// The input of the call, in the workspace.
inline CodeInput code_input(const LinearProblem& problem,
                            const LinearArgs& args, Executor& executor) {
  // The last group may start anywhere in a vector.
  const int64_t stride = round_up(problem.k, kVecBytes) + kVecBytes;
  const int64_t padded_groups =
      round_up(problem.k / problem.group_size, kGroupChunk);
  auto* room = executor.workspace(
      static_cast<size_t>(problem.m * (stride + padded_groups * 4)));
  auto* x = reinterpret_cast<int8_t*>(room);
  auto* sums = reinterpret_cast<float*>(room + problem.m * stride);
  const auto* from = static_cast<const int8_t*>(args.input);
  for (int64_t m = 0; m < problem.m; ++m) {
    int8_t* row = x + m * stride;
    __builtin_memcpy(row, from + m * problem.k, static_cast<size_t>(problem.k));
    __builtin_memset(row + problem.k, 0,
                     static_cast<size_t>(stride - problem.k));
  }
  sum_groups(problem, args, padded_groups, sums);
  return {x, sums, nullptr, stride, padded_groups};
}

/// Dots of linear_gemv_run.h: int8 weights.
struct IntBytes {
  static constexpr int kM = gemv_m(1);
  static constexpr float kUnit = 1;
  static constexpr int rows(int m) { return gemv_rows(1, m); }

  template <int kRows, int kCount>
  void dot(const uint8_t* data, int64_t k, int64_t m0, float* sums) const {
    dot_signed<kRows, kCount>(data, k, input, m0, sums);
  }

  CodeInput input;
};

/// The same of packed ones, by codes of so many digits.
template <int kBits, int kDigits = 1>
struct IntPlanes {
  static constexpr int kPlanes = 8 / kBits;
  static constexpr bool kHasUnits = kDigits > 1;
  static constexpr int kM = gemv_m(kPlanes);
  static constexpr int rows(int m) { return gemv_rows(kPlanes, m); }

  template <int kRows, int kCount>
  void dot(const uint8_t* data, int64_t k, const UnitScales& scales,
           int64_t row, int64_t m0, float* sums) const {
    const auto dot_groups = [&](auto size) {
      dot_packed<kBits, decltype(size)::value, kDigits, kRows, kCount>(
          data, k, scales, row, input, m0, sums);
    };
    switch (scales.group_size) {
      case 32:
        return dot_groups(Constant<32>{});
      case 64:
        return dot_groups(Constant<64>{});
      case 128:
        return dot_groups(Constant<128>{});
      default:
        return dot_groups(Constant<0>{});
    }
  }

  CodeInput input;
};

bool gemv_int8_supports(const LinearProblem& problem) {
  const int64_t bits = bits_of(problem.weight);
  return gemv_supports(problem) && problem.input == DType::kInt8 &&
         is_integer(problem.weight) && problem.k <= kMostIntK &&
         problem.n % (8 / bits) == 0 &&
         (problem.group_size % kDotGroup == 0 ||
          problem.group_size == problem.k);
}

void gemv_int8_run(const LinearProblem& problem, const LinearArgs& args,
                   Executor& executor) {
  const CodeInput input = code_input(problem, args, executor);
  switch (problem.weight) {
    case QTypeId::kQInt2:
      return run_planes(problem, args, executor, IntPlanes<2>{input});
    case QTypeId::kQInt4:
      return run_planes(problem, args, executor, IntPlanes<4>{input});
    default:
      return run_bytes(problem, args, executor, IntBytes{input});
  }
}

}  // namespace
}  // namespace quanto::kernels
