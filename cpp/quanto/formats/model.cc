// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/model.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "quanto/core/packing.h"

namespace quanto::formats {
namespace {

using io::Checkpoint;
using io::Error;
using io::Json;
using io::Result;
using io::TensorInfo;

/// What files say of the weights: from the map, and from the metadata.
struct Sayings {
  bool has_map = false;
  std::string map_file;
  std::map<std::string, MapEntry> map;
  std::map<std::string, WeightDescription> described;
};

Result<std::map<std::string, MapEntry>> read_predecessor_map(
    const std::string& path) {
  QUANTO_ASSIGN_OR_RETURN(const Json json, io::read_json(path));
  if (!json.is_object()) {
    return Error{path, {}, "expected a quantization map, got something else"};
  }
  std::map<std::string, MapEntry> map;
  for (const auto& [module, value] : json.items()) {
    QUANTO_ASSIGN_OR_RETURN(const auto entry,
                            read_map_entry(value, module, path));
    if (entry) map.emplace(module, *entry);
  }
  return map;
}

Result<Sayings> read_sayings(const Checkpoint& checkpoint) {
  Sayings sayings;
  for (const io::SafetensorsFile& file : checkpoint.files()) {
    QUANTO_ASSIGN_OR_RETURN(
        auto described, read_descriptions(file.header().metadata, file.path()));
    sayings.described.merge(described);
  }
  if (const auto config_path = checkpoint.config_path()) {
    QUANTO_ASSIGN_OR_RETURN(const Json config, io::read_json(*config_path));
    const auto found = config.find("quantization_config");
    if (found != config.end() && !found->is_null()) {
      QUANTO_ASSIGN_OR_RETURN(sayings.map,
                              read_quantization_config(*found, *config_path));
      sayings.has_map = true;
      sayings.map_file = *config_path;
      return sayings;
    }
  }
  const auto qmap =
      std::filesystem::path(checkpoint.path()) / "quanto_qmap.json";
  if (std::error_code ignored; std::filesystem::exists(qmap, ignored)) {
    QUANTO_ASSIGN_OR_RETURN(sayings.map, read_predecessor_map(qmap));
    sayings.has_map = true;
    sayings.map_file = qmap;
  }
  return sayings;
}

Error wrong(const Checkpoint::Found& tensor, const std::string& expected,
            const std::string& got) {
  return {tensor.file->path(),
          tensor.file->header().data_begin + tensor.tensor->begin,
          fmt::format("expected {} as '{}', got {}", expected,
                      tensor.tensor->name, got)};
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape) {
    text += fmt::format("{}{}", text.size() > 1 ? ", " : "", size);
  }
  return text + "]";
}

int64_t numel_of(const std::vector<int64_t>& shape) {
  int64_t numel = 1;
  for (const int64_t size : shape) numel *= size;
  return numel;
}

bool is_float(const io::FileType& type) {
  return type.dtype && is_activation(*type.dtype);
}

/// A quantized weight as it is put together.
class Assembly {
 public:
  Assembly(const Checkpoint& checkpoint, const Sayings& sayings,
           std::string module)
      : sayings_(sayings), module_(std::move(module)) {
    packed_ = checkpoint.find(module_ + std::string(kPackedData));
    weight_.scale = checkpoint.find(module_ + std::string(kScale));
    weight_.shift = checkpoint.find(module_ + std::string(kShift));
    weight_.data = packed_.tensor != nullptr
                       ? packed_
                       : checkpoint.find(module_ + std::string(kData));
  }

  Result<ModelTensor> put_together() {
    weight_.name = module_ + ".weight";
    if (weight_.data.tensor == nullptr) {
      return wrong(weight_.scale, "data beside the scale", "none");
    }
    const TensorInfo& scale = *weight_.scale.tensor;
    if (!is_float(*scale.type)) {
      return wrong(weight_.scale, "F32, F16 or BF16",
                   std::string(scale.type->name));
    }
    weight_.type = scale.type;
    QUANTO_RETURN_IF_ERROR(packed_.tensor != nullptr ? infer_packed()
                                                     : infer_bytes());
    QUANTO_RETURN_IF_ERROR(check_map());
    QUANTO_RETURN_IF_ERROR(take_shape());
    for (const auto& part : {weight_.data, weight_.scale, weight_.shift}) {
      if (part.tensor != nullptr) weight_.stored_bytes += part.tensor->bytes();
    }
    return std::move(weight_);
  }

