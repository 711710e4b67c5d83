// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/metadata.h"

#include <set>
#include <span>
#include <string_view>

#include "quanto/formats/fields.h"

namespace quanto::formats {
namespace {

using io::Error;
using io::Json;
using io::Result;

Result<std::vector<int64_t>> read_shape(const Json* value,
                                        const std::string& of,
                                        const std::string& file) {
  if (value == nullptr || !value->is_array() || value->size() < 2) {
    return expected(file, "a shape of two sizes or more", of, value);
  }
  std::vector<int64_t> shape;
  int64_t numel = 1;
  for (const Json& size : *value) {
    if (!size.is_number_integer() || size.get<int64_t>() < 1 ||
        __builtin_mul_overflow(numel, size.get<int64_t>(), &numel)) {
      return expected(file, "sizes of 1 or more in the shape", of, value);
    }
    shape.push_back(size.get<int64_t>());
  }
  return shape;
}

io::Status check_axis(const Json& json, const std::string& of,
                      const std::string& file) {
  const Json* axis = member(json, "axis");
  if (axis == nullptr || *axis != 0) return expected(file, "axis 0", of, axis);
  return io::Done{};
}

io::Status check_storage(const Json& json, bool bytes, const std::string& of,
                         const std::string& file) {
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
  return io::Done{};
}

Result<WeightDescription> read_description(const Json& json,
                                           const std::string& of,
                                           const std::string& file) {
  if (!json.is_object()) return expected(file, "a description", of, &json);
  QUANTO_ASSIGN_OR_RETURN(const QType* type,
                          read_type(member(json, "qtype"), "qtype", of, file));
  const Json* group = member(json, "group_size");
  QUANTO_ASSIGN_OR_RETURN(const auto group_size,
                          read_group_size(group, of, file));
  const bool bytes = type->bits == 8;
  if (bytes && group_size) {
    return expected(file, "no group_size for 8 bits", of, group);
  }
  QUANTO_RETURN_IF_ERROR(check_axis(json, of, file));
  QUANTO_RETURN_IF_ERROR(check_storage(json, bytes, of, file));
  QUANTO_ASSIGN_OR_RETURN(auto shape,
                          read_shape(member(json, "shape"), of, file));
  const Json* shift = member(json, "shift");
  WeightDescription weight{{type->id, group_size},
                           std::move(shape),
                           shift != nullptr && *shift == "integer"};
  if (group_size && weight.columns() % *group_size != 0) {
    return expected(
        file, fmt::format("a divisor of {} as group_size", weight.columns()),
        of, group);
  }
  return weight;
}

Json json_of(const WeightDescription& weight) {
  const QType& type = qtype(weight.facts.qtype);
  const auto group_size = weight.facts.group_size;
  Json json;
  json["qtype"] = type.name;
  json["axis"] = 0;
  json["group_size"] = group_size ? Json(*group_size) : Json(nullptr);
  json["shape"] = weight.shape;
  json["shift"] = type.bits == 8         ? "none"
                  : weight.integer_shift ? "integer"
                                         : "float";
  json["packing"] = type.bits == 8 ? "none" : "rows";
  return json;
}

/// The JSON object under a key; an empty one where the key, or the version, is
/// missing.
Result<Json> read_object(const Metadata& metadata, const char* key,
                         const std::string& file) {
  const auto version = metadata.find(kVersionKey);
  if (version == metadata.end()) return Json::object();
  QUANTO_RETURN_IF_ERROR(check_version(version->second, file));
  const auto text = metadata.find(key);
  if (text == metadata.end()) return Json::object();
  QUANTO_ASSIGN_OR_RETURN(Json json,
                          io::parse_json(std::as_bytes(std::span(text->second)),
                                         fmt::format("{} in {}", key, file)));
  if (!json.is_object()) return expected(file, "an object", key, &json);
  return json;
}

}  // namespace

std::string weights_text(
    const std::map<std::string, WeightDescription>& weights) {
  Json json = Json::object();
  for (const auto& [module, weight] : weights) json[module] = json_of(weight);
  return json.dump();
}

Result<std::map<std::string, WeightDescription>> read_descriptions(
    const Metadata& metadata, const std::string& file) {
  QUANTO_ASSIGN_OR_RETURN(const Json json,
                          read_object(metadata, kWeightsKey, file));
  std::map<std::string, WeightDescription> weights;
  for (const auto& [module, description] : json.items()) {
    QUANTO_ASSIGN_OR_RETURN(WeightDescription weight,
                            read_description(description, module, file));
    weights.emplace(module, std::move(weight));
  }
  return weights;
}

Result<std::optional<ModuleMap>> read_modules(const Metadata& metadata,
                                              const std::string& file) {
  if (!metadata.contains(kVersionKey) || !metadata.contains(kModulesKey)) {
    return std::optional<ModuleMap>();
  }
  QUANTO_ASSIGN_OR_RETURN(const Json json,
                          read_object(metadata, kModulesKey, file));
  QUANTO_ASSIGN_OR_RETURN(
      ModuleMap map,
      read_module_map(json, fmt::format("{} in {}", kModulesKey, file)));
  return std::optional(std::move(map));
}

Result<std::map<std::string, std::string>> read_tied(
    const io::SafetensorsHeader& header, const std::string& file) {
  QUANTO_ASSIGN_OR_RETURN(const Json json,
                          read_object(header.metadata, kTiedKey, file));
  std::map<std::string, std::string> tied;
  if (json.empty()) return tied;
  std::set<std::string_view> stored;
  for (const auto& tensor : header.tensors) stored.insert(tensor.name);
  for (const auto& [name, other] : json.items()) {
    if (stored.contains(name)) {
      return expected(file, "one tensor", fmt::format("'{}'", name), &other);
    }
    if (!other.is_string() ||
        !stored.contains(other.get_ref<const std::string&>())) {
      return expected(file, "the name of a stored tensor",
                      fmt::format("'{}', which is tied", name), &other);
    }
    tied.emplace(name, other.get<std::string>());
  }
  return tied;
}

void set_tied(Metadata& metadata,
              const std::map<std::string, std::string>& tied) {
  metadata.erase(kTiedKey);
  if (!tied.empty()) metadata[kTiedKey] = Json(tied).dump();
}

}  // namespace quanto::formats
