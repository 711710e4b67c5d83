// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/functional.h"

#include <ATen/autocast_mode.h>

#include <utility>

#include "quanto/nn/operators.h"
#include "quanto/nn/straight_through.h"

namespace quanto::nn::functional {

namespace {

/// Input and bias cast under autocast; throws if the dtypes do not agree.
std::pair<at::Tensor, at::Tensor> cast(const char* op, const at::Tensor& input,
                                       const at::Tensor& bias,
                                       at::ScalarType dtype) {
  const auto device = input.device().type();
  if (at::autocast::is_autocast_enabled(device)) {
    const at::ScalarType lower = at::autocast::get_autocast_dtype(device);
    return {input.to(lower), bias.defined() ? bias.to(lower) : bias};
  }
  TORCH_CHECK_VALUE(input.scalar_type() == dtype, op,
                    ": expected input of the weight's dtype ", dtype, ", got ",
                    input.scalar_type());
  return {input, bias};
}

}  // namespace

bool needs_gradient(const at::Tensor& input, const at::Tensor& bias,
                    const at::Tensor& trained) {
  return at::GradMode::is_enabled() &&
         (trained.defined() || input.requires_grad() ||
          (bias.defined() && bias.requires_grad()));
}

at::Tensor linear(const at::Tensor& input, const QWeight& weight,
                  const at::Tensor& bias, const at::Tensor& trained,
                  const InputQuantization& quantization,
                  const std::optional<at::Tensor>& output_scale) {
  const auto [x, b] = cast("linear", input, bias, weight.dtype());
  if (needs_gradient(x, b, trained)) {
    return straight_through_linear(x, trained, b, weight, quantization);
  }
  if (!output_scale) return call_linear(x, b, weight, quantization);
  const at::Tensor scale = output_scale->to(x.scalar_type());
  return ops::dequantize_symmetric(
      call_linear(x, b, weight, quantization, scale), std::nullopt, scale);
}

at::Tensor conv2d(const at::Tensor& input, const QWeight& weight,
                  const at::Tensor& bias, const at::Tensor& trained,
                  const Geometry& geometry,
                  const InputQuantization& quantization,
                  const std::optional<at::Tensor>& output_scale) {
  const auto [x, b] = cast("conv2d", input, bias, weight.dtype());
  if (needs_gradient(x, b, trained)) {
    return straight_through_conv2d(x, trained, b, weight, geometry,
                                   quantization);
  }
  if (!output_scale) return call_conv2d(x, b, weight, geometry, quantization);
  const at::Tensor scale = output_scale->to(x.scalar_type());
  return ops::dequantize_symmetric(
      call_conv2d(x, b, weight, geometry, quantization, scale), std::nullopt,
      scale);
}

at::Tensor embedding(const at::Tensor& indices, const QWeight& weight,
                     const at::Tensor& trained, int64_t padding_idx) {
  if (trained.defined() && at::GradMode::is_enabled()) {
    return straight_through_embedding(indices, trained, weight, padding_idx);
  }
  return call_embedding(indices, weight);
}

at::Tensor fake_quantize(const at::Tensor& values, const QType& type,
                         const at::Tensor& scale) {
  const at::Tensor own = scale.to(values.options());
  if (at::GradMode::is_enabled() && values.requires_grad()) {
    return straight_through_fake_quantize(values, type, own);
  }
  return call_fake_quantize(values, type, own);
}

}  // namespace quanto::nn::functional
