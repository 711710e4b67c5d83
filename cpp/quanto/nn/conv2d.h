// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/nn/modules/conv.h>
#include <torch/nn/pimpl.h>

#include <array>
#include <utility>

#include "quanto/nn/module.h"

namespace quanto::nn {

/// torch::nn::Conv2d that quantize() can switch to a quantized weight, one
/// scale (or row of groups) per output channel. Options, members and parameter
/// names are torch's, padding modes included.
class Conv2dImpl final
    : public Quantizable<torch::nn::ConvNdImpl<2, Conv2dImpl>> {
 public:
  Conv2dImpl(int64_t in_channels, int64_t out_channels,
             torch::ExpandingArray<2> kernel_size)
      : Conv2dImpl(
            torch::nn::Conv2dOptions(in_channels, out_channels, kernel_size)) {}
  explicit Conv2dImpl(const torch::nn::Conv2dOptions& given);
  /// Shares the parameters of a torch layer. torch's base class draws random
  /// numbers for weights that are not used.
  explicit Conv2dImpl(const torch::nn::Conv2dImpl& layer);

  void reset() override;
  void pretty_print(std::ostream& stream) const override;

  /// The convolution of (N, C, H, W) or (C, H, W); the result is contiguous.
  /// Dynamic activations take a scale for each image. Its dtype must be the
  /// weight's, but under autocast.
  at::Tensor forward(const at::Tensor& input);

  static const LayerKind kKind;
  [[nodiscard]] const LayerKind& kind() const override { return kKind; }

 protected:
  at::Tensor& weight_member() override { return weight; }

 private:
  /// The input, padded here where the operator cannot, and the zeros that the
  /// operator still has to add.
  [[nodiscard]] std::pair<at::Tensor, std::array<int64_t, 2>> padded(
      const at::Tensor& input) const;
  at::Tensor float_forward(const at::Tensor& input);
};

TORCH_MODULE(Conv2d);

}  // namespace quanto::nn
