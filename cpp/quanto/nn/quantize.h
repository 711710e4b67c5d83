// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "quanto/nn/optimizer.h"

namespace quanto {

/// What quantize() of Python takes, by the same names.
struct QuantizeOptions {
  /// Type of the weights: "int8" and "qint8" alike.
  std::optional<std::string> weights{};
  /// An 8-bit type for the inputs and outputs of the layers; static scales come
  /// from a Calibration.
  std::optional<std::string> activations{};
  /// Activations take their scales from the values at hand, one for each row
  /// (or image); outputs stay float.
  bool dynamic = false;
  /// Elements that share a scale, for 4 and 2 bits; must divide the elements of
  /// one output of every layer. Default: automatic_group_size().
  std::optional<int64_t> group_size{};
  /// Default: absmax for 8 bits, max for 4 and 2.
  OptimizerPtr optimizer{};
  /// Shell patterns of dotted names ("*" matches dots); exclude wins.
  std::optional<std::vector<std::string>> include{};
  std::vector<std::string> exclude{};
};

/// A layer that stays as it is, and why.
struct LayerLeft {
  std::string name;
  std::string reason;
};

struct QuantizeReport {
  /// Layers that are quantized from now on.
  std::vector<std::string> switched;
  /// torch::nn layers that the options ask for and that cannot be reached: a
  /// member of the type torch::nn::Linear is called by that type. Declare it as
  /// quanto::nn::Linear.
  std::vector<LayerLeft> out_of_reach;
  /// Layers that `exclude` names.
  std::vector<std::string> excluded;
  /// Others that stay: frozen already, a weight that is shared, options of the
  /// layer.
  std::vector<LayerLeft> left;
};

/// One line per layer that stays, after a line of counts.
std::ostream& operator<<(std::ostream& stream, const QuantizeReport& report);

/// Switches the layers of quanto::nn in a model to quantized weights, in place,
/// and replaces those of torch::nn inside a torch::nn::Sequential, at any
/// depth. Weights stay float parameters until freeze(), so the model can be
/// trained.
///
/// Layer norms are switched where static activations are asked for. Embeddings
/// are switched only where `include` names them by their own name
/// ("model.embed" or "*embed*", not "*" or "model.*"). A linear layer whose
/// weight is also that of an embedding stays float unless `include` names one
/// of the two: then both are quantized and freeze() keeps one weight.
///
/// Layers that are quantized but not frozen are quantized anew. A frozen one
/// keeps its weight: activations can be added to it, another type leaves it as
/// it is.
///
/// Throws std::invalid_argument, before anything is changed, for what Python
/// raises ValueError: no type at all, a type that is not known, weights that
/// lack a type, activations not of 8 bits, dynamic without activations, an
/// optimizer or a group size that does not fit, a pattern that matches nothing,
/// nothing to quantize; and for weights not of float32, float16 or bfloat16.
QuantizeReport quantize(torch::nn::Module& model,
                        const QuantizeOptions& options);

/// Replaces the float weights of all layers that are switched on by their
/// codes. Layers that share one float weight share the quantized one. Throws
/// std::invalid_argument, before any is replaced, for values that are not
/// finite.
void freeze(torch::nn::Module& model);

}  // namespace quanto
