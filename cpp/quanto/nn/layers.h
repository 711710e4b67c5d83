// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/nn/module.h>

#include <memory>
#include <string>
#include <vector>

#include "quanto/nn/module.h"

namespace quanto::nn {

/// A layer of a model of one of the four kinds: a layer of quanto::nn, or a
/// plain torch::nn one.
struct Layer {
  std::vector<std::string> names{};  ///< dotted, all that the model has for it
  std::shared_ptr<torch::nn::Module> module;
  QModule* quantizable = nullptr;  ///< null for a torch::nn layer
  const LayerKind* kind = nullptr;
  at::Tensor weight{};  ///< undefined if frozen, or if there is none
  /// Why the layer cannot be switched: a torch::nn layer that no Sequential
  /// holds, options that forbid it. "" if it can.
  std::string obstacle{};
  /// Whether the obstacle is that the layer is a torch::nn one whose type its
  /// parent knows.
  bool out_of_reach = false;
};

/// All of them, in the order of named_modules(); the model itself is not one.
std::vector<Layer> find_layers(torch::nn::Module& model);

/// The layer as one that can be switched on. A torch::nn layer is first
/// replaced, in every Sequential of `model` that holds it, by one of quanto::nn
/// with the same parameters, options, names and mode; `layer` then describes
/// that one. Throws std::invalid_argument if it has an obstacle.
QModule& reach(torch::nn::Module& model, Layer& layer);

}  // namespace quanto::nn
