// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>

#include "quanto/nn/nn.h"

// The code of docs/cpp-sdk.md, line by line: tests/python/test_sdk_docs.py
// compares.

namespace {

struct NetImpl : torch::nn::Module {
  torch::Tensor forward(const torch::Tensor& x) {
    return classify(torch::relu(hidden(x)));
  }

  quanto::nn::Linear hidden =
      register_module("hidden", quanto::nn::Linear(64, 128));
  quanto::nn::Linear classify =
      register_module("classify", quanto::nn::Linear(128, 10));
};
TORCH_MODULE(Net);

TEST(SdkDocsTest, TheCodeOfThePageRuns) {
  Net net;
  const std::vector<torch::Tensor> batches = {torch::randn({4, 64}),
                                              torch::randn({4, 64})};
  const torch::Tensor labels = torch::randint(0, 10, {4});
  const std::string path =
      (std::filesystem::temp_directory_path() /
       ("sdk_docs_test." + std::to_string(getpid()) + ".safetensors"))
          .string();

  const quanto::QuantizeReport report =
      quanto::quantize(*net, {.weights = "int8", .activations = "int8"});
  std::cout << report << "\n";

  {
    const quanto::Calibration calibration;
    for (const torch::Tensor& batch : batches) net->forward(batch);
  }

  torch::optim::SGD optimizer(net->parameters(), 0.01);
  torch::nn::functional::cross_entropy(net->forward(batches[0]), labels)
      .backward();
  optimizer.step();

  quanto::freeze(*net);
  const torch::NoGradGuard no_grad;
  const torch::Tensor logits = net->forward(batches[0]);

  quanto::save(*net, path);
  Net other;
  quanto::requantize(*other, path);

  EXPECT_EQ(report.switched.size(), 2);
  EXPECT_TRUE(torch::equal(other->forward(batches[0]), logits));
  std::filesystem::remove(path);
}

}  // namespace
