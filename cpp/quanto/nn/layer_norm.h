// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/nn/modules/normalization.h>
#include <torch/nn/pimpl.h>

#include <utility>
#include <vector>

#include "quanto/nn/module.h"

namespace quanto::nn {

/// torch::nn::LayerNorm that quantize() can switch to a quantized output; its
/// weight and its input never are. Only static activations switch it.
class LayerNormImpl final
    : public Quantizable<torch::nn::Cloneable<LayerNormImpl>> {
 public:
  // Implicit as torch's, so that LayerNorm({8}) means the same.
  // NOLINTNEXTLINE(google-explicit-constructor)
  LayerNormImpl(std::vector<int64_t> normalized_shape)
      : LayerNormImpl(
            torch::nn::LayerNormOptions(std::move(normalized_shape))) {}
  explicit LayerNormImpl(torch::nn::LayerNormOptions given);
  /// Shares the parameters of a torch layer.
  explicit LayerNormImpl(const torch::nn::LayerNormImpl& layer);

  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;

  /// The input normalized over its last dimensions.
  at::Tensor forward(const at::Tensor& input);

  static const LayerKind kKind;
  [[nodiscard]] const LayerKind& kind() const override { return kKind; }

  torch::nn::LayerNormOptions options;
  at::Tensor weight;
  at::Tensor bias;

 protected:
  at::Tensor& weight_member() override { return weight; }
};

TORCH_MODULE(LayerNorm);

}  // namespace quanto::nn
