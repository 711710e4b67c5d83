// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/stored.h"

#include <span>
#include <stdexcept>
#include <utility>

#include "quanto/formats/metadata.h"
#include "quanto/formats/model.h"
#include "quanto/formats/tensors.h"
#include "quanto/io/checkpoint.h"

namespace quanto::formats {
namespace {

template <typename T>
T value_of(io::Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.error().line());
  return std::move(result).value();
}

ModuleMap modules_of(const Model& model) {
  ModuleMap modules = model.map.value_or(ModuleMap());
  for (const ModelTensor& tensor : model.tensors) {
    const auto module = module_of(tensor.name);
    if (!tensor.facts || !module) continue;
    const bool is_said = modules.contains(*module);
    ModuleEntry& entry = modules[*module];
    // What is said of a module holds for those that are tied to it.
    const auto owner = module_of(tensor.tied_to.value_or(""));
    if (!is_said && owner && modules.contains(*owner)) {
      entry = modules[*owner];
    } else if (!is_said) {
      entry.weights = tensor.facts->qtype;
      entry.group_size_known = tensor.shape_known;
      entry.quantized_input = entry.quantized_output = false;
    }
    if (!is_said || !entry.group_size_known) {
      entry.group_size = tensor.facts->group_size;
    }
  }
  return modules;
}

std::map<std::string, std::string> metadata_of(const NewSayings& sayings) {
  Metadata metadata{{"format", "pt"},
                    {kVersionKey, std::to_string(kFormatVersion)}};
  if (!sayings.modules.empty()) {
    metadata[kModulesKey] = map_json(sayings.modules).dump();
    metadata[kWeightsKey] = weights_text(sayings.weights);
  }
  set_tied(metadata, sayings.tied);
  return metadata;
}

}  // namespace

StoredCheckpoint open_checkpoint(const std::string& path) {
  auto checkpoint = std::make_shared<io::Checkpoint>(
      value_of(io::Checkpoint::open(path, io::Mapping::kKeep)));
  StoredCheckpoint stored;
  stored.modules = modules_of(value_of(describe(*checkpoint)));
  const auto tensors = value_of(Tensors::read(*checkpoint));
  for (const auto& [name, found] : tensors.all()) {
    const auto bytes = found.file->data(*found.tensor);
    // Mapped for us alone, and to be written to.
    auto* data = const_cast<std::byte*>(bytes.data());
    stored.tensors[name] = {found.tensor->type->name, found.tensor->shape,
                            data};
  }
  stored.owner = std::move(checkpoint);
  return stored;
}

void write_checkpoint(const std::string& path,
                      const std::vector<NewTensor>& tensors,
                      const NewSayings& sayings) {
  std::vector<io::TensorInfo> infos;
  for (const NewTensor& tensor : tensors) {
    const io::FileType* type = io::find_file_type(tensor.type);
    infos.push_back({tensor.name, type, tensor.shape});
  }
  auto writer = value_of(
      io::SafetensorsWriter::create(path, metadata_of(sayings), infos));
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::shared_ptr<const void> data = tensors[i].data();
    // A tensor in memory, so its size fits.
    const auto size =
        io::tensor_bytes(*infos[i].type, infos[i].shape).value_or(0);
    value_of(writer.write(
        tensors[i].name,
        std::span(static_cast<const std::byte*>(data.get()), size)));
  }
  value_of(writer.commit());
}

}  // namespace quanto::formats
