// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_dot_int8.h"
#include "quanto/kernels/cpu/linear_gemv_run.h"

// "gemv_int8": a few rows of int8 codes by codes of an integer type,
// multiplied as integers; scales and shifts are applied to the sums of groups.

namespace quanto::kernels {
namespace {

/// The input of the call, in tiles of at most `tile_rows`.
inline DotInput code_input(const LinearProblem& problem, const LinearArgs& args,
                           int64_t tile_rows, Executor& executor) {
  const auto* codes = static_cast<const uint8_t*>(args.input);
  return dot_input(
      problem, args, dot_tiles(problem, tile_rows, 1), true, executor,
      [&](int64_t row, int64_t k, int64_t count, int8_t* cells) {
        const uint8_t* from = codes + row * problem.k + k;
        store_words(cells, count == kVecBytes ? load_words(from)
                                              : load_words_tail(from, count));
      });
}

/// Dots of linear_gemv_run.h: int8 weights.
struct IntBytes : ByteDots {
  template <int kRows, int kCount>
  void dot(const uint8_t* data, int64_t k, int64_t m0, float* sums) const {
    dot_signed<kRows, kCount>(data, k, input, m0, sums);
  }

  DotInput input;
};

bool gemv_int8_supports(const LinearProblem& problem) {
  const int64_t bits = bits_of(problem.weight);
  return takes_few_rows(problem) && problem.input == DType::kInt8 &&
         is_integer(problem.weight) && problem.k <= kMostIntK &&
         problem.n % (8 / bits) == 0 &&
         (problem.group_size % kDotGroup == 0 ||
          problem.group_size == problem.k);
}

void gemv_int8_run(const LinearProblem& problem, const LinearArgs& args,
                   Executor& executor) {
  const auto input = [&](int64_t tile_rows) {
    return code_input(problem, args, tile_rows, executor);
  };
  const auto run_packed = [&](auto dots) {
    dots.input = input(dots.kM);
    run_planes(problem, args, executor, dots);
  };
  switch (problem.weight) {
    case QTypeId::kQInt2:
      return run_packed(PackedDots<IntProducts<2, 1>>{});
    case QTypeId::kQInt4:
      return run_packed(PackedDots<IntProducts<4, 1>>{});
    default:
      return run_bytes(problem, args, executor,
                       IntBytes{{}, input(IntBytes::kM)});
  }
}

}  // namespace
}  // namespace quanto::kernels
