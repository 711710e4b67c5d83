// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/nn/module.h>

#include <string>
#include <vector>

namespace quanto::nn {

/// A tensor of a model and its names; several where modules share it.
struct StateTensor {
  std::vector<std::string> names;
  at::Tensor tensor;
};

/// The parameters, then the buffers, in the order of the modules.
std::vector<StateTensor> state_of(const torch::nn::Module& model);

}  // namespace quanto::nn
