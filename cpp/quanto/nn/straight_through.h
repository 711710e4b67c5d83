// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "quanto/nn/functional.h"

// The operator calls of functional.h: bare, and as nodes of the autograd graph
// with straight-through gradients for input, float weight and bias. `weight`
// and `bias` may be undefined.

namespace quanto::nn::functional {

at::Tensor call_linear(const at::Tensor& input, const at::Tensor& bias,
                       const QWeight& codes,
                       const InputQuantization& quantization,
                       const std::optional<at::Tensor>& output_scale = {});
at::Tensor straight_through_linear(const at::Tensor& input,
                                   const at::Tensor& weight,
                                   const at::Tensor& bias, const QWeight& codes,
                                   const InputQuantization& quantization);

at::Tensor call_conv2d(const at::Tensor& input, const at::Tensor& bias,
                       const QWeight& codes, const Geometry& geometry,
                       const InputQuantization& quantization,
                       const std::optional<at::Tensor>& output_scale = {});
at::Tensor straight_through_conv2d(const at::Tensor& input,
                                   const at::Tensor& weight,
                                   const at::Tensor& bias, const QWeight& codes,
                                   const Geometry& geometry,
                                   const InputQuantization& quantization);

at::Tensor call_embedding(const at::Tensor& indices, const QWeight& codes);
at::Tensor straight_through_embedding(const at::Tensor& indices,
                                      const at::Tensor& weight,
                                      const QWeight& codes,
                                      int64_t padding_idx);

/// `scale` has the options of `values`.
at::Tensor call_fake_quantize(const at::Tensor& values, const QType& type,
                              const at::Tensor& scale);
at::Tensor straight_through_fake_quantize(const at::Tensor& values,
                                          const QType& type,
                                          const at::Tensor& scale);

}  // namespace quanto::nn::functional
