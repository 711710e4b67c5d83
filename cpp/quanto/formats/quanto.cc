// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/quanto.h"

#include <array>
#include <span>
#include <utility>

#include "quanto/core/packing.h"

namespace quanto::formats {
namespace {

using io::Error;
using io::Json;
using io::Result;

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kFloat8 = "float8";

Error expected(const std::string& file, const std::string& what,
               const std::string& of, const Json* got) {
  return {file,
          {},
          fmt::format("expected {} of {}, got {}", what, of,
                      got == nullptr ? "none" : got->dump())};
}

const Json* member(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

/// A group size: a number of 1 or more, or null.
Result<std::optional<int64_t>> read_group_size(const Json* value,
                                               const std::string& of,
                                               const std::string& file) {
  if (value != nullptr && value->is_null()) return std::optional<int64_t>();
  if (value == nullptr || !value->is_number_integer() ||
      value->get<int64_t>() < 1) {
    return expected(file, "a number or null as group_size", of, value);
  }
  return std::optional(value->get<int64_t>());
}

Result<const QType*> read_type(const Json* value, const char* key,
                               const std::string& of, const std::string& file) {
  const QType* type = value != nullptr && value->is_string()
                          ? find_qtype(value->get_ref<const std::string&>())
                          : nullptr;
  if (type == nullptr) {
    return expected(file, fmt::format("a type as {}", key), of, value);
  }
  return type;
}

Result<int64_t> read_size(const Json& value, const std::string& of,
                          const std::string& file) {
  if (!value.is_number_integer() || value.get<int64_t>() < 1) {
    return expected(file, "a size of 1 or more in the shape", of, &value);
  }
  return value.get<int64_t>();
}

Result<WeightDescription> read_description(const Json& json,
                                           const std::string& of,
                                           const std::string& file) {
  if (!json.is_object()) return expected(file, "a description", of, &json);
  QUANTO_ASSIGN_OR_RETURN(const QType* type,
                          read_type(member(json, "qtype"), "qtype", of, file));
  QUANTO_ASSIGN_OR_RETURN(
      const auto group_size,
      read_group_size(member(json, "group_size"), of, file));
  const Json* axis = member(json, "axis");
  if (axis == nullptr || *axis != 0) {
    return expected(file, "axis 0", of, axis);
  }
  const bool bytes = type->bits == 8;
  if (bytes && group_size) {
    return expected(file, "no group_size for 8 bits", of,
                    member(json, "group_size"));
  }
  const Json* packing = member(json, "packing");
  if (packing == nullptr || *packing != (bytes ? "none" : "rows")) {
    return expected(file, bytes ? "packing \"none\"" : "packing \"rows\"", of,
                    packing);
  }
  const Json* shift = member(json, "shift");
  if (shift == nullptr ||
      (bytes ? *shift != "none" : *shift != "float" && *shift != "integer")) {
    return expected(file, "a known kind of shift", of, shift);
  }
  const Json* shape = member(json, "shape");
  if (shape == nullptr || !shape->is_array() || shape->size() != 2) {
    return expected(file, "a shape of two sizes", of, shape);
  }
  QUANTO_ASSIGN_OR_RETURN(const int64_t rows, read_size((*shape)[0], of, file));
  QUANTO_ASSIGN_OR_RETURN(const int64_t columns,
                          read_size((*shape)[1], of, file));
  if (group_size && columns % *group_size != 0) {
    return expected(file, fmt::format("a divisor of {} as group_size", columns),
                    of, member(json, "group_size"));
  }
  return WeightDescription{{type->id, group_size}, rows, columns};
}

io::Status check_version(const std::string& version, const std::string& file) {
  if (version == std::to_string(kFormatVersion)) return io::Done{};
  return Error{file,
               {},
               fmt::format("expected format version {}, got {}: is it of a "
                           "newer quanto?",
                           kFormatVersion, version)};
}

}  // namespace

std::optional<std::string> module_of(std::string_view tensor) {
  if (!tensor.ends_with(kWeight) || tensor.size() == kWeight.size()) {
    return std::nullopt;
  }
  return std::string(tensor.substr(0, tensor.size() - kWeight.size()));
}

const QType* find_type(std::string_view name) {
  const QType* type = find_qtype(name);
  return type != nullptr ? type : find_qtype("q" + std::string(name));
}

std::string_view short_name(const QType& type) {
  return type.id == QTypeId::kQFloat8E4M3FN ? kFloat8 : type.name.substr(1);
}

std::vector<io::TensorInfo> stored_tensors(const std::string& module,
                                           WeightFacts facts, DType dtype,
                                           int64_t rows, int64_t columns) {
  const QType& type = qtype(facts.qtype);
  const io::FileType* floats = &io::file_type(dtype);
  const auto named = [&](std::string_view end) {
    return module + std::string(end);
  };
  std::vector<io::TensorInfo> tensors;
  if (type.bits == 8) {
    std::vector<int64_t> scale;
    if (rows != 1) scale = {rows, 1};
    tensors.push_back(
        {named(kData), &io::file_type(type.storage), {rows, columns}});
    tensors.push_back({named(kScale), floats, std::move(scale)});
  } else {
    const int64_t width = facts.group_size.value_or(columns);
    const int64_t groups = rows * (columns / width);
    tensors.push_back({named(kPackedData),
                       &io::file_type(DType::kUInt8),
                       {packed_rows(groups, type.bits), width}});
    tensors.push_back({named(kScale), floats, {groups, 1}});
    tensors.push_back({named(kShift), floats, {groups, 1}});
  }
  tensors.push_back({named(kInputScale), floats, {}});
  tensors.push_back({named(kOutputScale), floats, {}});
  return tensors;
}

Json map_entry(WeightFacts facts) {
  Json entry;
  entry["weights"] = qtype(facts.qtype).name;
  entry["activations"] = "none";
  entry["version"] = 1;
  entry["group_size"] =
      facts.group_size ? Json(*facts.group_size) : Json(nullptr);
  entry["axis"] = 0;
  entry["dynamic"] = false;
  entry["quantized_input"] = false;
  entry["quantized_output"] = false;
  return entry;
}

Result<std::optional<MapEntry>> read_map_entry(const Json& entry,
                                               const std::string& module,
                                               const std::string& file) {
  if (!entry.is_object()) return expected(file, "an entry", module, &entry);
  const Json* weights = member(entry, "weights");
  if (weights != nullptr && *weights == "none") {
    return std::optional<MapEntry>();
  }
  QUANTO_ASSIGN_OR_RETURN(const QType* type,
                          read_type(weights, "weights", module, file));
  const Json* version = member(entry, "version");
  if (version == nullptr) {
    return std::optional(MapEntry{type->id, false, {}});
  }
  if (*version != 1) return expected(file, "version 1", module, version);
  QUANTO_ASSIGN_OR_RETURN(
      const auto group_size,
      read_group_size(member(entry, "group_size"), module, file));
  return std::optional(MapEntry{type->id, true, group_size});
}

Result<std::map<std::string, MapEntry>> read_quantization_config(
    const Json& config, const std::string& file) {
  const std::string of = "quantization_config";
  const Json* method =
      config.is_object() ? member(config, "quant_method") : nullptr;
  if (method == nullptr || *method != "quanto") {
    return expected(file, "quant_method \"quanto\"", of, method);
  }
  const Json* version = member(config, "format_version");
  if (version == nullptr)
    return expected(file, "a format_version", of, nullptr);
  QUANTO_RETURN_IF_ERROR(check_version(version->dump(), file));
  const Json* modules = member(config, "modules");
  if (modules == nullptr || !modules->is_object()) {
    return expected(file, "a quantization map as modules", of, modules);
  }
  std::map<std::string, MapEntry> map;
  for (const auto& [module, json] : modules->items()) {
    QUANTO_ASSIGN_OR_RETURN(const auto entry,
                            read_map_entry(json, module, file));
    if (entry) map.emplace(module, *entry);
  }
  return map;
}

Json weight_description(const WeightDescription& weight) {
  const QType& type = qtype(weight.facts.qtype);
  Json json;
  json["qtype"] = type.name;
  json["axis"] = 0;
  json["group_size"] =
      weight.facts.group_size ? Json(*weight.facts.group_size) : Json(nullptr);
  json["shape"] = {weight.rows, weight.columns};
  json["shift"] = type.bits == 8 ? "none" : "float";
  json["packing"] = type.bits == 8 ? "none" : "rows";
  return json;
}

Result<std::map<std::string, WeightDescription>> read_descriptions(
    const std::map<std::string, std::string>& metadata,
    const std::string& file) {
  std::map<std::string, WeightDescription> weights;
  const auto version = metadata.find(kVersionKey);
  if (version == metadata.end()) return weights;
  QUANTO_RETURN_IF_ERROR(check_version(version->second, file));
  const auto text = metadata.find(kWeightsKey);
  if (text == metadata.end()) return weights;
  const auto bytes = std::as_bytes(std::span(text->second));
  QUANTO_ASSIGN_OR_RETURN(
      const Json json,
      io::parse_json(bytes, fmt::format("{} in {}", kWeightsKey, file)));
  if (!json.is_object()) {
    return expected(file, "an object", kWeightsKey, &json);
  }
  for (const auto& [module, description] : json.items()) {
    QUANTO_ASSIGN_OR_RETURN(const WeightDescription weight,
                            read_description(description, module, file));
    weights.emplace(module, weight);
  }
  return weights;
}

}  // namespace quanto::formats
