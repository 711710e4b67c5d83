// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <utility>
#include <vector>

#include "quanto/nn/check.h"
#include "quanto/nn/layers.h"
#include "quanto/nn/model_state.h"
#include "quanto/nn/serialize.h"
#include "quanto/nn/stored_tensor.h"

namespace quanto {

namespace nn {

std::vector<StateTensor> state_of(const torch::nn::Module& model) {
  std::vector<StateTensor> state;
  std::map<const void*, size_t> places;
  const auto add = [&](const std::string& name, const at::Tensor& tensor) {
    if (!tensor.defined()) return;
    const auto [place, is_new] =
        places.emplace(tensor.unsafeGetTensorImpl(), state.size());
    if (is_new) state.push_back({{}, tensor});
    state[place->second].names.push_back(name);
  };
  for (const auto& item : model.named_parameters()) {
    add(item.key(), item.value());
  }
  for (const auto& item : model.named_buffers()) add(item.key(), item.value());
  return state;
}

}  // namespace nn

namespace {

std::optional<QTypeId> id_of(const QType* type) {
  return type == nullptr ? std::nullopt : std::optional(type->id);
}

formats::ModuleEntry entry_of(const nn::Scheme& scheme) {
  formats::ModuleEntry entry;
  entry.weights = id_of(scheme.weights);
  entry.activations = id_of(scheme.activations);
  entry.group_size = scheme.group_size;
  entry.dynamic = scheme.dynamic;
  entry.quantized_input = scheme.quantizes_input;
  entry.quantized_output = scheme.quantizes_output;
  return entry;
}

formats::WeightDescription description_of(const QWeight& weight) {
  return {{weight.qtype->id, weight.group_size},
          weight.size,
          weight.shift && !weight.shift->is_floating_point()};
}

formats::NewSayings sayings_of(torch::nn::Module& model) {
  formats::NewSayings sayings;
  for (const nn::Layer& layer : nn::find_layers(model)) {
    nn::QModule* quantizable = layer.quantizable;
    if (quantizable == nullptr || !quantizable->quantized()) continue;
    const std::string& name = layer.names.front();
    const nn::Scheme& scheme = quantizable->scheme();
    nn::check(scheme.weights == nullptr || quantizable->frozen(),
              "save: expected a frozen model (quanto::freeze), got ", name,
              " with a float weight");
    sayings.modules[name] = entry_of(scheme);
    if (scheme.weights != nullptr) {
      sayings.weights[name] = description_of(*quantizable->qweight());
    }
  }
  return sayings;
}

}  // namespace

void save(torch::nn::Module& model, const std::string& path) {
  nn::check(dynamic_cast<nn::QModule*>(&model) == nullptr,
            "save: expected a model that holds its layers, got a layer");
  formats::NewSayings sayings = sayings_of(model);
  std::vector<formats::NewTensor> tensors;
  for (const nn::StateTensor& state : nn::state_of(model)) {
    const std::string& name = state.names.front();
    for (const std::string& other : state.names) {
      if (other != name) sayings.tied[other] = name;
    }
    tensors.push_back(nn::new_tensor(name, state.tensor));
  }
  formats::write_checkpoint(path, tensors, sayings);
}

}  // namespace quanto
