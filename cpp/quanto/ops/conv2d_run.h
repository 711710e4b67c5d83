// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/kernels.h"
#include "quanto/ops/activation.h"
#include "quanto/ops/conv2d_geometry.h"
#include "quanto/ops/weight.h"

namespace quanto::ops {

/// A convolution whose arguments were checked. `problem` is the linear problem
/// of all its outputs; `bias` is contiguous or null.
struct ConvCall {
  const ConvGeometry& conv;
  const kernels::LinearProblem& problem;
  const Activations& activations;
  const WeightMemory& weight;
  const void* bias;
  Sizes shape;  ///< of the result

  /// Element type of the result.
  [[nodiscard]] DType dtype() const {
    return activations.output(problem.activation);
  }
};

/// By tiles of output pixels: their patches times the packed weight. Neither
/// the patches of a whole image nor a float weight ever exist.
Tensor conv2d_by_tiles(const ConvCall& call, Executor& executor);

/// By sums of shifted planes (kernels/conv.h), in fp32. The weight is decoded
/// all at once, the patches never exist.
Tensor conv2d_direct(const ConvCall& call, Executor& executor);

/// The same in tile registers, of bfloat16.
Tensor conv2d_in_tiles(const ConvCall& call, Executor& executor);

}  // namespace quanto::ops
