// SPDX-License-Identifier: Apache-2.0
#include "net.h"

#include <torch/nn/functional.h>
#include <torch/optim/adam.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <vector>

namespace functional = torch::nn::functional;

namespace {

constexpr int64_t kBatch = 128;
constexpr double kLearningRate = 2e-3;

quanto::nn::Conv2d convolution(int64_t inputs, int64_t outputs) {
  return quanto::nn::Conv2d(
      torch::nn::Conv2dOptions(inputs, outputs, 3).padding(1));
}

torch::Tensor pooled(const torch::Tensor& input) {
  return torch::max_pool2d(torch::relu(input), 2);
}

}  // namespace

NetImpl::NetImpl()
    : conv1_(register_module("conv1", convolution(1, 12))),
      conv2_(register_module("conv2", convolution(12, 30))),
      hidden_(register_module(
          "hidden", quanto::nn::Linear(30 * (kSide / 4) * (kSide / 4), 64))),
      head_(register_module("head", quanto::nn::Linear(64, kClasses))) {}

torch::Tensor NetImpl::forward(const torch::Tensor& images) {
  const torch::Tensor features =
      pooled(conv2_->forward(pooled(conv1_->forward(images))));
  return head_->forward(torch::relu(hidden_->forward(features.flatten(1))));
}

Split as_tensors(const Images& images) {
  const auto count = static_cast<int64_t>(images.labels.size());
  const auto bytes = torch::TensorOptions(torch::kUInt8);
  // from_blob borrows: the conversion copies.
  auto* pixels = const_cast<uint8_t*>(images.pixels.data());
  auto* labels = const_cast<uint8_t*>(images.labels.data());
  return {torch::from_blob(pixels, {count, 1, kSide, kSide}, bytes)
              .to(torch::kFloat32)
              .div(255),
          torch::from_blob(labels, {count}, bytes).to(torch::kInt64)};
}

void train(Net& net, const Split& split, int64_t epochs) {
  torch::optim::Adam optimizer(net->parameters(), kLearningRate);
  net->train();
  for (int64_t epoch = 0; epoch < epochs; ++epoch) {
    const torch::Tensor order = torch::randperm(split.labels.size(0));
    for (const torch::Tensor& chosen : order.split(kBatch)) {
      optimizer.zero_grad();
      const torch::Tensor loss = functional::cross_entropy(
          net->forward(split.images.index_select(0, chosen)),
          split.labels.index_select(0, chosen));
      loss.backward();
      optimizer.step();
    }
  }
  net->eval();
}

torch::Tensor logits(Net& net, const torch::Tensor& images) {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> parts;
  for (const torch::Tensor& batch : images.split(1000)) {
    parts.push_back(net->forward(batch));
  }
  return torch::cat(parts);
}

double accuracy(Net& net, const Split& split) {
  const torch::Tensor hits =
      logits(net, split.images).argmax(1) == split.labels;
  return hits.to(torch::kFloat64).mean().item<double>();
}
