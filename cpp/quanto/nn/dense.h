// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "quanto/nn/weight.h"

// The float values that a layer computed with, for its backward pass.

namespace quanto::nn {

/// The float weight of axis 0 and shape `size`, in scale's dtype.
at::Tensor dense_weight(const QWeight& weight);

/// The dequantized codes of a float `input`, quantized as qlinear does: by
/// `input_scale`, or by a scale for each of the first `rows` without one.
at::Tensor dense_input(const at::Tensor& input,
                       const std::optional<at::Tensor>& input_scale,
                       const QType& activation, int64_t rows);

}  // namespace quanto::nn
