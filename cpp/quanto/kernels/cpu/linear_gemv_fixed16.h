// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_fixed16.h"
#include "quanto/kernels/cpu/linear_gemv_int8.h"

// "gemv_fixed16": one or two rows of float16 or bfloat16 activations by 4- or
// 2-bit weights, as integers of linear_fixed16.h. An element is rounded by less
// than 1 / 32639 of the largest of its group: none of bfloat16 from 2^-7 of it
// on is, and none of float16 from 2^-4 on. What has no such number runs by
// "gemv".

namespace quanto::kernels {
namespace {

/// From three rows on, fp32 products of weights that are decoded once for all
/// rows are as fast.
constexpr int kFixedRows = 2;
/// Sums of products of larger groups could leave int32; and one element should
/// not set the unit of many.
constexpr int64_t kMostFixedGroup = 512;

bool gemv_fixed16_supports(const LinearProblem& problem) {
  const int64_t bits = bits_of(problem.weight);
  const bool halves =
      problem.input == DType::kFloat16 || problem.input == DType::kBFloat16;
  return gemv_supports(problem) && problem.m <= kFixedRows && halves &&
         bits < 8 && problem.n % (8 / bits) == 0 &&
         problem.group_size % kDotGroup == 0 &&
         problem.group_size <= kMostFixedGroup;
}

void gemv_fixed16_run(const LinearProblem& problem, const LinearArgs& args,
                      Executor& executor) {
  const auto run = [&](auto dots) {
    if (!fixed_input(problem, args, dots.kM, executor, &dots.input)) {
      return gemv_run(problem, args, executor);
    }
    run_planes(problem, args, executor, dots);
  };
  if (problem.weight == QTypeId::kQInt4) {
    run(PackedDots<IntProducts<4, kFixedDigits>, kFixedRows>{});
  } else {
    run(PackedDots<IntProducts<2, kFixedDigits>, kFixedRows>{});
  }
}

}  // namespace
}  // namespace quanto::kernels
