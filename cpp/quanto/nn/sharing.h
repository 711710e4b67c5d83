// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/nn/module.h>

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "quanto/nn/layers.h"

namespace quanto::nn {

/// Another module that holds a layer's weight, under the parameter `name`.
/// `layer` is its place in find_layers(), if it is one.
struct Sharer {
  std::string name;
  std::optional<size_t> layer;
};

/// By the place of a layer: the others that hold its weight, those of another
/// kind first. Only where one of them is of another kind: two linear layers of
/// one weight are nothing to take care of.
std::map<size_t, std::vector<Sharer>> find_sharers(
    torch::nn::Module& model, const std::vector<Layer>& layers);

}  // namespace quanto::nn