 private:
  io::Status infer_bytes() {
    const TensorInfo& data = *weight_.data.tensor;
    const QType* type =
        data.type->dtype ? find_8bit_qtype(*data.type->dtype) : nullptr;
    if (type == nullptr) {
      return wrong(weight_.data, "codes of 8 bits",
                   std::string(data.type->name));
    }
    if (weight_.shift.tensor != nullptr) {
      return wrong(weight_.shift, "no shift of 8-bit codes", "one");
    }
    const int64_t scales = numel_of(weight_.scale.tensor->shape);
    const int64_t rows = data.shape.empty() ? 0 : data.shape[0];
    if (rows == 0 || (scales != 1 && scales != rows)) {
      return wrong(weight_.scale,
                   fmt::format("a scale for each of {} rows", rows),
                   shape_text(weight_.scale.tensor->shape));
    }
    weight_.facts = WeightFacts{type->id, {}};
    weight_.shape = data.shape;
    return io::Done{};
  }

  /// 4 or 2 bits show in the rows of codes and scales.
  io::Status infer_packed() {
    const TensorInfo& data = *weight_.data.tensor;
    const auto& scales = weight_.scale.tensor->shape;
    if (data.shape.size() != 2 || data.type->dtype != DType::kUInt8) {
      return wrong(weight_.data, "a matrix of U8", shape_text(data.shape));
    }
    if (weight_.shift.tensor == nullptr) {
      return wrong(weight_.scale, "a shift beside it", "none");
    }
    const TensorInfo& shift = *weight_.shift.tensor;
    const bool zero_points =
        shift.type->dtype == DType::kUInt8 || shift.type->dtype == DType::kInt8;
    if (shift.shape != scales || (!zero_points && shift.type != weight_.type)) {
      return wrong(
          weight_.shift,
          fmt::format("{} of {} or bytes", shape_text(scales),
                      weight_.type->name),
          fmt::format("{} of {}", shape_text(shift.shape), shift.type->name));
    }
    const int64_t groups = numel_of(scales);
    const bool four = packed_rows(groups, 4) == data.shape[0];
    const bool two = packed_rows(groups, 2) == data.shape[0];
    if (groups == 0 || (!four && !two)) {
      return wrong(weight_.scale, "one scale for each row of codes",
                   fmt::format("{} for {} packed rows", groups, data.shape[0]));
    }
    QTypeId type = four ? QTypeId::kQInt4 : QTypeId::kQInt2;
    if (four && two) {  // so few groups that both would fit
      const auto described = sayings_.described.find(module_);
      const auto entry = sayings_.map.find(module_);
      if (described != sayings_.described.end()) {
        type = described->second.facts.qtype;
      } else if (entry != sayings_.map.end()) {
        type = entry->second.qtype;
      }
    }
    weight_.facts = WeightFacts{type, data.shape[1]};
    weight_.shape = {groups, data.shape[1]};
    weight_.shape_known = false;
    return io::Done{};
  }

  io::Status check_map() {
    if (!sayings_.has_map) return io::Done{};
    const auto entry = sayings_.map.find(module_);
    if (entry == sayings_.map.end()) {
      return Error{
          sayings_.map_file,
          {},
          fmt::format("expected '{}' in the quantization map, got none",
                      module_)};
    }
    const QType& said = qtype(entry->second.qtype);
    if (said.id != weight_.facts->qtype) {
      return wrong(weight_.data, fmt::format("codes of {}", said.name),
                   std::string(qtype(weight_.facts->qtype).name));
    }
    if (!entry->second.group_size_known || said.bits == 8) return io::Done{};
    const auto group_size = entry->second.group_size;
    if (!group_size) return set_ungrouped();
    if (*group_size != weight_.facts->group_size) {
      return wrong(weight_.data, fmt::format("groups of {}", *group_size),
                   fmt::format("{}", *weight_.facts->group_size));
    }
    return io::Done{};
  }

  /// One group per output: the codes' shape is the weight's.
  io::Status set_ungrouped() {
    weight_.facts->group_size.reset();
    weight_.shape_known = true;
    return io::Done{};
  }

