// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "quanto/kernels/conv.h"
#include "quanto/kernels/cpu/against_ref.h"

// Convolutions for the tests of their kernels.

namespace quanto::kernels {

/// 3 by 3 taps in the middle of two small images; set_output() when all is set.
inline ConvProblem conv_problem(int64_t groups, int64_t channels,
                                int64_t outputs, Pair input) {
  return {.images = 2,
          .groups = groups,
          .channels = channels,
          .outputs = outputs,
          .input = input,
          .kernel = {3, 3},
          .stride = {1, 1},
          .padding = {1, 1},
          .dilation = {1, 1},
          .output = {},
          .dtype = DType::kFloat32,
          .input_scale = InputScale::kNone,
          .activation = DType::kFloat32};
}

inline int64_t places(int64_t input, int64_t kernel, int64_t stride,
                      int64_t padding, int64_t dilation) {
  return (input + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
}

inline void set_output(ConvProblem* p) {
  p->output = {
      places(p->input.y, p->kernel.y, p->stride.y, p->padding.y, p->dilation.y),
      places(p->input.x, p->kernel.x, p->stride.x, p->padding.x,
             p->dilation.x)};
}

inline std::vector<float> random_floats(int64_t count, uint32_t seed) {
  const TestTensor values =
      random_tensor(DType::kFloat32, count, -2.0F, 2.0F, seed);
  std::vector<float> floats(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    floats[static_cast<size_t>(i)] = values.at(i);
  }
  return floats;
}

}  // namespace quanto::kernels
