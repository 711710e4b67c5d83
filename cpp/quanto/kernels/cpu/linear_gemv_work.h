// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_gemv.h"

// What the ways for a few rows of activations share: how they cut their work,
// and their input.

namespace quanto::kernels {
namespace {

/// Rows of activations at once.
constexpr int kGemvRows = 4;
/// Rows of activations up to which it is faster to pass the weights once for
/// each kGemvRows of them, from a cache after the first pass, than to decode
/// them to panels. Not measured on NEON.
#ifdef QUANTO_HAS_NEON
constexpr int kFewRows = kGemvRows;
#else
constexpr int kFewRows = 16;
#endif
/// Multiplications below which another thread costs more than it saves.
constexpr int64_t kThreadWork = int64_t{1} << 17;

/// Weight rows at once, such that accumulators and tables stay in registers.
constexpr int gemv_rows(int planes, int m) {
#ifdef QUANTO_HAS_AVX512
  return planes == 1 ? 4 : planes == 2 ? (m <= 2 ? 4 : 2) : (m <= 2 ? 2 : 1);
#else
  return planes == 1 ? (m <= 2 ? 4 : 2) : planes == 2 && m == 1 ? 2 : 1;
#endif
}

/// Activation rows at once.
constexpr int gemv_m([[maybe_unused]] int planes) {
#ifdef QUANTO_HAS_AVX512
  return kGemvRows;
#else
  return planes == 4 ? 2 : kGemvRows;
#endif
}

/// Calls body(first row, Constant<count>) over [0, m), at most kMax at once.
template <int kMax, typename Body>
inline void for_activation_rows(int64_t m, Body body) {
  int64_t row = 0;
  for (; row + kMax <= m; row += kMax) body(row, Constant<kMax>{});
  unrolled<kMax - 1>([&](auto less) {
    constexpr int kRest = decltype(less)::value + 1;
    if (m - row == kRest) body(row, Constant<kRest>{});
  });
}

/// Calls body(first row, Constant<count>) over [0, rows): kRows at once, then
/// one by one.
template <int kRows, typename Body>
inline void for_weight_rows(int64_t rows, Body body) {
  int64_t row = 0;
  for (; row + kRows <= rows; row += kRows) body(row, Constant<kRows>{});
  if constexpr (kRows > 1) {
    for (; row < rows; ++row) body(row, Constant<1>{});
  }
}

/// Outputs that share a byte must be of different planes for more rows than
/// one pass takes.
inline bool takes_few_rows(const LinearProblem& problem) {
  const bool paired = problem.n % (8 / bits_of(problem.weight)) == 0;
  return problem.k > 0 && problem.m <= (paired ? kFewRows : kGemvRows);
}

/// The input as fp32 [m][k]: itself, or a copy in the workspace.
inline const float* float_input(const LinearProblem& problem,
                                const LinearArgs& args, Executor& executor) {
  if (problem.input == DType::kFloat32) {
    return static_cast<const float*>(args.input);
  }
  const int64_t count = problem.m * problem.k;
  auto* x = reinterpret_cast<float*>(
      executor.workspace(static_cast<size_t>(count) * sizeof(float)));
  input_to_float(problem, args, 0, count, x);
  return x;
}

/// Splits [0, units) so that a thread gets at least kThreadWork.
inline void for_units(Executor& executor, int64_t units, int64_t unit_work,
                      Executor::Body body) {
  executor.parallel_for(units, larger(1, kThreadWork / larger(1, unit_work)),
                        body);
}

}  // namespace
}  // namespace quanto::kernels
