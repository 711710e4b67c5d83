// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <quanto/nn/conv2d.h>
#include <quanto/nn/linear.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "data.h"

/// A small convolutional classifier. Its layers are of quanto::nn instead of
/// torch::nn: that is all a model has to change.
class NetImpl : public torch::nn::Module {
 public:
  NetImpl();

  /// Images (N, 1, 28, 28) in [0, 1] to logits (N, 10).
  torch::Tensor forward(const torch::Tensor& images);

 private:
  quanto::nn::Conv2d conv1_, conv2_;
  quanto::nn::Linear hidden_, head_;
};
TORCH_MODULE(Net);

/// Images and their classes as tensors.
struct Split {
  torch::Tensor images;  ///< (N, 1, 28, 28), float in [0, 1]
  torch::Tensor labels;  ///< (N), int64
};
Split as_tensors(const Images& images);

/// Adam on the cross entropy, in batches of 128.
void train(Net& net, const Split& split, int64_t epochs);

/// Of all images, without gradients.
torch::Tensor logits(Net& net, const torch::Tensor& images);

/// The share of images whose class is the model's first guess.
double accuracy(Net& net, const Split& split);
