// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/conv.h"
#include "quanto/kernels/cpu/linear_input.h"

namespace quanto::kernels {
namespace {

/// Output rows [first, first + rows) of a plane from its sums, whose rows are
/// `pitch` apart.
template <DType kActivation>
inline void store_rows(const ConvProblem& problem, const ConvArgs& args,
                       int64_t pitch, int64_t image, int64_t output,
                       int64_t first, int64_t rows, const float* sums) {
  const bool codes = problem.input_scale != InputScale::kNone;
  const bool row = problem.input_scale == InputScale::kRow;
  const Vec by = broadcast(args.scale[output]);
  const Vec scale = broadcast(codes ? args.input_scale[row ? image : 0] : 1.0F);
  const Vec bias = broadcast(args.bias == nullptr ? 0 : args.bias[output]);
  const int64_t plane = image * problem.groups * problem.outputs + output;
  int64_t at = (plane * problem.output.y + first) * problem.output.x;
  for (int64_t r = 0; r < rows; ++r) {
    for_each_vector(problem.output.x, [&](int64_t i, auto lanes) {
      Vec value = mul(Element<DType::kFloat32>::load(sums, i, lanes), by);
      value = mul(value, scale);
      if (args.bias != nullptr) value = add(value, bias);
      Element<kActivation>::store(args.output, at + i, value, lanes);
    });
    at += problem.output.x;
    sums += pitch;
  }
}

}  // namespace
}  // namespace quanto::kernels
