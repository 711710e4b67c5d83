// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/model.h"

#include <algorithm>
#include <initializer_list>
#include <set>
#include <string_view>
#include <utility>

#include "quanto/formats/assembly.h"
#include "quanto/formats/codes.h"
#include "quanto/formats/sayings.h"
#include "quanto/formats/tensors.h"

namespace quanto::formats {
namespace {

using io::Checkpoint;
using io::Error;
using io::Result;

/// MODULE of "MODULE.weight._scale", or nullopt.
std::optional<std::string> without_end(const std::string& name,
                                       std::string_view end) {
  if (!name.ends_with(end)) return std::nullopt;
  return name.substr(0, name.size() - end.size());
}

bool is_part(const std::string& name, const std::set<std::string>& modules,
             std::initializer_list<std::string_view> ends) {
  return std::ranges::any_of(ends, [&](std::string_view end) {
    const auto module = without_end(name, end);
    return module && modules.contains(*module);
  });
}

std::set<std::string> quantized_modules(const Tensors& tensors) {
  std::set<std::string> modules;
  for (const auto& [name, found] : tensors.all()) {
    if (const auto module = without_end(name, kScale)) modules.insert(*module);
  }
  return modules;
}

/// The module of the map whose weight is stored as an embedding's only, one
/// that is described alike; empty if there is none.
std::string tied_head(const Sayings& sayings,
                      const std::set<std::string>& modules) {
  if (!sayings.ties_embeddings) return "";
  const auto described = [&](const std::string& module) {
    const auto found = sayings.described.find(module);
    return found == sayings.described.end() ? nullptr : &found->second;
  };
  for (const auto& [module, entry] : sayings.map) {
    const WeightDescription* head = described(module);
    if (!entry.weights || modules.contains(module) || head == nullptr) continue;
    const bool is_shared = std::ranges::any_of(modules, [&](const auto& other) {
      const WeightDescription* weight = described(other);
      return weight != nullptr && *weight == *head;
    });
    if (is_shared) return module;
  }
  return "";
}

io::Status check_all_there(const Sayings& sayings,
                           const std::set<std::string>& modules,
                           const std::string& path) {
  for (const auto& [module, entry] : sayings.map) {
    if (entry.weights && !modules.contains(module)) {
      return Error{path,
                   {},
                   fmt::format("expected a quantized weight of '{}', which {} "
                               "names, got none",
                               module, sayings.map_file)};
    }
  }
  return io::Done{};
}

ModelTensor float_tensor(const std::string& name,
                         const Checkpoint::Found& found) {
  ModelTensor tensor;
  tensor.name = name;
  tensor.type = found.tensor->type;
  tensor.shape = found.tensor->shape;
  tensor.data = found;
  if (name == found.tensor->name) {
    tensor.stored_bytes = found.tensor->bytes();
  } else {
    tensor.tied_to = found.tensor->name;
  }
  return tensor;
}

/// The tensors that are not part of a quantized weight.
void add_others(Model& model, const Tensors& tensors,
                const std::set<std::string>& modules) {
  for (const auto& [name, found] : tensors.all()) {
    if (is_part(name, modules, {kPackedData, kData, kScale, kShift})) continue;
    if (!is_part(name, modules, {kInputScale, kOutputScale})) {
      model.tensors.push_back(float_tensor(name, found));
    } else if (name == found.tensor->name) {
      model.scales.push_back(found);
    }
  }
}

std::span<const std::byte> bytes_of(const Checkpoint::Found& found) {
  return found.file->data(*found.tensor);
}

}  // namespace

int64_t ModelTensor::numel() const { return numel_of(shape); }

Result<Model> describe(const Checkpoint& checkpoint) {
  QUANTO_ASSIGN_OR_RETURN(const Sayings sayings, read_sayings(checkpoint));
  QUANTO_ASSIGN_OR_RETURN(const Tensors tensors, Tensors::read(checkpoint));
  const std::set<std::string> modules = quantized_modules(tensors);
  std::set<std::string> named = modules;  // and a head without tensors
  if (const std::string head = tied_head(sayings, modules); !head.empty()) {
    named.insert(head);
  }
  QUANTO_RETURN_IF_ERROR(check_all_there(sayings, named, checkpoint.path()));
  Model model;
  if (sayings.has_map) model.map = sayings.map;
  for (const std::string& module : modules) {
    QUANTO_ASSIGN_OR_RETURN(ModelTensor weight,
                            put_together(tensors, sayings, module));
    model.tensors.push_back(std::move(weight));
  }
  model.quantized = !modules.empty();
  add_others(model, tensors, named);
  std::ranges::sort(model.tensors, {}, &ModelTensor::name);
  return model;
}

std::span<const std::byte> values(const ModelTensor& tensor, Buffer& room,
                                  Executor& executor) {
  if (!io::is_float(*tensor.type)) return {};
  if (!tensor.facts) return bytes_of(tensor.data);
  room.resize(0);
  if (tensor.numel() == 0) return {};
  StoredWeight weight{};
  weight.dtype = io::core_type(*tensor.type);
  const auto size = static_cast<size_t>(tensor.numel() * size_of(weight.dtype));
  room.resize(size);
  weight.data = bytes_of(tensor.data).data();
  weight.scale = bytes_of(tensor.scale).data();
  if (tensor.shift.tensor != nullptr) {
    weight.shift = bytes_of(tensor.shift).data();
    weight.integer_shift = tensor.shift.tensor->type != tensor.type;
  }
  // Addressed by groups, whatever the shape: those are what is stored.
  weight.rows = numel_of(tensor.scale.tensor->shape);
  weight.columns = tensor.numel() / weight.rows;
  dequantize_weight(weight, {tensor.facts->qtype, {}}, room.data(), executor);
  return room.bytes();
}

}  // namespace quanto::formats
