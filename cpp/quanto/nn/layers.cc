// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/layers.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/nn/modules/container/any.h>
#include <torch/nn/modules/container/sequential.h>

#include <map>
#include <mutex>
#include <typeindex>
#include <utility>

#include "quanto/nn/check.h"
#include "quanto/nn/conv2d.h"
#include "quanto/nn/embedding.h"
#include "quanto/nn/layer_norm.h"
#include "quanto/nn/linear.h"

namespace quanto::nn {

namespace {

using torch::nn::AnyModule;
using torch::nn::Module;
using torch::nn::SequentialImpl;
using ModulePtr = std::shared_ptr<Module>;

/// A torch::nn layer's counterpart, in the forms in which it is needed.
struct Counterpart {
  AnyModule any;
  ModulePtr module;
  QModule* quantizable;
};

/// What there is to know of a torch::nn layer.
struct TorchKind {
  const LayerKind* kind;
  at::Tensor (*weight)(const Module&);
  Counterpart (*counterpart)(const Module&);
};

template <typename Torch, typename Ours>
TorchKind torch_kind() {
  return {.kind = &Ours::kKind,
          .weight =
              [](const Module& module) {
                return static_cast<const Torch&>(module).weight;
              },
          .counterpart = [](const Module& module) -> Counterpart {
            auto made =
                std::make_shared<Ours>(static_cast<const Torch&>(module));
            return {AnyModule(made), made, made.get()};
          }};
}

/// By the exact type: a class derived from one of these may have a forward of
/// its own.
const TorchKind* find_torch_kind(const Module& module) {
  static const std::map<std::type_index, TorchKind> kinds = {
      {typeid(torch::nn::LinearImpl),
       torch_kind<torch::nn::LinearImpl, LinearImpl>()},
      {typeid(torch::nn::Conv2dImpl),
       torch_kind<torch::nn::Conv2dImpl, Conv2dImpl>()},
      {typeid(torch::nn::LayerNormImpl),
       torch_kind<torch::nn::LayerNormImpl, LayerNormImpl>()},
      {typeid(torch::nn::EmbeddingImpl),
       torch_kind<torch::nn::EmbeddingImpl, EmbeddingImpl>()},
  };
  const auto found = kinds.find(typeid(module));
  return found == kinds.end() ? nullptr : &found->second;
}

std::string_view torch_obstacle(const Module& module) {
  const auto* embedding =
      dynamic_cast<const torch::nn::EmbeddingImpl*>(&module);
  return embedding == nullptr ? ""
                              : EmbeddingImpl::obstacle_of(embedding->options);
}

/// The modules of a model with what holds them, the model itself too.
void for_each_parent(Module& model, const std::function<void(Module&)>& visit) {
  visit(model);
  for (const auto& module : model.modules(/*include_self=*/false)) {
    visit(*module);
  }
}

/// Those that a module of another type than Sequential holds: it calls them by
/// a type of its own.
std::map<const Module*, std::string> typed_members(Module& model) {
  std::map<const Module*, std::string> members;
  for_each_parent(model, [&](Module& parent) {
    if (dynamic_cast<SequentialImpl*>(&parent) != nullptr) return;
    for (const auto& child : parent.named_children()) {
      members.try_emplace(child.value().get(), parent.name());
    }
  });
  return members;
}

Layer describe(const ModulePtr& module, const TorchKind* torch) {
  Layer layer{.module = module};
  if (torch != nullptr) {
    layer.kind = torch->kind;
    layer.weight = torch->weight(*module);
    layer.obstacle = torch_obstacle(*module);
  } else {
    layer.quantizable = dynamic_cast<QModule*>(module.get());
    layer.kind = &layer.quantizable->kind();
    layer.weight = layer.quantizable->float_weight();
    layer.obstacle = layer.quantizable->obstacle();
  }
  if (layer.obstacle.empty() && layer.weight.defined() &&
      layer.weight.numel() == 0) {
    layer.obstacle = "its weight is empty";
  }
  return layer;
}

/// torch's constructors draw random weights, which a counterpart throws away:
/// the numbers that a program draws next must not depend on it.
class KeptRandomState {
 public:
  KeptRandomState() {
    const std::scoped_lock lock(generator_.mutex());
    state_ = generator_.get_state();
  }
  ~KeptRandomState() {
    const std::scoped_lock lock(generator_.mutex());
    generator_.set_state(state_);
  }
  KeptRandomState(const KeptRandomState&) = delete;
  KeptRandomState& operator=(const KeptRandomState&) = delete;

 private:
  at::Generator generator_ = at::detail::getDefaultCPUGenerator();
  at::Tensor state_;
};

void replace(SequentialImpl& parent, const ModulePtr& old,
             const Counterpart& made) {
  for (AnyModule& each : parent) {
    if (each.ptr() == old) each = made.any;
  }
  for (const auto& child : parent.named_children()) {
    if (child.value() == old) parent.replace_module(child.key(), made.module);
  }
}

}  // namespace

std::vector<Layer> find_layers(Module& model) {
  const auto members = typed_members(model);
  std::map<const Module*, size_t> places;
  std::vector<Layer> layers;
  for (const auto& item : model.named_modules("", /*include_self=*/false)) {
    const ModulePtr& module = item.value();
    const TorchKind* torch = find_torch_kind(*module);
    if (torch == nullptr && dynamic_cast<QModule*>(module.get()) == nullptr) {
      continue;
    }
    const auto [place, first] = places.try_emplace(module.get(), layers.size());
    if (first) {
      layers.push_back(describe(module, torch));
      const auto member = members.find(module.get());
      if (torch != nullptr && member != members.end()) {
        layers.back().out_of_reach = true;
        layers.back().obstacle = c10::str(
            member->second, " calls it as torch::nn::", torch->kind->name,
            ": declare quanto::nn::", torch->kind->name);
      }
    }
    layers[place->second].names.push_back(item.key());
  }
  return layers;
}

QModule& reach(Module& model, Layer& layer) {
  check(layer.obstacle.empty(), layer.names.front(),
        ": expected a layer that can be quantized, got an obstacle: ",
        layer.obstacle);
  if (layer.quantizable != nullptr) return *layer.quantizable;
  const TorchKind* torch = find_torch_kind(*layer.module);
  const KeptRandomState kept;
  const Counterpart made = torch->counterpart(*layer.module);
  for_each_parent(model, [&](Module& parent) {
    if (auto* sequential = dynamic_cast<SequentialImpl*>(&parent)) {
      replace(*sequential, layer.module, made);
    }
  });
  layer.module = made.module;
  layer.quantizable = made.quantizable;
  return *made.quantizable;
}

}  // namespace quanto::nn
