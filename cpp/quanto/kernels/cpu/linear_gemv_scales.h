// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_gemv_work.h"

// The scales of the packed types, as the dot products take them.

namespace quanto::kernels {
namespace {

/// Scales and shifts of `rows` outputs from `output` on, as the first rows of a
/// plane of the unit's table.
inline void convert_scales(const LinearProblem& problem, const LinearArgs& args,
                           int64_t output, int64_t rows, int plane,
                           const UnitScales& out) {
  const DType shift_dtype = out.integer ? DType::kUInt8 : problem.scale;
  for (int64_t g = 0; g < out.groups; g += kGroupChunk) {
    const int64_t count = smaller(kGroupChunk, out.groups - g);
    const int64_t to = out.chunk(g, 0) + plane * out.kPlaneStride;
    const int64_t from = output * out.groups + g;
    to_float_rows<kGroupChunk>(args.scale, problem.scale, from, out.groups,
                               rows, count, out.scale + to);
    to_float_rows<kGroupChunk>(args.shift, shift_dtype, from, out.groups, rows,
                               count, out.shift + to);
  }
}

/// Room for the scales and shifts of one unit of `planes` planes.
/// `factor_rows`: how many rows of activations have codes in units.
inline UnitScales unit_scales(const LinearProblem& problem, int planes,
                              Executor& executor, ScalesAhead* ahead,
                              int64_t factor_rows = 0) {
  const int64_t groups = problem.k / problem.group_size;
  const int64_t count =
      ceil_div(groups, kGroupChunk) * planes * UnitScales::kPlaneStride;
  auto* room = reinterpret_cast<float*>(executor.scratch(
      static_cast<size_t>((2 + factor_rows) * count) * sizeof(float)));
  return {.scale = room,
          .shift = room + count,
          .factor = factor_rows == 0 ? room : room + 2 * count,
          .factor_stride = factor_rows == 0 ? 0 : count,
          .planes = planes,
          .groups = groups,
          .group_size = problem.group_size,
          .integer = problem.shift == ShiftKind::kInteger,
          .ahead = ahead};
}

/// The factors of `m` rows, whose groups' units are [m][padded_groups].
inline void multiply_units(int64_t m, const float* units, int64_t padded_groups,
                           const UnitScales& out) {
  const int64_t rows = out.planes * kUnitRows;
  for (int64_t row = 0; row < m; ++row, units += padded_groups) {
    float* factor = out.factor + row * out.factor_stride;
    for (int64_t g = 0; g < out.groups; g += kGroupChunk) {
      const int64_t chunk = out.chunk(g, 0);
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t at = chunk + r * out.kRowStride;
        QUANTO_UNROLL for (int64_t i = 0; i < kGroupChunk; i += kLanes) {
          store(factor + at + i,
                mul(load(out.scale + at + i), load(units + g + i)));
        }
      }
    }
  }
}

/// Sums of the groups of the input, [m][padded_groups], 0 past the last.
inline void sum_groups(const LinearProblem& problem, const LinearArgs& args,
                       int64_t padded_groups, float* sums) {
  const int64_t groups = problem.k / problem.group_size;
  for (int64_t m = 0; m < problem.m; ++m, sums += padded_groups) {
    for (int64_t g = 0; g < padded_groups; ++g) {
      const int64_t offset = m * problem.k + g * problem.group_size;
      sums[g] = g < groups
                    ? input_sum(problem, args, offset, problem.group_size)
                    : 0.0F;
    }
  }
}

/// sum of shift * x sums over the groups of a row, as kLanes partial sums.
inline Vec shift_sum(const UnitScales& scales, int64_t plane, int64_t row,
                     const float* x_sums) {
  Vec sum = zero();
  for (int64_t g = 0; g < scales.groups; g += kGroupChunk) {
    const int64_t at = scales.chunk(g, row) + plane * scales.kPlaneStride;
    QUANTO_UNROLL for (int64_t i = 0; i < kGroupChunk; i += kLanes) {
      Vec weight = load(scales.shift + at + i);
      if (scales.integer) weight = mul(weight, load(scales.scale + at + i));
      sum = fma(weight, load(x_sums + g + i), sum);
    }
  }
  return sum;
}

}  // namespace
}  // namespace quanto::kernels
