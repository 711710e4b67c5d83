// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/nn/module.h>

#include <string>
#include <vector>

#include "quanto/nn/layers.h"
#include "quanto/nn/quantize.h"

namespace quanto::nn {

/// What is asked for, with names resolved; `activations` without `dynamic` are
/// static.
struct Types {
  const QType* weights = nullptr;
  const QType* activations = nullptr;
  bool dynamic = false;
};

/// The layers to switch, and a report of those that could be meant but stay.
struct Selection {
  std::vector<Layer> chosen;
  QuantizeReport report;
};

/// Chooses by name, kind and state. Throws std::invalid_argument if a pattern
/// matches nothing, if nothing is chosen though nothing was quantized before,
/// or if only one of two layers that share a weight could be quantized.
Selection select(torch::nn::Module& model, const Types& types,
                 const QuantizeOptions& options);

}  // namespace quanto::nn
