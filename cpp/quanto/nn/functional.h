// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>

#include "quanto/nn/weight.h"

// Layers on the codes of a weight of axis 0: one operator call, through
// autograd only where a gradient is needed.
//
// `trained` is the float weight that the codes come from, where it wants a
// gradient, else undefined: it takes no part in the result and receives the
// gradient that a float layer with the dequantized weight and input would give
// it. `bias` may be undefined. Dtypes follow torch's functions: under autocast
// input and bias are cast, otherwise input must have the weight's dtype, and
// c10::ValueError is thrown.

namespace quanto::nn::functional {

/// The quantization of a layer's input: `type` null for none; without `scale`
/// a scale for each row (or image).
struct InputQuantization {
  const QType* type = nullptr;
  std::optional<at::Tensor> scale{};
};

struct Geometry {
  std::array<int64_t, 2> stride;
  std::array<int64_t, 2> padding;
  std::array<int64_t, 2> dilation;
  int64_t groups;
};

/// `output_scale`, only without gradients and with a quantized input, has the
/// operator quantize the output; the result is dequantized from it.
at::Tensor linear(const at::Tensor& input, const QWeight& weight,
                  const at::Tensor& bias, const at::Tensor& trained,
                  const InputQuantization& quantization = {},
                  const std::optional<at::Tensor>& output_scale = {});

at::Tensor conv2d(const at::Tensor& input, const QWeight& weight,
                  const at::Tensor& bias, const at::Tensor& trained,
                  const Geometry& geometry,
                  const InputQuantization& quantization = {},
                  const std::optional<at::Tensor>& output_scale = {});

/// Row `padding_idx` of the weight, if it is not negative, has no gradient.
at::Tensor embedding(const at::Tensor& indices, const QWeight& weight,
                     const at::Tensor& trained, int64_t padding_idx);

/// Quantized by a 0-d scale, cast to its dtype, and dequantized; the gradient
/// passes straight.
at::Tensor fake_quantize(const at::Tensor& values, const QType& type,
                         const at::Tensor& scale);

/// Whether autograd has to record an operator on these; undefined ones are
/// left out.
bool needs_gradient(const at::Tensor& input, const at::Tensor& bias,
                    const at::Tensor& trained);

}  // namespace quanto::nn::functional
