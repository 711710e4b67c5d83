// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/quantize.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <functional>
#include <sstream>

#include "quanto/nn/conv2d.h"
#include "quanto/nn/embedding.h"
#include "quanto/nn/layers.h"
#include "quanto/nn/linear.h"

namespace quanto {
namespace {

using Names = std::vector<std::string>;

struct NetImpl : torch::nn::Module {
  NetImpl() {
    register_module("body", body);
    register_module("fixed", fixed);
    register_module("head", head);
    register_module("list", list);
    list->push_back(torch::nn::Linear(32, 32));
  }

  at::Tensor forward(const at::Tensor& x) {
    return head(fixed(body->forward(x)));
  }

  torch::nn::Sequential body{{{"in", torch::nn::Linear(64, 32)},
                              {"act", torch::nn::ReLU()},
                              {"out", torch::nn::Linear(32, 32)}}};
  torch::nn::Linear fixed{32, 32};
  nn::Linear head{32, 4};
  torch::nn::ModuleList list;
};
TORCH_MODULE(Net);

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "no error";
}

Names names_of(const std::vector<LayerLeft>& layers) {
  Names names;
  for (const LayerLeft& layer : layers) names.push_back(layer.name);
  return names;
}

TEST(QuantizeTest, SwitchesWhatItReachesAndNamesTheRest) {
  Net net;
  const auto report = quantize(*net, {.weights = "int8"});
  EXPECT_EQ(report.switched, (Names{"body.in", "body.out", "head"}));
  EXPECT_EQ(names_of(report.out_of_reach), (Names{"fixed", "list.0"}));
  EXPECT_NE(report.out_of_reach[0].reason.find("declare quanto::nn::Linear"),
            std::string::npos);
  std::ostringstream text;
  text << report;
  EXPECT_NE(text.str().find("3 layers quantized, 2 left"), std::string::npos)
      << text.str();
}

TEST(QuantizeTest, RebuildsASequentialInPlace) {
  Net net;
  net->eval();
  const auto parameters = net->named_parameters();
  torch::manual_seed(1);
  quantize(*net, {.weights = "int8"});
  const at::Tensor drawn = torch::rand({3});
  torch::manual_seed(1);
  EXPECT_TRUE(at::equal(drawn, torch::rand({3})));
  EXPECT_NE(net->body->ptr(0)->as<nn::LinearImpl>(), nullptr);
  EXPECT_FALSE(net->body->ptr(0)->is_training());
  for (const auto& parameter : net->named_parameters()) {
    EXPECT_TRUE(parameter.value().is_same(parameters[parameter.key()]));
  }
}

TEST(QuantizeTest, FreezingChangesNoResult) {
  Net net;
  const torch::NoGradGuard no_grad;
  const at::Tensor x = torch::randn({8, 64});
  const at::Tensor plain = net(x);
  quantize(*net, {.weights = "int8"});
  const at::Tensor trained = net(x);
  freeze(*net);
  EXPECT_TRUE(at::equal(net(x), trained));
  EXPECT_FALSE(at::equal(trained, plain));
}

TEST(QuantizeTest, IncludesAndExcludesByName) {
  Net net;
  const auto report = quantize(
      *net, {.weights = "int4", .include = {{"body.*"}}, .exclude = {"*.in"}});
  EXPECT_EQ(report.switched, Names{"body.out"});
  EXPECT_EQ(report.excluded, Names{"body.in"});
  EXPECT_FALSE(net->head->quantized());
}

TEST(QuantizeTest, RefusesBadOptionsBeforeItChangesAnything) {
  Net net;
  const auto error = [&](const QuantizeOptions& options) {
    return error_of([&] { quantize(*net, options); });
  };
  EXPECT_NE(error({}).find("got neither"), std::string::npos);
  EXPECT_NE(error({.weights = "int3"}).find("expected one of qint2"),
            std::string::npos);
  EXPECT_EQ(error({.weights = "int8", .activations = "int4"}),
            "quantize: expected an 8-bit type for activations, got qint4");
  EXPECT_EQ(error({.weights = "int8", .dynamic = true}),
            "quantize: expected a type for activations with dynamic, got none");
  EXPECT_EQ(error({.weights = "int8", .exclude = {"nothing*"}}),
            "quantize: expected exclude to match modules, got none for "
            "nothing*");
  EXPECT_EQ(error({.weights = "int8", .include = {{"head", "tail"}}}),
            "quantize: expected include to match layers that can be "
            "quantized, got none for tail");
  EXPECT_EQ(error({.weights = "int4", .group_size = 48}),
            "quantize: body.in: expected group_size to divide 64, got 48");
  EXPECT_NE(error({.weights = "int8", .optimizer = max_optimizer()})
                .find("expected an optimizer of scales for qint8, got max"),
            std::string::npos);
  EXPECT_NE(error({.weights = "int8", .include = {{"fixed"}}})
                .find("expected a layer to quantize, got none; fixed ("),
            std::string::npos);
  EXPECT_EQ(net->body->ptr(0)->as<nn::LinearImpl>(), nullptr);
  EXPECT_FALSE(net->head->quantized());
}

TEST(QuantizeTest, LeavesAFrozenLayerAsItIs) {
  Net net;
  quantize(*net, {.weights = "int8", .include = {{"head"}}});
  freeze(*net);
  const auto report = quantize(*net, {.weights = "int4"});
  EXPECT_EQ(names_of(report.left), Names{"head"});
  EXPECT_EQ(report.left[0].reason, "frozen as qint8");
  quantize(*net, {.activations = "int8", .include = {{"head"}}});
  EXPECT_EQ(net->head->scheme().weights->name, "qint8");
  EXPECT_TRUE(net->head->scheme().quantizes_output);
}

TEST(QuantizeTest, AnEmbeddingIsQuantizedOnlyByItsName) {
  torch::nn::Sequential model(
      {{"embed", nn::Embedding(10, 32)}, {"out", nn::Linear(32, 10)}});
  EXPECT_EQ(quantize(*model, {.weights = "int8", .include = {{"*"}}}).switched,
            Names{"out"});
  EXPECT_EQ(
      quantize(*model, {.weights = "int8", .include = {{"emb*"}}}).switched,
      Names{"embed"});
}

struct TiedImpl : torch::nn::Module {
  TiedImpl() {
    register_module("embed", embed);
    register_module("head", head);
    head->weight = embed->weight;
  }
  nn::Embedding embed{10, 32};
  nn::Linear head{torch::nn::LinearOptions(32, 10).bias(false)};
};
TORCH_MODULE(Tied);

TEST(QuantizeTest, ATiedHeadStaysFloatUnlessItIsNamed) {
  Tied tied;
  const std::string message =
      error_of([&] { quantize(*tied, {.weights = "int8"}); });
  EXPECT_NE(message.find("its weight is shared with embed.weight"),
            std::string::npos)
      << message;
  const auto report =
      quantize(*tied, {.weights = "int8", .include = {{"head"}}});
  EXPECT_EQ(report.switched, (Names{"head", "embed"}));
  freeze(*tied);
  EXPECT_EQ(tied->head->frozen_weight(), tied->embed->frozen_weight());
}

TEST(QuantizeTest, FreezeRefusesValuesThatAreNotFinite) {
  Net net;
  quantize(*net, {.weights = "int8"});
  {
    const torch::NoGradGuard no_grad;
    net->head->weight[0][0] = INFINITY;
  }
  EXPECT_EQ(error_of([&] { freeze(*net); }),
            "freeze: expected finite values in head.weight, got inf or nan");
  EXPECT_FALSE(net->body->ptr(0)->as<nn::LinearImpl>()->frozen());
}

}  // namespace
}  // namespace quanto
