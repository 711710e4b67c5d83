// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/layer_norm.h"

#include <torch/nn/functional/normalization.h>
#include <torch/nn/init.h>

namespace quanto::nn {

LayerNormImpl::LayerNormImpl(torch::nn::LayerNormOptions given)
    : options(std::move(given)) {
  LayerNormImpl::reset();
}

LayerNormImpl::LayerNormImpl(const torch::nn::LayerNormImpl& layer)
    : options(layer.options) {
  const auto adopt = [this](const char* name, const at::Tensor& tensor) {
    return register_parameter(name, tensor,
                              tensor.defined() && tensor.requires_grad());
  };
  weight = adopt("weight", layer.weight);
  bias = adopt("bias", layer.bias);
  train(layer.is_training());
}

void LayerNormImpl::reset() {
  if (options.elementwise_affine()) {
    weight =
        register_parameter("weight", torch::empty(options.normalized_shape()));
    bias = register_parameter("bias", torch::empty(options.normalized_shape()));
  } else {
    weight = register_parameter("weight", {}, false);
    bias = register_parameter("bias", {}, false);
  }
  reset_parameters();
  restore();
}

void LayerNormImpl::reset_parameters() {
  if (!options.elementwise_affine()) return;
  torch::nn::init::ones_(weight);
  torch::nn::init::zeros_(bias);
}

void LayerNormImpl::pretty_print(std::ostream& stream) const {
  stream << std::boolalpha << "quanto::nn::LayerNorm("
         << at::IntArrayRef(options.normalized_shape())
         << ", eps=" << options.eps()
         << ", elementwise_affine=" << options.elementwise_affine() << ")";
}

const LayerKind LayerNormImpl::kKind{.name = "LayerNorm",
                                     .quantizes_weight = false,
                                     .only_when_named = false,
                                     .quantizes_input = false,
                                     .quantizes_activations = true};

at::Tensor LayerNormImpl::forward(const at::Tensor& input) {
  const at::Tensor values = quantized() ? activation_in(input) : input;
  const at::Tensor output = torch::layer_norm(
      values, options.normalized_shape(), weight, bias, options.eps());
  return quantized() ? activation_out(output) : output;
}

}  // namespace quanto::nn
