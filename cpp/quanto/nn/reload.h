// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/nn/module.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "quanto/formats/stored.h"
#include "quanto/nn/layers.h"
#include "quanto/nn/model_state.h"

namespace quanto::nn {

/// What a reload will put where, and why it cannot: all that is known before a
/// model is changed. `op` is for messages.
class Reload {
 public:
  /// Throws std::invalid_argument for a map that does not fit the model.
  Reload(torch::nn::Module& model, std::string op,
         const formats::StoredCheckpoint& stored);

  /// Throws std::invalid_argument unless every layer is quantized as the map
  /// says.
  void check_quantized() const;

  /// Throws std::invalid_argument, in one message, for what is missing,
  /// unexpected or misshapen.
  void check_tensors();

  void apply();

 private:
  /// A layer that the map names, its scheme, and its weight once it is read.
  struct Target {
    Layer layer;
    Scheme scheme;
    std::shared_ptr<FrozenWeight> weight;  ///< null: it stays float
    at::Tensor input_scale, output_scale;
  };
  using Problems = std::vector<std::string>;

  [[nodiscard]] Scheme scheme_of(const Layer& layer, const std::string& name,
                                 const formats::ModuleEntry& entry) const;
  void add_target(std::vector<Layer>& layers, const std::string& name,
                  const formats::ModuleEntry& entry);
  /// The file's name of a part of the target, or "" after noting it missing.
  std::string find(const std::vector<std::string>& names, std::string_view end,
                   Problems& missing);
  [[nodiscard]] at::Tensor read(const std::string& name) const;
  void read_target(Target& target, Problems& missing, Problems& wrong);
  void read_weight(Target& target, Problems& missing, Problems& wrong);
  at::Tensor read_scale(const Target& target, std::string_view end,
                        Problems& missing, Problems& wrong);
  void read_others(Problems& missing, Problems& wrong);
  [[nodiscard]] Problems unexpected() const;

  torch::nn::Module& model_;
  std::string op_;
  const formats::StoredCheckpoint& stored_;
  at::Device device_;
  std::vector<Target> targets_;
  std::vector<std::pair<at::Tensor, at::Tensor>> others_;  ///< mine, theirs
  /// Weights made so far, by codes and scheme: layers that are tied share one.
  std::map<std::tuple<const void*, const QType*, std::optional<int64_t>>,
           std::shared_ptr<FrozenWeight>>
      weights_;
  std::set<std::string> expected_;
};

}  // namespace quanto::nn
