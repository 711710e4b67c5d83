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
inline UnitScales unit_scales(const LinearProblem& problem, int planes,
                              Executor& executor) {
  const int64_t groups = problem.k / problem.group_size;
  const int64_t count =
      ceil_div(groups, kGroupChunk) * planes * UnitScales::kPlaneStride;
  auto* room = reinterpret_cast<float*>(
      executor.scratch(static_cast<size_t>(2 * count) * sizeof(float)));
  return {room,   room + count,       planes,
          groups, problem.group_size, problem.shift == ShiftKind::kInteger};
}

}  // namespace
}  // namespace quanto::kernels
