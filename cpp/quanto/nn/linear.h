// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/nn/modules/linear.h>
#include <torch/nn/options/linear.h>
#include <torch/nn/pimpl.h>

#include "quanto/nn/module.h"

namespace quanto::nn {

/// torch::nn::Linear that quantize() can switch to a quantized weight, one
/// scale (or row of groups) per output feature. Options, members and parameter
/// names are torch's.
class LinearImpl final : public Quantizable<torch::nn::Cloneable<LinearImpl>> {
 public:
  LinearImpl(int64_t in_features, int64_t out_features)
      : LinearImpl(torch::nn::LinearOptions(in_features, out_features)) {}
  explicit LinearImpl(const torch::nn::LinearOptions& given);
  /// Shares the parameters of a torch layer.
  explicit LinearImpl(const torch::nn::LinearImpl& layer);

  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;

  /// `input @ weight.T + bias`: (..., in_features) -> (..., out_features). One
  /// operator call on the codes of the weight, which with activations quantizes
  /// the input too. Its dtype must be the weight's, but under autocast.
  at::Tensor forward(const at::Tensor& input);

  static const LayerKind kKind;
  [[nodiscard]] const LayerKind& kind() const override { return kKind; }

  torch::nn::LinearOptions options;
  at::Tensor weight;  ///< undefined when frozen
  at::Tensor bias;

 protected:
  at::Tensor& weight_member() override { return weight; }
};

TORCH_MODULE(Linear);

}  // namespace quanto::nn
