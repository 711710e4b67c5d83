// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/reload.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <stdexcept>

#include "quanto/nn/check.h"
#include "quanto/nn/stored_tensor.h"

namespace quanto::nn {
namespace {

using formats::kData, formats::kPackedData, formats::kScale, formats::kShift,
    formats::kInputScale, formats::kOutputScale;

/// Of the float weight.
std::vector<int64_t> size_of(const Layer& layer) {
  return layer.quantizable != nullptr ? layer.quantizable->weight_size()
                                      : layer.weight.sizes().vec();
}

int64_t columns_of(const std::vector<int64_t>& size) {
  int64_t columns = 1;
  for (size_t i = 1; i < size.size(); ++i) columns *= size[i];
  return columns;
}

const QType* type_of(std::optional<QTypeId> id) {
  return id ? &qtype(*id) : nullptr;
}

bool same(const Scheme& left, const Scheme& right) {
  return left.weights == right.weights &&
         left.activations == right.activations &&
         left.dynamic == right.dynamic &&
         left.quantizes_input == right.quantizes_input &&
         left.quantizes_output == right.quantizes_output &&
         left.group_size == right.group_size;
}

std::string joined(const char* what, const std::vector<std::string>& names) {
  std::string line = what;
  for (size_t i = 0; i < names.size(); ++i) line += (i ? ", " : " ") + names[i];
  return line;
}

at::Device device_of(const torch::nn::Module& model) {
  const auto parameters = model.parameters();
  return parameters.empty() ? at::Device(at::kCPU) : parameters[0].device();
}

}  // namespace

Reload::Reload(torch::nn::Module& model, std::string op,
               const formats::StoredCheckpoint& stored)
    : model_(model),
      op_(std::move(op)),
      stored_(stored),
      device_(device_of(model)) {
  std::vector<Layer> layers = find_layers(model);
  for (const auto& [name, entry] : stored.modules) {
    add_target(layers, name, entry);
  }
}

void Reload::add_target(std::vector<Layer>& layers, const std::string& name,
                        const formats::ModuleEntry& entry) {
  if (!entry.weights && !entry.activations) return;
  const auto layer = std::ranges::find_if(layers, [&](const Layer& known) {
    return std::ranges::find(known.names, name) != known.names.end();
  });
  check(layer != layers.end(), op_, ": expected a layer ", name,
        " in the model, which the checkpoint quantizes, got none");
  const Scheme scheme = scheme_of(*layer, name, entry);
  const QModule* known = layer->quantizable;
  check(known == nullptr || !known->frozen() ||
            (known->scheme().weights == scheme.weights &&
             known->scheme().group_size == scheme.group_size),
        op_, ": expected a float weight of ", name,
        " or one as the checkpoint says, got a frozen one of another scheme");
  for (const Target& target : targets_) {
    if (target.layer.module != layer->module) continue;
    check(same(target.scheme, scheme), op_, ": expected equal entries for ",
          target.layer.names.front(), " and ", name,
          ", which are one module, got different ones");
    return;
  }
  targets_.push_back({*layer, scheme, nullptr, {}, {}});
}

Scheme Reload::scheme_of(const Layer& layer, const std::string& name,
                         const formats::ModuleEntry& entry) const {
  check(layer.obstacle.empty(), op_, ": expected ", name,
        " to be quantizable, got: ", layer.obstacle);
  const LayerKind& kind = *layer.kind;
  check(kind.quantizes_weight == entry.weights.has_value(), op_, ": expected ",
        kind.quantizes_weight ? "a type for the weight of "
                              : "a float weight of ",
        name, ", got ", entry.weights ? qtype(*entry.weights).name : "none");
  Scheme scheme;
  scheme.weights = type_of(entry.weights);
  scheme.activations =
      kind.quantizes_activations ? type_of(entry.activations) : nullptr;
  if (scheme.activations != nullptr) {
    scheme.dynamic = entry.dynamic;
    // The predecessor quantizes the inputs of linear layers, and all outputs.
    const bool linear = std::string_view(kind.name) == "Linear";
    scheme.quantizes_input = entry.quantized_input.value_or(linear);
    scheme.quantizes_output = entry.quantized_output.value_or(true);
  }
  if (scheme.weights == nullptr || scheme.weights->bits == 8) return scheme;
  scheme.group_size = entry.group_size;
  const bool whole = entry.group_size == columns_of(size_of(layer));
  if (whole && !entry.group_size_known) scheme.group_size.reset();
  return scheme;
}

void Reload::check_quantized() const {
  for (const Target& target : targets_) {
    const QModule* layer = target.layer.quantizable;
    check(layer != nullptr && layer->quantized() &&
              same(layer->scheme(), target.scheme),
          op_, ": expected ", target.layer.names.front(),
          " to be quantized as the checkpoint says, got ",
          layer != nullptr && layer->quantized() ? "another scheme" : "float",
          " (requantize quantizes it)");
  }
}

std::string Reload::find(const std::vector<std::string>& names,
                         std::string_view end, Problems& missing) {
  std::string found;
  for (const std::string& name : names) {
    const std::string key = name + std::string(end);
    expected_.insert(key);
    if (found.empty() && stored_.tensors.contains(key)) found = key;
  }
  if (found.empty()) missing.push_back(names.front() + std::string(end));
  return found;
}

at::Tensor Reload::read(const std::string& name) const {
  return mapped_tensor(name, stored_.tensors.at(name), stored_.owner)
      .to(device_);
}

void Reload::read_weight(Target& target, Problems& missing, Problems& wrong) {
  const std::vector<std::string>& names = target.layer.names;
  const QType& type = *target.scheme.weights;
  const bool bytes = type.bits == 8;
  const std::string data = find(names, bytes ? kData : kPackedData, missing);
  const std::string scale = find(names, kScale, missing);
  const std::string shift = bytes ? "" : find(names, kShift, missing);
  if (data.empty() || scale.empty() || (!bytes && shift.empty())) return;
  std::shared_ptr<FrozenWeight>& known = weights_[{
      stored_.tensors.at(data).data, &type, target.scheme.group_size}];
  target.weight = known;
  if (known != nullptr) return;
  QWeight weight;
  weight.qtype = &type;
  weight.group_size = target.scheme.group_size;
  weight.size = size_of(target.layer);
  if (!bytes || weight.size.front() != 1) weight.axis = 0;
  weight.data = read(data);
  weight.scale = read(scale);
  if (!bytes) weight.shift = read(shift);
  try {
    check_weight(weight, names.front() + ".weight");
    target.weight = known = std::make_shared<FrozenWeight>(weight);
  } catch (const std::invalid_argument& error) {
    wrong.emplace_back(error.what());
  }
}

at::Tensor Reload::read_scale(const Target& target, std::string_view end,
                              Problems& missing, Problems& wrong) {
  const std::string name = find(target.layer.names, end, missing);
  if (name.empty()) return {};
  at::Tensor scale = read(name);
  if (scale.dim() != 0 || !scale.is_floating_point()) {
    wrong.push_back(c10::str("expected a float scalar as ", name, ", got ",
                             scale.scalar_type(), " ", scale.sizes()));
  }
  return scale;
}

void Reload::read_target(Target& target, Problems& missing, Problems& wrong) {
  if (target.scheme.weights != nullptr) read_weight(target, missing, wrong);
  target.input_scale = read_scale(target, kInputScale, missing, wrong);
  target.output_scale = read_scale(target, kOutputScale, missing, wrong);
}

void Reload::read_others(Problems& missing, Problems& wrong) {
  std::set<std::string> replaced;
  for (const Target& target : targets_) {
    for (const std::string& name : target.layer.names) {
      if (target.scheme.weights != nullptr) replaced.insert(name + ".weight");
      for (const std::string_view end :
           {kData, kPackedData, kScale, kShift, kInputScale, kOutputScale}) {
        replaced.insert(name + std::string(end));
      }
    }
  }
  for (StateTensor& state : state_of(model_)) {
    std::erase_if(state.names, [&](const std::string& name) {
      return replaced.contains(name);
    });
    if (state.names.empty()) continue;
    const std::string name = find(state.names, "", missing);
    if (name.empty()) continue;
    at::Tensor theirs = read(name);
    if (theirs.sizes() != state.tensor.sizes() ||
        theirs.is_floating_point() != state.tensor.is_floating_point()) {
      wrong.push_back(c10::str("expected ", state.tensor.scalar_type(), " ",
                               state.tensor.sizes(), " as ", name, ", got ",
                               theirs.scalar_type(), " ", theirs.sizes()));
    }
    others_.emplace_back(state.tensor, std::move(theirs));
  }
}

Reload::Problems Reload::unexpected() const {
  Problems names;
  for (const auto& [name, tensor] : stored_.tensors) {
    if (!expected_.contains(name)) names.push_back(name);
  }
  return names;
}

void Reload::check_tensors() {
  Problems missing, wrong;
  for (Target& target : targets_) read_target(target, missing, wrong);
  read_others(missing, wrong);
  Problems problems;
  const Problems extra = unexpected();
  if (!missing.empty()) problems.push_back(joined("missing keys:", missing));
  if (!extra.empty()) problems.push_back(joined("unexpected keys:", extra));
  problems.insert(problems.end(), wrong.begin(), wrong.end());
  std::string line;
  for (const std::string& problem : problems) {
    line += (line.empty() ? "" : "; ") + problem;
  }
  check(problems.empty(), op_, ": ", line);
}

void Reload::apply() {
  const at::NoGradGuard no_grad;
  for (Target& target : targets_) {
    QModule& layer = reach(model_, target.layer);
    layer.switch_on(target.scheme);
    if (target.weight != nullptr) layer.freeze(target.weight);
    layer.input_scale.set_data(target.input_scale);
    layer.output_scale.set_data(target.output_scale);
  }
  for (auto& [mine, theirs] : others_) mine.set_data(theirs);
}

}  // namespace quanto::nn
