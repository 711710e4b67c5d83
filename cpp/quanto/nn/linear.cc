// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/linear.h"

#include <torch/nn/functional/linear.h>
#include <torch/nn/init.h>

#include <cmath>

#include "quanto/nn/functional.h"

namespace quanto::nn {

LinearImpl::LinearImpl(const torch::nn::LinearOptions& given) : options(given) {
  LinearImpl::reset();
}

LinearImpl::LinearImpl(const torch::nn::LinearImpl& layer)
    : options(layer.options) {
  weight =
      register_parameter("weight", layer.weight, layer.weight.requires_grad());
  bias = register_parameter("bias", layer.bias,
                            layer.bias.defined() && layer.bias.requires_grad());
  train(layer.is_training());
}

void LinearImpl::reset() {
  weight = register_parameter(
      "weight", torch::empty({options.out_features(), options.in_features()}));
  bias = options.bias()
             ? register_parameter("bias", torch::empty(options.out_features()))
             : register_parameter("bias", {}, false);
  reset_parameters();
  restore();
}

void LinearImpl::reset_parameters() {
  torch::nn::init::kaiming_uniform_(weight, std::sqrt(5.0));
  if (!bias.defined()) return;
  const auto fans = torch::nn::init::_calculate_fan_in_and_fan_out(weight);
  const double bound = 1 / std::sqrt(static_cast<double>(std::get<0>(fans)));
  torch::nn::init::uniform_(bias, -bound, bound);
}

void LinearImpl::pretty_print(std::ostream& stream) const {
  stream << std::boolalpha
         << "quanto::nn::Linear(in_features=" << options.in_features()
         << ", out_features=" << options.out_features()
         << ", bias=" << options.bias() << ")";
}

const LayerKind LinearImpl::kKind{.name = "Linear",
                                  .quantizes_weight = true,
                                  .only_when_named = false,
                                  .quantizes_input = true,
                                  .quantizes_activations = true};

at::Tensor LinearImpl::forward(const at::Tensor& input) {
  if (!quantized()) {
    return torch::nn::functional::linear(input, weight, bias);
  }
  return with_weight([&](const QWeight& codes) {
    return with_activations(
        input, bias, [&](const auto& quantization, const auto& scale) {
          return functional::linear(input, codes, bias, trained(), quantization,
                                    scale);
        });
  });
}

}  // namespace quanto::nn
