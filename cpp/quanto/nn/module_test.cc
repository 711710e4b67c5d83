// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/module.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <sstream>

#include "quanto/nn/calibration.h"
#include "quanto/nn/conv2d.h"
#include "quanto/nn/linear.h"
#include "quanto/nn/quantize.h"

namespace quanto {
namespace {

struct NetImpl : torch::nn::Cloneable<NetImpl> {
  NetImpl() { reset(); }
  void reset() override {
    first = register_module("first", nn::Linear(64, 32));
    second = register_module("second", nn::Linear(32, 4));
  }
  at::Tensor forward(const at::Tensor& x) { return second(first(x)); }

  nn::Linear first{nullptr};
  nn::Linear second{nullptr};
};
TORCH_MODULE(Net);

std::vector<std::string> keys(const torch::nn::Module& module) {
  std::vector<std::string> names;
  for (const auto& item : module.named_parameters())
    names.push_back(item.key());
  for (const auto& item : module.named_buffers()) names.push_back(item.key());
  std::ranges::sort(names);
  return names;
}

TEST(ModuleTest, AFloatLayerIsTorchs) {
  torch::manual_seed(0);
  nn::Linear mine(8, 4);
  torch::manual_seed(0);
  torch::nn::Linear theirs(8, 4);
  const at::Tensor x = torch::randn({2, 8});
  EXPECT_TRUE(at::equal(mine(x), theirs(x)));
  const auto conv = torch::nn::Conv2dOptions(2, 4, {3, 4})
                        .padding(torch::kSame)
                        .dilation({1, 2});
  torch::manual_seed(0);
  nn::Conv2d my_conv(conv);
  torch::manual_seed(0);
  torch::nn::Conv2d their_conv(conv);
  const at::Tensor image = torch::randn({1, 2, 9, 9});
  EXPECT_TRUE(at::allclose(my_conv(image), their_conv(image)));
}

TEST(ModuleTest, AFrozenLayerHasTheNamesOfTheFormat) {
  nn::Linear layer(64, 32);
  layer->switch_on({.weights = &qtype(QTypeId::kQInt4), .group_size = 32});
  layer->freeze();
  EXPECT_FALSE(layer->weight.defined());
  EXPECT_EQ(keys(*layer),
            (std::vector<std::string>{"bias", "input_scale", "output_scale",
                                      "weight._data._data", "weight._scale",
                                      "weight._shift"}));
}

TEST(ModuleTest, ACloneIsQuantizedAndItsOwn) {
  const torch::NoGradGuard no_grad;
  const at::Tensor x = torch::randn({3, 64});
  for (const char* weights : {"int8", "int4"}) {
    Net net;
    quantize(*net, {.weights = weights, .activations = "int8"});
    {
      const Calibration calibration;
      net(x);
    }
    const auto trained = std::dynamic_pointer_cast<NetImpl>(net->clone());
    EXPECT_TRUE(at::equal(trained->forward(x), net(x)));
    freeze(*net);
    const auto copy = std::dynamic_pointer_cast<NetImpl>(net->clone());
    const at::Tensor expected = net(x);
    EXPECT_TRUE(copy->first->frozen());
    EXPECT_TRUE(at::equal(copy->forward(x), expected));
    net->first->frozen_weight()->value().scale.fill_(0);
    net->second->input_scale.fill_(9);
    EXPECT_TRUE(at::equal(copy->forward(x), expected));
  }
}

TEST(ModuleTest, MovesBetweenDtypesKeepCodes) {
  Net net;
  quantize(*net, {.weights = "int8"});
  freeze(*net);
  const at::Tensor codes = net->first->qweight()->data.clone();
  net->to(at::kBFloat16);
  const QWeight weight = *net->first->qweight();
  EXPECT_TRUE(at::equal(weight.data, codes));
  EXPECT_EQ(weight.dtype(), at::kBFloat16);
  const torch::NoGradGuard no_grad;
  EXPECT_EQ(net(torch::randn({2, 64}).to(at::kBFloat16)).scalar_type(),
            at::kBFloat16);
  EXPECT_THROW(net(torch::randn({2, 64})), c10::ValueError);
}

TEST(ModuleTest, SavesAndLoadsAsAnyTorchModule) {
  Net net;
  quantize(*net, {.weights = "int4"});
  freeze(*net);
  std::stringstream archive;
  torch::save(net, archive);
  Net other;
  quantize(*other, {.weights = "int4"});
  freeze(*other);
  torch::load(other, archive);
  const torch::NoGradGuard no_grad;
  const at::Tensor x = torch::randn({2, 64});
  EXPECT_TRUE(at::equal(other(x), net(x)));
}

TEST(ModuleTest, LearnsThroughTheQuantization) {
  torch::manual_seed(0);
  Net net;
  const at::Tensor x = torch::randn({64, 64});
  const at::Tensor y = x.slice(1, 0, 4).clone();
  quantize(*net, {.weights = "int4", .activations = "int8", .dynamic = true});
  torch::optim::Adam optimizer(net->parameters(), 1e-2);
  double first = 0;
  double last = 0;
  for (int step = 0; step < 60; ++step) {
    optimizer.zero_grad();
    const at::Tensor loss = torch::mse_loss(net(x), y);
    loss.backward();
    optimizer.step();
    (step == 0 ? first : last) = loss.item<double>();
  }
  EXPECT_LT(last, first / 4);
}

TEST(ModuleTest, SchemesThatDoNotFitAreRefused) {
  nn::Linear layer(64, 32);
  EXPECT_THROW(layer->switch_on({}), std::invalid_argument);
  EXPECT_THROW(layer->freeze(), std::invalid_argument);
  layer->switch_on({.weights = &qtype(QTypeId::kQInt8)});
  layer->freeze();
  EXPECT_THROW(layer->switch_on({.weights = &qtype(QTypeId::kQInt4)}),
               std::invalid_argument);
}

TEST(CalibrationTest, AnExceptionRestoresTheOutputs) {
  Net net;
  quantize(*net, {.weights = "int8", .activations = "int8"});
  try {
    const Calibration calibration;
    net(torch::randn({2, 64}));
    throw std::runtime_error("a batch that fails");
  } catch (const std::runtime_error&) {
  }
  EXPECT_TRUE(net->first->scheme().quantizes_output);
  EXPECT_NE(net->first->input_scale.item<float>(), 1);
  {
    const Calibration calibration;
    net(torch::randn({2, 64}));
  }
  EXPECT_FALSE(net->first->scheme().quantizes_output);
  EXPECT_EQ(Calibration::active(), nullptr);
}

TEST(CalibrationTest, RefusesAMomentumOutOfRange) {
  EXPECT_THROW(Calibration(1.5), std::invalid_argument);
  EXPECT_EQ(Calibration::active(), nullptr);
}

TEST(WeightTest, FakeQuantizePassesTheGradient) {
  const at::Tensor weight = torch::randn({4, 32}).requires_grad_();
  const at::Tensor values =
      fake_quantize_weight(weight, qtype(QTypeId::kQInt4), 0, 16);
  EXPECT_TRUE(at::equal(
      values,
      quantize_weight(weight, qtype(QTypeId::kQInt4), 0, 16).dequantize()));
  const at::Tensor gradient = torch::randn({4, 32});
  values.backward(gradient);
  EXPECT_TRUE(at::equal(weight.grad(), gradient));
}

}  // namespace
}  // namespace quanto
