// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/sharing.h"

#include <algorithm>
#include <set>

namespace quanto::nn {

namespace {

/// Equal for one weight, float or frozen; null for none.
const void* identity(const Layer& layer) {
  if (layer.quantizable != nullptr && layer.quantizable->frozen()) {
    return layer.quantizable->frozen_weight().get();
  }
  return layer.weight.defined() ? layer.weight.unsafeGetTensorImpl() : nullptr;
}

/// Who holds each weight: layers, then parameters of other modules.
std::map<const void*, std::vector<Sharer>> find_holders(
    torch::nn::Module& model, const std::vector<Layer>& layers) {
  std::map<const void*, std::vector<Sharer>> holders;
  std::set<std::string> of_layers;
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string name = layers[i].names.front() + ".weight";
    holders[identity(layers[i])].push_back({name, i});
    for (const std::string& each : layers[i].names) {
      of_layers.insert(each + ".weight");
    }
  }
  holders.erase(nullptr);
  for (const auto& parameter : model.named_parameters()) {
    const auto place = holders.find(parameter.value().unsafeGetTensorImpl());
    if (place != holders.end() && !of_layers.contains(parameter.key())) {
      place->second.push_back({parameter.key(), std::nullopt});
    }
  }
  return holders;
}

}  // namespace

std::map<size_t, std::vector<Sharer>> find_sharers(
    torch::nn::Module& model, const std::vector<Layer>& layers) {
  std::map<size_t, std::vector<Sharer>> sharers;
  for (const auto& [weight, holders] : find_holders(model, layers)) {
    for (const Sharer& holder : holders) {
      if (!holder.layer) continue;
      const LayerKind* kind = layers[*holder.layer].kind;
      const auto same = [&](const Sharer& other) {
        return other.layer && layers[*other.layer].kind == kind;
      };
      std::vector<Sharer> others;
      std::ranges::copy_if(
          holders, std::back_inserter(others),
          [&](const Sharer& other) { return other.layer != holder.layer; });
      std::ranges::stable_partition(
          others, [&](const Sharer& other) { return !same(other); });
      if (!others.empty() && !same(others.front())) {
        sharers.emplace(*holder.layer, std::move(others));
      }
    }
  }
  return sharers;
}

}  // namespace quanto::nn
