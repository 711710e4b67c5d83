// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <tuple>

#include "quanto/nn/layers.h"
#include "quanto/nn/quantize.h"

namespace quanto {

namespace {

using nn::Layer;
using nn::QModule;

/// Equal for layers whose quantized weights are the same.
using WeightKey = std::tuple<const at::TensorImpl*, const QType*,
                             std::optional<int64_t>, const Optimizer*>;

WeightKey key_of(const Layer& layer) {
  const nn::Scheme& scheme = layer.quantizable->scheme();
  return {layer.weight.unsafeGetTensorImpl(), scheme.weights, scheme.group_size,
          scheme.optimizer.get()};
}

bool is_to_freeze(const Layer& layer) {
  const QModule* quantizable = layer.quantizable;
  return quantizable != nullptr && quantizable->quantized() &&
         quantizable->scheme().weights != nullptr && !quantizable->frozen();
}

}  // namespace

void freeze(torch::nn::Module& model) {
  std::vector<Layer> layers = nn::find_layers(model);
  std::erase_if(layers,
                [](const Layer& layer) { return !is_to_freeze(layer); });
  for (const Layer& layer : layers) {
    layer.quantizable->check_finite(layer.names.front());
  }
  std::map<WeightKey, std::shared_ptr<nn::FrozenWeight>> frozen;
  for (const Layer& layer : layers) {
    std::shared_ptr<nn::FrozenWeight>& weight = frozen[key_of(layer)];
    if (weight == nullptr) {
      weight =
          std::make_shared<nn::FrozenWeight>(*layer.quantizable->qweight());
    }
    layer.quantizable->freeze(weight);
  }
}

}  // namespace quanto