  io::Status take_shape() {
    const auto found = sayings_.described.find(module_);
    if (found == sayings_.described.end()) return io::Done{};
    const WeightDescription& said = found->second;
    if (said.facts.qtype != weight_.facts->qtype) {
      return wrong(weight_.data,
                   fmt::format("codes of {}", qtype(said.facts.qtype).name),
                   std::string(qtype(weight_.facts->qtype).name));
    }
    const int64_t width = said.facts.group_size.value_or(said.columns);
    int64_t groups = 0;
    const bool fits =
        !__builtin_mul_overflow(said.rows, said.columns / width, &groups) &&
        (qtype(said.facts.qtype).bits == 8
             ? weight_.shape == std::vector{said.rows, said.columns}
             : weight_.shape == std::vector{groups, width});
    if (!fits) {
      return wrong(weight_.data,
                   fmt::format("codes of a weight {}",
                               shape_text({said.rows, said.columns})),
                   shape_text(weight_.data.tensor->shape));
    }
    weight_.facts = said.facts;
    weight_.shape = {said.rows, said.columns};
    weight_.shape_known = true;
    return io::Done{};
  }

  const Sayings& sayings_;
  std::string module_;
  Checkpoint::Found packed_;
  ModelTensor weight_;
};

/// MODULE of "MODULE.weight._scale", or nullopt.
std::optional<std::string> without_end(const std::string& name,
                                       std::string_view end) {
  if (!name.ends_with(end)) return std::nullopt;
  return name.substr(0, name.size() - end.size());
}

bool is_part(const std::string& name, const std::set<std::string>& modules,
             std::initializer_list<std::string_view> ends) {
  return std::any_of(ends.begin(), ends.end(), [&](std::string_view end) {
    const auto module = without_end(name, end);
    return module && modules.contains(*module);
  });
}

ModelTensor float_tensor(const Checkpoint::Found& found) {
  ModelTensor tensor;
  tensor.name = found.tensor->name;
  tensor.type = found.tensor->type;
  tensor.shape = found.tensor->shape;
  tensor.data = found;
  tensor.stored_bytes = found.tensor->bytes();
  return tensor;
}

}  // namespace

int64_t ModelTensor::numel() const { return numel_of(shape); }

Result<Model> describe(const Checkpoint& checkpoint) {
  QUANTO_ASSIGN_OR_RETURN(const Sayings sayings, read_sayings(checkpoint));
  Model model;
  std::set<std::string> modules;
  for (const auto& file : checkpoint.files()) {
    for (const TensorInfo& tensor : file.header().tensors) {
      if (const auto module = without_end(tensor.name, kScale)) {
        modules.insert(*module);
      }
    }
  }
  for (const auto& [module, entry] : sayings.map) {
    if (!modules.contains(module)) {
      return Error{checkpoint.path(),
                   {},
                   fmt::format("expected a quantized weight of '{}', which {} "
                               "names, got none",
                               module, sayings.map_file)};
    }
  }
  for (const std::string& module : modules) {
    QUANTO_ASSIGN_OR_RETURN(
        ModelTensor weight,
        Assembly(checkpoint, sayings, module).put_together());
    model.tensors.push_back(std::move(weight));
  }
  model.quantized = !modules.empty();
  for (const auto& file : checkpoint.files()) {
    for (const TensorInfo& tensor : file.header().tensors) {
      if (is_part(tensor.name, modules, {kPackedData, kData, kScale, kShift})) {
        continue;
      }
      if (is_part(tensor.name, modules, {kInputScale, kOutputScale})) {
        model.scales.push_back({&file, &tensor});
      } else {
        model.tensors.push_back(float_tensor({&file, &tensor}));
      }
    }
  }
  std::sort(model.tensors.begin(), model.tensors.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return model;
}

std::span<const std::byte> values(const ModelTensor& tensor, Buffer& room,
                                  Executor& executor) {
  const auto bytes = [](const Checkpoint::Found& found) {
    return found.file->data(*found.tensor);
  };
  if (!tensor.facts) {
    if (!is_float(*tensor.type)) return {};
    return bytes(tensor.data);
  }
  if (tensor.numel() == 0) return {};
  const DType dtype = *tensor.type->dtype;
  const auto size = static_cast<size_t>(tensor.numel() * size_of(dtype));
  if (room.bytes().size() < size) room = Buffer(size);
  StoredWeight weight{};
  weight.data = bytes(tensor.data).data();
  weight.scale = bytes(tensor.scale).data();
  weight.dtype = dtype;
  const int64_t scales = numel_of(tensor.scale.tensor->shape);
  if (tensor.shift.tensor != nullptr) {
    // Addressed by groups, whatever the shape: those are what is stored.
    weight.shift = bytes(tensor.shift).data();
    weight.integer_shift = tensor.shift.tensor->type != tensor.type;
  }
  weight.rows = scales;
  weight.columns = tensor.numel() / scales;
  dequantize_weight(weight, {tensor.facts->qtype, {}}, room.data(), executor);
  return room.bytes().first(size);
}

}  // namespace quanto::formats
